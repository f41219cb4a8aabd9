"""Asks name servers through dnspython: one question, one reply, whatever the name server sends."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import dns.asyncresolver
import dns.exception
import dns.name
import dns.nameserver
import dns.rdatatype
import dns.resolver
import dns.rrset

from sipua.errors import printable
from sipua.transport.locate.addresses import usable
from sipua.transport.locate.records import MAX_RECORDS, Naptr, Srv
from sipua.transport.route import ip_literal

log = logging.getLogger("sipua.dns")

DNS_PORT = 53
TIMEOUT_S = 5.0  # for all questions about one next hop: a call must not wait longer for a name server
TRY_S = 1.0  # one datagram's time: the second try, or the second server, comes well within TIMEOUT_S
QUESTION_S = 2.2  # one question's time, so that a server that drops NAPTR leaves time for the addresses
UDP_BYTES = 1232  # fits every path without fragments; longer answers come by TCP
MAX_CNAMES = 8  # aliases that are followed over several answers; a loop ends there
RESOLV_CONF = Path("/etc/resolv.conf")

Records = tuple[Naptr, ...] | tuple[Srv, ...] | tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DnsSettings:
    """How names are looked up.

    *servers* are ``ADDRESS`` or ``ADDRESS:PORT`` (IPv6 with a port in brackets), none: those of the system. *timeout_s* limits all
    questions about one next hop, *max_names* what the cache holds, *max_ttl_s* how long an answer is believed.
    """

    servers: tuple[str, ...] = ()
    timeout_s: float = TIMEOUT_S
    naptr: bool = True
    max_names: int = 1024
    max_ttl_s: float = 3600.0


@dataclass(frozen=True, slots=True)
class Reply:
    """*records* and the seconds for which they hold; no records: the name server says that there are none."""

    records: Records
    ttl_s: float | None
    """None: the name server told no time (a negative answer without SOA)."""


class NameServerError(Exception):
    """No name server gave a usable answer."""


class Asker(Protocol):
    """Who answers questions; :class:`NameServer` or, in tests, something else."""

    async def ask(self, name: str, kind: str) -> Reply:
        """Return the records of *name*; *kind* is ``NAPTR``, ``SRV``, ``A`` or ``AAAA``. Raises :class:`NameServerError`."""


def parse_server(text: str) -> tuple[str, int]:
    """Return address and port of a name server as settings have it. Raises ValueError."""
    host, colon, port = text.rpartition(":")
    if ip_literal(text) is not None:
        return text.strip("[]"), DNS_PORT
    if not colon or ip_literal(host) is None or (":" in host) != host.startswith("["):
        raise ValueError(f"{printable(text, 80)!r} is not the address of a name server; write ADDRESS or ADDRESS:PORT, IPv6 in brackets")
    if not (port.isascii() and port.isdigit() and 0 < int(port) <= 65535):
        raise ValueError(f"{printable(text, 80)!r} has no port between 1 and 65535 behind its colon")
    return host.strip("[]"), int(port)


class NameServer:
    """Questions to the name servers of *settings*, or of ``/etc/resolv.conf``, which is read again when it changed."""

    def __init__(self, settings: DnsSettings = DnsSettings(), resolv_conf: Path = RESOLV_CONF) -> None:
        self._servers = tuple(parse_server(server) for server in settings.servers)
        self._limit_s = min(QUESTION_S, settings.timeout_s)
        self._resolv_conf = resolv_conf
        self._stamp: int | None = -1
        self._resolver: dns.asyncresolver.Resolver | None = None

    async def ask(self, name: str, kind: str) -> Reply:
        """Return the records of *name*. Raises :class:`NameServerError`."""
        resolver = self._current()
        if resolver is None:
            raise NameServerError("no name server is configured; name one in the settings or in /etc/resolv.conf")
        try:
            return await self._chase(resolver, dns.name.from_text(name), dns.rdatatype.from_text(kind))
        except dns.resolver.NXDOMAIN as answer:
            return Reply((), _negative_ttl(answer))
        except (dns.name.LabelTooLong, dns.name.NameTooLong, dns.name.EmptyLabel, dns.name.IDNAException, UnicodeError) as error:
            log.debug("%s is no host name: %s", printable(name, 64), type(error).__name__)
            return Reply((), None)
        except dns.resolver.NoNameservers:
            raise NameServerError(f"no name server has a usable answer for {printable(name, 64)} {kind}") from None
        except dns.exception.Timeout:
            raise NameServerError(f"no name server answers for {printable(name, 64)} {kind}") from None
        except (dns.exception.DNSException, OSError, ValueError) as error:
            raise NameServerError(f"asking for {printable(name, 64)} {kind} failed: {type(error).__name__}") from error

    async def _chase(self, resolver: dns.asyncresolver.Resolver, name: dns.name.Name, kind: dns.rdatatype.RdataType) -> Reply:
        """Ask, and ask again for the end of an alias whose answer stopped half-way."""
        seen = {name}
        answer = await resolver.resolve(name, kind, raise_on_no_answer=False, lifetime=self._limit_s)
        while answer.rrset is None and answer.canonical_name not in seen and len(seen) <= MAX_CNAMES:
            seen.add(answer.canonical_name)
            answer = await resolver.resolve(answer.canonical_name, kind, raise_on_no_answer=False, lifetime=self._limit_s)
        chain = answer.chaining_result
        if answer.rrset is None:
            return Reply(
                (), float(chain.minimum_ttl) if any(rrset.rdtype == dns.rdatatype.SOA for rrset in answer.response.authority) else None
            )
        return Reply(read_records(answer.rrset), float(chain.minimum_ttl))

    def _current(self) -> dns.asyncresolver.Resolver | None:
        """Return the resolver, made anew when the system's settings have changed."""
        if self._servers:
            if self._resolver is None:
                self._resolver = _configured(self._servers)
            return self._resolver
        try:
            stamp = self._resolv_conf.stat().st_mtime_ns
        except OSError:
            stamp = None
        if stamp != self._stamp:
            self._stamp = stamp
            self._resolver = None
            try:
                self._resolver = _limited(dns.asyncresolver.Resolver(str(self._resolv_conf)))
            except (dns.exception.DNSException, OSError, ValueError) as error:
                log.warning("%s names no name server: %s", self._resolv_conf, type(error).__name__)
        return self._resolver


def _configured(servers: Sequence[tuple[str, int]]) -> dns.asyncresolver.Resolver:
    resolver = dns.asyncresolver.Resolver(configure=False)
    resolver.nameservers = [dns.nameserver.Do53Nameserver(address, port) for address, port in servers]
    return _limited(resolver)


def _limited(resolver: dns.asyncresolver.Resolver) -> dns.asyncresolver.Resolver:
    resolver.cache = None  # ours knows stale answers and bounds
    resolver.timeout = TRY_S
    resolver.use_edns(0, 0, UDP_BYTES)
    return resolver


def read_records(rrset: dns.rrset.RRset) -> Records:
    """Return the records of *rrset* in our own shape, at most ``MAX_RECORDS``, the most important ones; broken ones are passed over."""
    match rrset.rdtype:
        case dns.rdatatype.SRV:
            servers = [Srv(r.priority, r.weight, r.port, _text(r.target)) for r in rrset]
            return tuple(sorted(servers, key=lambda r: r.priority)[:MAX_RECORDS])
        case dns.rdatatype.NAPTR:
            rules = [
                Naptr(r.order, r.preference, _ascii(r.flags), _ascii(r.service), _ascii(r.regexp), _text(r.replacement)) for r in rrset
            ]
            return tuple(sorted(rules, key=lambda r: (r.order, r.preference))[:MAX_RECORDS])
        case _:
            return tuple(usable(r.address for r in rrset)[:MAX_RECORDS])


def _text(name: dns.name.Name) -> str:
    return "" if name == dns.name.root else name.to_text(omit_final_dot=True)


def _ascii(text: bytes) -> str:
    return text.decode("ascii", "replace")


def _negative_ttl(answer: dns.resolver.NXDOMAIN) -> float | None:
    """Return for how long the name does not exist: the SOA's word (RFC 2308 §5)."""
    ttls = [
        min(rrset.ttl, rrset[0].minimum)
        for response in answer.kwargs.get("responses", {}).values()
        for rrset in response.authority
        if rrset.rdtype == dns.rdatatype.SOA and len(rrset)
    ]
    return float(min(ttls)) if ttls else None
