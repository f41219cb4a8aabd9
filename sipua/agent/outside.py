"""Pure. Answers to requests outside a dialog that open nothing: each is the same whenever its request comes (RFC 3261 §8.2.7)."""

from sipua.dialog.checks import bad_event
from sipua.message import Request, Response, make_response
from sipua.usage.call import inquiries

RETRY_AFTER_S = 10
"""What a 503 of ours asks a caller to wait."""


def unavailable(request: Request, status: int, tag: str) -> Response:
    """Refuse with *status*; 503 tells when to come again (RFC 3261 §21.5.4)."""
    response = make_response(request, status, to_tag=tag)
    if status == 503:
        response.headers.add("Retry-After", str(RETRY_AFTER_S))
    return response


def answer_outside(request: Request, tag: str, server_name: str, extensions: frozenset[str], *, is_closing: bool) -> Response | None:
    """Return the answer to *request*, None for INVITE, which may open a call; *tag* is our To tag."""
    match request.method:
        case "INVITE":
            return None
        case "OPTIONS" if is_closing:
            return unavailable(request, 503, tag)
        case "OPTIONS":
            return inquiries.answer_options(request, server_name, 200, tag, extensions)
        case "NOTIFY" | "SUBSCRIBE":
            return bad_event(request, tag)
        case "REFER":
            return make_response(request, 603, to_tag=tag)
        case _:
            return make_response(request, 481, to_tag=tag)
