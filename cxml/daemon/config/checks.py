"""Pure. Checks that look at more than one setting. Each yields the path of the setting to change and what is wrong.

They are told which settings are broken in themselves and compare nothing with those: what they hold is only a default.
"""

import ipaddress
from collections.abc import Callable, Iterator
from collections.abc import Set as AbstractSet
from typing import Final

from cxml.access.peers import Proof
from cxml.daemon.config.model import Config
from cxml.daemon.config.peer import Peer
from cxml.daemon.config.tls_checks import check_certificates, check_peer_certificates
from cxml.daemon.config.toml import Path
from cxml.services.hosts import host_of, is_host_allowed, is_public
from cxml.services.target import parse_target
from sipua.message import Uri
from sipua.rtp.ports import PortAllocator
from sipua.transport.base import Endpoint
from sipua.transport.route import ip_literal, is_wildcard, parse_endpoint
from sipua.usage.call.media import MediaMode

Findings = Iterator[tuple[Path, str]]
Broken = AbstractSet[Path]

NAMELESS: Final = "nameless"
"""What a peer is called whose own name is broken; nothing is compared with it."""


def check_voice(config: Config, broken: Broken) -> Findings:
    """A daemon without a first document can't serve."""
    if not config.voice.url and ("voice", "url") not in broken:
        yield ("voice", "url"), "is missing; set it here, by CXMLD_VOICE__URL or by --voice-url, such as http://127.0.0.1:8000/voice"


def check_timeouts(config: Config, broken: Broken) -> Findings:
    """Parts take no longer than the whole."""
    webhook = config.webhook
    if ("webhook", "total_timeout_s") in broken:
        return
    for key in ("connect_timeout_s", "read_timeout_s"):
        if ("webhook", key) not in broken and getattr(webhook, key) > webhook.total_timeout_s:
            yield ("webhook", key), f"must not be above total_timeout_s, which is {webhook.total_timeout_s:g}"


def check_hosts(config: Config, broken: Broken) -> Findings:
    """The daemon may ask the URLs that it is told to ask."""
    if ("webhook", "allow_hosts") in broken:
        return
    for key in ("url", "fallback_url"):
        url = getattr(config.voice, key)
        if url and ("voice", key) not in broken and not config.webhook.allow_private and _is_private(host_of(parse_target(url))):
            yield ("webhook", "allow_private"), f"forbids the host of [voice] {key}, {host_of(parse_target(url))}; leave it true"
        if url and ("voice", key) not in broken and not is_host_allowed(parse_target(url), config.webhook.allow_hosts):
            yield ("webhook", "allow_hosts"), f"does not allow the host of [voice] {key}, {host_of(parse_target(url))}; add it"


def _is_private(host: str) -> bool:
    """Tell whether *host* is inside without a look at the DNS: an address that is not public, or this machine's name."""
    bare = host.strip("[]")
    return bare == "localhost" or (ip_literal(bare) is not None and not is_public(bare))


def check_session_timer(config: Config, broken: Broken) -> Findings:
    """Nobody asks for less than is agreed to."""
    least = config.sip.min_se_s
    if ("sip", "min_se_s") in broken:
        return
    asked: list[tuple[Path, int | None]] = [(("sip", "session_expires_s"), config.sip.session_expires_s)]
    asked += [(("peers", index, "session_expires_s"), peer.session_expires_s) for index, peer in enumerate(config.peers)]
    for path, value in asked:
        if value and value < least and path not in broken:
            yield path, f"must be 0 or at least [sip] min_se_s, which is {least}"


def check_listeners(config: Config, broken: Broken) -> Findings:
    """There is a listener, and no two want the same port."""
    if ("sip", "listen") in broken:
        return
    endpoints = [parse_endpoint(text) for text in config.sip.listen]
    if not endpoints:
        yield ("sip", "listen"), "must not be empty: a daemon that listens nowhere gets no calls"
    for index, endpoint in enumerate(endpoints):
        for other in endpoints[:index]:
            if _overlap(endpoint, other):
                yield ("sip", "listen"), f"{endpoint} and {other} overlap; leave one of them out"
    if config.http.address is not None and ("http", "listen") not in broken:
        http = Endpoint("TCP", *config.http.address)
        for endpoint in endpoints:
            if _overlap(endpoint, http):
                yield ("http", "listen"), f"{http.hostport} overlaps {endpoint} of [sip] listen; choose another port"


def _overlap(one: Endpoint, other: Endpoint) -> bool:
    if (one.is_reliable, one.port) != (other.is_reliable, other.port) or one.port == 0 or (":" in one.host) != (":" in other.host):
        return False
    same = ipaddress.ip_address(one.host) == ipaddress.ip_address(other.host)
    return same or is_wildcard(one.host) or is_wildcard(other.host)


def check_media(config: Config, broken: Broken) -> Findings:
    """Every call that opens a socket finds a port; no listener of ours stands among them."""
    if config.media.mode is MediaMode.NONE or broken & {("media", "mode"), ("media", "rtp_ports")}:
        return
    low, high = config.media.rtp_ports
    pairs = PortAllocator(low, high).size
    if pairs < config.limits.max_calls and ("limits", "max_calls") not in broken:
        yield (
            ("media", "rtp_ports"),
            f"{low}-{high} has ports for {pairs} calls, and [limits] max_calls is {config.limits.max_calls}; change one of them",
        )
    if pairs < config.workers.count and ("workers", "count") not in broken:
        yield ("media", "rtp_ports"), f"{low}-{high} has ports for {pairs} calls, and [workers] count is {config.workers.count}"
    for text in () if ("sip", "listen") in broken else config.sip.listen:
        endpoint = parse_endpoint(text)
        if endpoint.transport == "UDP" and low <= endpoint.port <= high:
            yield ("media", "rtp_ports"), f"{low}-{high} holds the port of {endpoint} of [sip] listen"


def check_peers(config: Config, broken: Broken) -> Findings:
    """Peers have names and addresses of their own, can be recognised, and can register if they shall."""
    for index, peer in enumerate(config.peers):
        bad = {str(path[2]) for path in broken if path[:2] == ("peers", index)}
        before = [(other, config.peers[other]) for other in range(index)]
        names = {known.name.lower() for other, known in before if ("peers", other, "name") not in broken}
        if "name" not in bad and peer.name.lower() in names:
            yield ("peers", index, "name"), "another peer has this name, too"
        yield from _check_proof(index, peer, before, bad)
        known_otherwise = peer.auth is Proof.DIGEST or bool(peer.certificate)
        if not known_otherwise and not peer.networks and not bad & {"auth", "match", "uri", "certificate"}:
            yield (
                ("peers", index, "match"),
                "names no address; list the addresses that the PBX calls from" + (": the host of uri is a name" if peer.uri else ""),
            )
        yield from _check_blocks(index, peer, [known for _, known in before])
        if peer.is_registering:
            yield from _check_registration(index, peer, bad)
        if peer.password.get_secret_value() and not peer.username and "username" not in bad:
            yield ("peers", index, "username"), "is missing: a password needs one"


def _check_proof(index: int, peer: Peer, before: list[tuple[int, Peer]], bad: AbstractSet[str]) -> Findings:
    """A peer that shows a password has one, with a user name of its own; what would play no part is a mistake."""
    if "auth" in bad:
        return
    if peer.auth is Proof.ADDRESS:
        if peer.inbound_username or peer.inbound_password.get_secret_value():
            yield ("peers", index, "auth"), 'must be "digest" or "both", or inbound_username and inbound_password play no part'
        return
    if peer.auth is Proof.DIGEST and peer.match:
        yield ("peers", index, "match"), 'plays no part with auth = "digest"; write "both" to ask for the address and the password'
    needed = {"inbound_username": peer.inbound_user, "inbound_password": peer.inbound_secret}
    missing = [key for key, value in needed.items() if not value and not bad & {key, key.removeprefix("inbound_")}]
    if missing:
        yield ("peers", index, "auth"), f"needs {' and '.join(missing)}, too"
    owner = next((known for _, known in before if known.auth is not Proof.ADDRESS and known.inbound_user == peer.inbound_user), None)
    if owner is not None and peer.inbound_user:
        yield ("peers", index, "inbound_username"), f"the peer {owner.name!r} has this user name, too; a call can be of one peer only"


def _check_blocks(index: int, peer: Peer, before: list[Peer]) -> Findings:
    """No two peers list the same block: which of them calls could not be told. Broken lists are empty here."""
    for block in peer.networks if peer.match else ():
        owner = next((other for other in before if other.match and block in other.networks), None)
        if owner is not None:
            yield ("peers", index, "match"), f"{block} is in the match of the peer {owner.name!r}, too; a call can be of one peer only"


def _check_registration(index: int, peer: Peer, bad: AbstractSet[str]) -> Findings:
    needed = {"uri": peer.uri, "username": peer.username, "password": peer.password.get_secret_value()}
    missing = [key for key, value in needed.items() if not value and key not in bad]
    if missing:
        yield ("peers", index, "register"), f"needs {' and '.join(missing)}, too"
    if peer.uri and Uri.parse(peer.uri).headers is not None:
        yield ("peers", index, "uri"), "must have no headers (from '?' on) to register"


CHECKS: Final[tuple[Callable[[Config, Broken], Findings], ...]] = (
    check_voice,
    check_timeouts,
    check_hosts,
    check_session_timer,
    check_listeners,
    check_media,
    check_peers,
    check_certificates,
    check_peer_certificates,
)
"""Each check of a configuration whose broken settings are at their defaults."""
