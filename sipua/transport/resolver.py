"""Names to endpoints by the addresses that a network knows, and nothing else.

Name servers, NAPTR and SRV (RFC 3263 §4) are asked by :class:`sipua.transport.locate.Locator`, which has the same methods.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from sipua.driver import TaskSet
from sipua.errors import TransportError, printable
from sipua.message import Uri
from sipua.transport.base import Endpoint
from sipua.transport.network import AsyncioNetwork
from sipua.transport.route import target_of

LOOKUP_SECONDS = 5.0  # a call must not wait longer for a name server
CACHE_SECONDS = 30.0  # getaddrinfo tells no TTL: short enough for a failover by DNS, long enough for a call's requests
MAX_RECORDS = 32  # addresses of one name that are tried
MAX_NAMES = 1024  # names of peers come from URIs that callers send

Lookup = Callable[[str], Awaitable[list[str]]]


@dataclass(frozen=True, slots=True)
class _Answer:
    """The addresses of a name, or why there are none."""

    expires: float
    addresses: tuple[str, ...]
    error: str = ""


class Resolver:
    """Resolves the next hop of a request; *lookup* gives the addresses of a name (default: the system's resolver)."""

    def __init__(self, lookup: Lookup | None = None) -> None:
        self.is_usable: Callable[[Endpoint], bool] = lambda _endpoint: True
        """Set by the transport layer: tells whether a socket of ours can send to an endpoint. Those that none can come last."""
        self.has_transport: Callable[[str], bool] = lambda transport: transport != "TLS"
        """Set by the transport layer: tells whether we have a transport, in upper case."""
        self.counters: Counter[str] = Counter()
        """Look-ups, by what became of them; see :data:`sipua.transport.locate.cache.COUNTERS`."""
        self._lookup = lookup or AsyncioNetwork().lookup
        self._cache: dict[str, _Answer] = {}
        self._running: dict[str, asyncio.Task[_Answer]] = {}
        self._tasks = TaskSet()

    def resolve_now(self, uri: Uri, key: str = "") -> list[Endpoint] | None:  # noqa: ARG002  # see the subclass
        """Return the endpoints of *uri* when no name server needs to be asked, else None. Raises as :meth:`resolve` does."""
        target = target_of(uri)
        endpoint = target.endpoint
        if endpoint is not None:
            return [endpoint]
        answer = self._cache.get(target.host.lower())
        if answer is None or answer.expires <= asyncio.get_running_loop().time():
            return None
        if answer.error:
            raise TransportError(answer.error)
        return self._preferred([target.at(address) for address in answer.addresses])

    async def resolve(self, uri: Uri, key: str = "") -> list[Endpoint]:  # noqa: ARG002  # see the subclass
        """Return the endpoints to try for *uri*, best first, at least one; *key* is of use where servers are drawn by lot.

        Raises :class:`TransportError`: no SIP URI, unknown transport, unknown name, no answer within ``LOOKUP_SECONDS``.
        """
        found = self.resolve_now(uri)
        if found is not None:
            return found
        target = target_of(uri)
        name = target.host.lower()
        task = self._running.get(name)
        if task is None:
            task = self._running[name] = self._tasks.spawn(self._ask(name), f"resolve {printable(name, 64)}")
        await asyncio.wait([task])  # not the task itself: others may wait for the same answer
        if task.cancelled():
            raise TransportError("the resolver is closed")
        answer = task.result()
        if answer.error:
            raise TransportError(answer.error)
        return self._preferred([target.at(address) for address in answer.addresses])

    def _preferred(self, endpoints: list[Endpoint]) -> list[Endpoint]:
        return sorted(endpoints, key=lambda endpoint: not self.is_usable(endpoint))

    async def _ask(self, name: str) -> _Answer:
        addresses: tuple[str, ...] = ()
        error = ""
        try:
            async with asyncio.timeout(LOOKUP_SECONDS):
                addresses = tuple((await self._lookup(name))[:MAX_RECORDS])
        except TimeoutError:
            error = f"no answer to the look-up of {printable(name, 64)}"
        except (OSError, UnicodeError) as failure:  # UnicodeError: a label that IDNA refuses
            error = f"look-up of {printable(name, 64)} failed: {getattr(failure, 'strerror', None) or 'not a host name'}"
        finally:
            self._running.pop(name, None)
        if not addresses and not error:
            error = f"{printable(name, 64)} has no address"
        answer = _Answer(asyncio.get_running_loop().time() + CACHE_SECONDS, addresses, error)
        while len(self._cache) >= MAX_NAMES:
            del self._cache[next(iter(self._cache))]
        self._cache[name] = answer
        return answer

    async def aclose(self) -> None:
        """End look-ups that run."""
        await self._tasks.aclose()
