"""Pure. Checks that look at more than one setting. Each yields the path of the setting to change and what is wrong."""

import ipaddress
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Final

from cxml.daemon.config_model import Config, Peer
from cxml.daemon.config_toml import Path
from sipua.message import Uri
from sipua.rtp.ports import PortAllocator
from sipua.transport.base import Endpoint
from sipua.transport.route import is_wildcard, parse_endpoint
from sipua.usage.call.media import MediaMode

Findings = Iterator[tuple[Path, str]]


def check_voice(config: Config) -> Findings:
    """A daemon without a first document can't serve."""
    if not config.voice.url:
        yield ("voice", "url"), "is missing; set it here, by CXMLD_VOICE__URL or by --voice-url, such as http://127.0.0.1:8000/voice"


def check_timeouts(config: Config) -> Findings:
    """Parts take no longer than the whole."""
    webhook = config.webhook
    for key in ("connect_timeout_s", "read_timeout_s"):
        if getattr(webhook, key) > webhook.total_timeout_s:
            yield ("webhook", key), f"must not be above total_timeout_s, which is {webhook.total_timeout_s:g}"


def check_listeners(config: Config) -> Findings:
    """There is a listener, and no two want the same port."""
    endpoints = [parse_endpoint(text) for text in config.sip.listen]
    if not endpoints:
        yield ("sip", "listen"), "must not be empty: a daemon that listens nowhere gets no calls"
    for index, endpoint in enumerate(endpoints):
        for other in endpoints[:index]:
            if _overlap(endpoint, other):
                yield ("sip", "listen"), f"{endpoint} and {other} overlap; leave one of them out"
    if config.http.address is not None:
        http = Endpoint("TCP", *config.http.address)
        for endpoint in endpoints:
            if _overlap(endpoint, http):
                yield ("http", "listen"), f"{http.hostport} overlaps {endpoint} of [sip] listen; choose another port"


def _overlap(one: Endpoint, other: Endpoint) -> bool:
    if (one.transport, one.port) != (other.transport, other.port) or one.port == 0 or (":" in one.host) != (":" in other.host):
        return False
    same = ipaddress.ip_address(one.host) == ipaddress.ip_address(other.host)
    return same or is_wildcard(one.host) or is_wildcard(other.host)


def check_media(config: Config) -> Findings:
    """Every call that opens a socket finds a port; no listener of ours stands among them."""
    if config.media.mode is MediaMode.NONE:
        return
    low, high = config.media.rtp_ports
    pairs = PortAllocator(low, high).size
    if pairs < config.limits.max_calls:
        yield (
            ("media", "rtp_ports"),
            f"{low}-{high} has ports for {pairs} calls, and [limits] max_calls is {config.limits.max_calls}; change one of them",
        )
    for text in config.sip.listen:
        endpoint = parse_endpoint(text)
        if endpoint.transport == "UDP" and low <= endpoint.port <= high:
            yield ("media", "rtp_ports"), f"{low}-{high} holds the port of {endpoint} of [sip] listen"


def check_peers(config: Config) -> Findings:
    """Peers have names of their own, can be recognised, and can register if they shall."""
    names = Counter(peer.name.lower() for peer in config.peers)
    for index, peer in enumerate(config.peers):
        if names[peer.name.lower()] > 1 and any(peer.name.lower() == before.name.lower() for before in config.peers[:index]):
            yield ("peers", index, "name"), "another peer has this name, too"
        if not peer.networks:
            yield (
                ("peers", index, "match"),
                "names no address; list the addresses that the PBX calls from" + (": the host of uri is a name" if peer.uri else ""),
            )
        if peer.is_registering:
            yield from _check_registration(index, peer)
        if peer.password.get_secret_value() and not peer.username:
            yield ("peers", index, "username"), "is missing: a password needs one"


def _check_registration(index: int, peer: Peer) -> Findings:
    needed = {"uri": peer.uri, "username": peer.username, "password": peer.password.get_secret_value()}
    missing = [key for key, value in needed.items() if not value]
    if missing:
        yield ("peers", index, "register"), f"needs {' and '.join(missing)}, too"
    if peer.uri and Uri.parse(peer.uri).headers is not None:
        yield ("peers", index, "uri"), "must have no headers (from '?' on) to register"


CHECKS: Final[tuple[tuple[frozenset[str], Callable[[Config], Findings]], ...]] = (
    (frozenset({"voice"}), check_voice),
    (frozenset({"webhook"}), check_timeouts),
    (frozenset({"sip", "http"}), check_listeners),
    (frozenset({"media", "limits", "sip"}), check_media),
    (frozenset({"peers"}), check_peers),
)
"""Each check and the sections that must be valid in themselves for it to run."""
