"""Finds the addresses of a host and connects to one of them, if the settings allow it."""

import asyncio
import errno
import ipaddress
import socket
from typing import Final

from aiohappyeyeballs import AddrInfoType, start_connection

from cxml.services.fault import PrivateAddressError
from cxml.services.hosts import is_public

DNS_CACHE_S: Final = 10.0
"""A changed address is seen soon, a burst of calls asks once."""

MAX_NAMES: Final = 256
"""Names whose addresses are kept: an application has a handful."""

NEXT_ADDRESS_S: Final = 0.25
"""The next address of a name is tried after this time, while the one before is (RFC 8305 §5)."""


class Dialler:
    """Makes connected sockets. Belongs to one loop; :meth:`aclose` ends its look-ups."""

    def __init__(self, loop: asyncio.AbstractEventLoop, *, allow_private: bool) -> None:
        self._loop = loop
        self._allow_private = allow_private
        self._known: dict[tuple[str, int], tuple[float, list[AddrInfoType]]] = {}
        self._asked: dict[tuple[str, int], asyncio.Task[list[AddrInfoType]]] = {}

    async def connect(self, host: str, port: int) -> socket.socket:
        """Return a socket that is connected to *host*, a name or an IP address without brackets.

        Raises OSError: gaierror for a name without addresses, :class:`PrivateAddressError` where the settings forbid all it has.
        The address that is looked at is the one that is connected to: what a name meant before plays no part (DNS rebinding).
        """
        found = _literal(host, port) or await self._addresses(host, port)
        if not self._allow_private:
            found = [info for info in found if is_public(str(info[4][0]))] or _refuse(found)
        return await start_connection(found, happy_eyeballs_delay=NEXT_ADDRESS_S, loop=self._loop)

    @property
    def known_names(self) -> int:
        """How many names have their addresses kept."""
        return len(self._known)

    async def aclose(self) -> None:
        """End every look-up; who waits for one gets OSError."""
        tasks = set(self._asked.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _addresses(self, host: str, port: int) -> list[AddrInfoType]:
        key = (host, port)
        known = self._known.get(key)
        if known is not None and self._loop.time() < known[0]:
            return known[1]
        task = self._asked.get(key)
        if task is None:
            task = self._asked[key] = self._loop.create_task(self._ask(key), name="webhook address")
            task.add_done_callback(lambda task: self._answered(key, task))
        await asyncio.wait({task})  # others wait for it, too: who stops waiting doesn't stop it
        if task.cancelled():
            raise OSError(errno.ECANCELED, "shutting down")
        return task.result()

    def _answered(self, key: tuple[str, int], task: "asyncio.Task[list[AddrInfoType]]") -> None:
        self._asked.pop(key, None)
        if not task.cancelled():
            task.exception()  # nobody may be waiting any more

    async def _ask(self, key: tuple[str, int]) -> list[AddrInfoType]:
        try:
            found: list[AddrInfoType] = [*await self._loop.getaddrinfo(key[0], key[1], type=socket.SOCK_STREAM)]
        except UnicodeError as exc:  # an empty or too long label, which the codec refuses before anybody is asked
            raise socket.gaierror(socket.EAI_NONAME, "not a host name") from exc
        if not found:
            raise socket.gaierror(socket.EAI_NONAME, "the name has no address")
        if len(self._known) >= MAX_NAMES:
            self._known.clear()
        self._known[key] = (self._loop.time() + DNS_CACHE_S, found)
        return found


def _literal(host: str, port: int) -> list[AddrInfoType]:
    """Return the address that *host* is, so that no thread has to look it up; nothing for a name."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return []
    if address.version == 4:
        return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (host, port))]
    return [(socket.AF_INET6, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (host, port, 0, 0))]


def _refuse(found: list[AddrInfoType]) -> list[AddrInfoType]:
    raise PrivateAddressError(str(found[0][4][0]))
