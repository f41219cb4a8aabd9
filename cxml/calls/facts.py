"""Pure. What an application is told of a call: read from its INVITE."""

from enum import StrEnum

from cxml.calls.identity import asserted_identity
from cxml.services.parameters import CallFacts
from sipua.entropy import system_bits
from sipua.errors import ParseError
from sipua.message import Address, Request, Uri


class SidStyle(StrEnum):
    """How a CallSid looks: a UUID as SignalWire has it, or ``CA`` and 32 hexadecimal digits as Twilio has it."""

    UUID = "uuid"
    TWILIO = "twilio"


class CallStatus(StrEnum):
    """Values of the parameter ``CallStatus``."""

    RINGING = "ringing"
    IN_PROGRESS = "in-progress"
    COMPLETED = "completed"
    BUSY = "busy"
    FAILED = "failed"
    NO_ANSWER = "no-answer"
    CANCELED = "canceled"


def new_sid(style: SidStyle) -> str:
    """Return a fresh CallSid."""
    digits = system_bits.token_hex(16)
    if style is not SidStyle.UUID:
        return "CA" + digits
    variant = "89ab"[int(digits[16], 16) & 3]  # RFC 9562 §5.4: version 4 of this variant
    return "-".join((digits[:8], digits[8:12], "4" + digits[13:16], variant + digits[17:20], digits[20:]))


def inbound_facts(sid: str, account_sid: str, invite: Request, source_ip: str, *, is_trusted: bool = False) -> CallFacts:
    """Return the facts of the call that *invite* opens; *source_ip* is the address it came from.

    *is_trusted*: the peer's P-Asserted-Identity says who calls, and From only when there is none (RFC 3325).
    """
    request_uri = invite.request_uri
    caller = (asserted_identity(invite) if is_trusted else None) or invite.from_
    return CallFacts(
        call_sid=sid,
        account_sid=account_sid,
        from_=plain_uri(caller.uri),
        to=plain_uri(invite.to.uri),
        caller_name=caller.display_name,
        forwarded_from=_forwarded_from(invite),
        sip_call_id=invite.call_id,
        sip_source_ip=source_ip,
        sip_user=request_uri.unescaped_user,
        sip_domain=request_uri.bare_host,
        sip_headers=_extension_headers(invite),
    )


def plain_uri(uri: Uri) -> str:
    """Return *uri* as applications get it: without password, parameters and headers; ``tel:`` URIs as their number."""
    if not uri.is_sip:
        return uri.opaque.partition(";")[0]
    user = "" if uri.user is None else f"{uri.user}@"
    port = "" if uri.port is None else f":{uri.port}"
    return f"{uri.scheme}:{user}{uri.host}{port}"


def _forwarded_from(invite: Request) -> str:
    """Return who forwarded the call, by Diversion (RFC 5806) or the second-last History-Info (RFC 7044); empty if nobody says."""
    diversions = invite.headers.values("Diversion")
    history = invite.headers.values("History-Info")
    text = diversions[0] if diversions else history[-2] if len(history) > 1 else ""
    try:
        return plain_uri(Address.parse(text).uri) if text else ""
    except ParseError:
        return ""


def _extension_headers(invite: Request) -> dict[str, str]:
    """Return the ``X-`` headers, spelled as they came; lines of one name are joined as RFC 3261 §7.3.1 allows, under its first spelling."""
    found: dict[str, str] = {}
    spellings: dict[str, str] = {}
    for received, value in invite.headers:
        if received.startswith(("X-", "x-")):
            name = spellings.setdefault(received.lower(), received)
            found[name] = f"{found[name]}, {value}" if name in found else value
    return found
