"""Pure. What an examination is to do, from the configuration and the options of the command."""

from dataclasses import dataclass, field
from typing import Any

from cxml.daemon.config import Config
from cxml.daemon.config import Peer as PeerConfig
from cxml.errors import CxmlError
from sipua.auth import Credential
from sipua.errors import ParseError, TransportError, printable
from sipua.message import Address, Uri
from sipua.transport.route import target_of

STEP_S = 8.0
"""How long OPTIONS, REGISTER and a connection may take: four transmissions over UDP."""

RING_S = 20.0
"""How long the test call and the target of a transfer may ring."""

MEDIA_S = 3.0
"""How long audio is listened for: an echo has been there and back many times."""

UNANSWERED_S = 8.0
"""How long a target that never answers is waited for: a false success comes within a second."""

SETTLE_S = 1.0
"""How long a call without a test of its audio lasts before its transfer."""

TOTAL_S = 150.0
"""The limit of everything: four calls, each ringing and transferred as long as may be, with what stands before them."""

ELSEWHERE = "doctor.invalid"
"""A host that nobody has (RFC 2606)."""


class PlanError(CxmlError):
    """The examination can't be made from this configuration."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to examine: *uri* of the PBX, *caller* (a From value), *credentials*; extensions, "" for none; and time limits in seconds."""

    uri: str
    caller: str
    listen: tuple[str, ...]
    credentials: tuple[Credential, ...] = field(default=(), repr=False)
    wants_binding: bool = False
    binds: bool = False
    extension: str = ""
    transfer_to: str = ""
    unanswered: str = ""
    is_thorough: bool = False
    has_audio: bool = True
    step_s: float = STEP_S
    ring_s: float = RING_S
    media_s: float = MEDIA_S
    settle_s: float = SETTLE_S
    unanswered_s: float = UNANSWERED_S
    total_s: float = TOTAL_S

    def target(self, extension: str) -> str:
        """Return the URI of an extension of the PBX; what is a URI already stays as it is."""
        if not extension or ":" in extension:
            return extension
        uri = Uri.parse(self.uri)
        return Uri.build(uri.host, user=extension, port=uri.port, params=uri.params, scheme=uri.scheme).text

    def elsewhere(self, extension: str) -> str:
        """Return *extension* at a host that doesn't exist."""
        user = Uri.parse(extension).user if ":" in extension else extension
        return Uri.build(ELSEWHERE, user=user).text


def make_plan(config: Config, peer: PeerConfig, *, credentials: tuple[Credential, ...], **options: Any) -> Plan:
    """Return the plan for *peer*; *options* are fields of :class:`Plan`. Raises :class:`PlanError` when there is no way to it."""
    uri = uri_of(peer)
    host = Uri.parse(uri).host
    caller = str(Address(Uri.build(host, user=peer.username or "cxmld")))
    plan = Plan(uri, caller, listen_of(config, uri), credentials, peer.is_registering, **options)
    for extension in filter(None, (plan.extension, plan.transfer_to, plan.unanswered)):
        _check(plan, extension)
    return plan


def _check(plan: Plan, extension: str) -> None:
    """Raise :class:`PlanError` for what can't be called."""
    refusal = PlanError(f"{printable(extension, 80)!r} is no extension and no SIP URI")
    try:
        uri = Uri.parse(plan.target(extension))
    except ParseError as error:
        raise refusal from error
    if not uri.is_sip or not uri.text.isprintable() or set(uri.text) & set(' <>"'):
        raise refusal


def find_peer(config: Config, name: str) -> PeerConfig:
    """Return the peer *name*. Raises :class:`PlanError` that names those there are."""
    for peer in config.peers:
        if peer.name == name:
            return peer
    names = ", ".join(peer.name for peer in config.peers)
    raise PlanError(f"there is no peer {name!r}; the configuration has {names}" if names else "the configuration has no [[peers]]")


def uri_of(peer: PeerConfig) -> str:
    """Return where *peer* is reached: its uri, or the only address of its match. Raises :class:`PlanError`."""
    if peer.uri:
        return peer.uri
    networks = peer.networks
    if len(networks) == 1 and networks[0].num_addresses == 1:
        return Uri.build(str(networks[0].network_address)).text
    raise PlanError(f"peer {peer.name} has no uri: set [[peers]] uri to where the PBX is reached, such as sip:10.0.0.5:5060")


def listen_of(config: Config, uri: str) -> tuple[str, ...]:
    """Return endpoints at free ports of the addresses that the daemon listens at; one of the transport to the PBX is added if it lacks.

    Not one for TLS without a certificate: then there is only the connection that we open.
    """
    hosts = [tuple(entry.split(":", 1)) for entry in config.sip.listen]
    found = [f"{transport}:{rest.rpartition(':')[0]}:0" for transport, rest in hosts]
    wanted = _transport(uri)
    if found and not any(entry.startswith(wanted) for entry in found) and (wanted != "tls" or config.tls.certificate):
        found.append(f"{wanted}:{found[0].partition(':')[2]}")
    return tuple(dict.fromkeys(found)) or ("udp:127.0.0.1:0", "tcp:127.0.0.1:0")


def _transport(uri: str) -> str:
    """Return the transport that *uri* asks for, in lower case; UDP for what no route leads to, which is found out later."""
    try:
        return target_of(Uri.parse(uri)).transport.lower()
    except TransportError:
        return "udp"
