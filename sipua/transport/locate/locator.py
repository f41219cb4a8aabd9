"""The resolver of the daemon: asks name servers what :mod:`sipua.transport.locate.records` wants to know (RFC 3263)."""

import asyncio
import random
import secrets
from collections.abc import Sequence

from sipua.errors import TransportError, printable
from sipua.message import Uri
from sipua.transport.base import Endpoint
from sipua.transport.locate.addresses import order, usable
from sipua.transport.locate.asker import Asker, DnsSettings, NameServer, NameServerError, Reply
from sipua.transport.locate.cache import COUNTERS, Cache
from sipua.transport.locate.hosts import HostsFile
from sipua.transport.locate.records import Abilities, Answer, Kind, Location, Pick, Question, locate
from sipua.transport.network import AsyncioNetwork, Network
from sipua.transport.resolver import Resolver
from sipua.transport.route import target_of
from sipua.transport.sources import Sources

SYSTEM = "SYSTEM"
"""The kind of question that goes to the system's resolver in place of a name server."""

SYSTEM_TTL_S = 30.0  # getaddrinfo tells no TTL
MAX_SYSTEM = 4  # threads that the system's resolver may hold: they can't be cancelled
OTHER_FAMILY_S = 0.2  # how long addresses of one family wait for the other's: a name server may drop AAAA


def is_local(name: str) -> bool:
    """Tell whether *name* is none of the DNS's: without a dot (search lists, containers) or below ``local`` (RFC 6762)."""
    return "." not in name or name.endswith(".local")


class Locator(Resolver):
    """Endpoints of a URI by NAPTR, SRV, A and AAAA; the hosts file comes first, the system's resolver last and for local names only.

    *asker* stands in for the name servers of *settings*, *network* tells sources of addresses and does the system's look-ups.
    """

    def __init__(
        self,
        settings: DnsSettings | None = None,
        *,
        network: Network | None = None,
        asker: Asker | None = None,
        hosts: HostsFile | None = None,
        rng: random.Random | None = None,
    ) -> None:
        self._network: Network = AsyncioNetwork() if network is None else network
        super().__init__(self._network.lookup)
        self._sources = Sources(self._network)
        self.settings = settings = settings or DnsSettings()
        self.counters.update(dict.fromkeys(COUNTERS, 0))
        self._asker: Asker = NameServer(settings) if asker is None else asker
        self._hosts = hosts or HostsFile()
        self._rng = rng or random.Random(secrets.randbits(128))
        self._salt = self._rng.getrandbits(64)
        self._system = asyncio.Semaphore(MAX_SYSTEM)
        self._answers = Cache(
            self._question, max_names=settings.max_names, max_ttl_s=settings.max_ttl_s, limit_s=settings.timeout_s, counters=self.counters
        )

    def resolve_now(self, uri: Uri, key: str = "") -> list[Endpoint] | None:
        """Return the endpoints of *uri* when nobody needs to be asked, else None. Raises as :meth:`resolve` does."""
        endpoint = None if uri.host.endswith(".") else target_of(uri).endpoint
        if endpoint is not None:
            return [endpoint]  # an address: what locate() says, too
        found = self._walk(locate(uri, self._pick(key), self._abilities()))
        return found if isinstance(found, list) else None

    async def resolve(self, uri: Uri, key: str = "") -> list[Endpoint]:
        """Return the endpoints to try for *uri*, best first, at least one; at once when nobody needs to be asked.

        Calls with the same *key* get servers of equal priority in the same order as long as the records stay: the requests of a dialog
        and the answer to a challenge find the server that knows them. Raises :class:`TransportError`: no SIP URI, unknown transport,
        unknown name, no answer within the settings' ``timeout_s``.
        """
        location = locate(uri, self._pick(key), self._abilities())
        found = self._walk(location)
        if isinstance(found, list):
            return found
        try:
            async with asyncio.timeout(self.settings.timeout_s):
                while not isinstance(found, list):
                    found = self._walk(location, await asyncio.gather(*(self._answer(question) for question in found)))
        except TimeoutError:
            raise TransportError(f"no answer to the look-up of {printable(uri.host, 64)}; check the name servers") from None
        return found

    def _walk(self, location: Location, answers: Sequence[Answer] | None = None) -> list[Endpoint] | tuple[Question, ...]:
        """Go on with *location* as far as answers are known: to its endpoints, or to questions that somebody must be asked."""
        try:
            questions = next(location) if answers is None else location.send(answers)
            while True:
                known: list[Answer] = []
                for question in questions:
                    answer = self._known(question)
                    if answer is None:
                        return questions
                    known.append(answer)
                questions = location.send(known)
        except StopIteration as end:
            return self._preferred(end.value)

    def _abilities(self) -> Abilities:
        return Abilities(self.has_transport, self._is_host, self.settings.naptr)

    def _is_host(self, name: str) -> bool:
        """The hosts file is the administrator's word about a name: it also says that there is no other server for it."""
        return "." not in name or bool(self._hosts.find(name, asyncio.get_running_loop().time()))

    def _pick(self, key: str) -> Pick:
        if not key:
            return self._rng.randint
        drawn: list[random.Random] = []

        def pick(low: int, high: int) -> int:
            if not drawn:  # few domains have servers to draw among, and each request passes here
                drawn.append(random.Random(f"{self._salt} {key}"))
            return drawn[0].randint(low, high)

        return pick

    def _ordered(self, addresses: Sequence[object]) -> Answer:
        return Answer(tuple(order((str(address) for address in addresses), self._sources.find)))

    def _from_file(self, name: str) -> Answer | None:
        found = self._hosts.find(name, asyncio.get_running_loop().time())
        return self._ordered(found) if found else None

    def _known(self, question: Question) -> Answer | None:
        if question.kind is not Kind.HOST:
            return self._answers.known(question.name, str(question.kind))
        from_file = self._from_file(question.name)
        if from_file is not None:
            return from_file
        both = [self._answers.known(question.name, kind) for kind in ("A", "AAAA")]
        found = [answer for answer in both if answer is not None]
        if len(found) < len(both):
            return None
        if not any(answer.records for answer in found) and is_local(question.name):
            system = self._answers.known(question.name, SYSTEM)
            return None if system is None else self._merged([system])
        return self._merged(found)

    def _merged(self, answers: Sequence[Answer]) -> Answer:
        addresses = [address for answer in answers for address in answer.records]
        if addresses:
            return self._ordered(addresses)
        return Answer(error=next((answer.error for answer in answers if answer.error), ""))

    async def _answer(self, question: Question) -> Answer:
        if question.kind is not Kind.HOST:
            return await self._answers.get(question.name, str(question.kind))
        from_file = self._from_file(question.name)
        if from_file is not None:
            return from_file
        merged = self._merged(await self._both_families(question.name))
        if not merged.records and is_local(question.name):
            return self._merged([await self._answers.get(question.name, SYSTEM)])
        return merged

    async def _both_families(self, name: str) -> list[Answer]:
        tasks = [asyncio.create_task(self._answers.get(name, kind), name=f"{kind} {printable(name, 64)}") for kind in ("A", "AAAA")]
        try:
            done, waiting = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if waiting:
                await asyncio.wait(waiting, timeout=OTHER_FAMILY_S if any(task.result().records for task in done) else None)
            return [task.result() for task in tasks if task.done()]
        finally:
            for task in tasks:
                task.cancel()  # only the wait for an answer: the question itself goes on, for the cache

    async def _question(self, name: str, kind: str) -> Reply:
        if kind != SYSTEM:
            return await self._asker.ask(name, kind)
        try:
            async with self._system:
                return Reply(tuple(usable(await self._lookup(name))), SYSTEM_TTL_S)
        except UnicodeError:  # a label that IDNA refuses
            return Reply((), None)
        except OSError as error:
            if error.errno is None:
                raise NameServerError(f"look-up of {printable(name, 64)} failed") from error
            return Reply((), None)

    async def aclose(self) -> None:
        """End look-ups that run."""
        await self._answers.aclose()
        await super().aclose()
