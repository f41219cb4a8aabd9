"""Pure. The stateless answer to a request that breaks a rule (RFC 3261 §8.2.6, §16.3; RFC 4475 §3)."""

from sipua.errors import ParseError
from sipua.message import Headers, Message, Request, Response
from sipua.message.address import Address

_COPIED = ("From", "To", "Call-ID", "CSeq")


def error_response(message: Message | None, status: int, reason: str, to_tag: str) -> Response | None:
    """Make the response *status* to a broken request from the headers that it has; None when it gets none.

    Responses, ACKs (RFC 3261 §17) and messages without any Via get no answer. *reason*, in our words, becomes the reason phrase.
    """
    if not isinstance(message, Request) or message.method == "ACK" or "Via" not in message.headers:
        return None
    headers = Headers(("Via", value) for value in message.headers.lines("Via"))
    for name in _COPIED:
        value = message.headers.get(name)
        if value is not None:
            headers.add(name, _tagged(value, to_tag) if name == "To" else value)
    return Response(status, reason[:1].upper() + reason[1:], headers)


def _tagged(to: str, tag: str) -> str:
    """Add a tag to a To that can be read and has none; a broken one goes back as it came."""
    try:
        return to if Address.parse(to).tag else f"{to};tag={tag}"
    except ParseError:
        return to
