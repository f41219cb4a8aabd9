"""Pure. What every request is checked for before a usage sees it (RFC 3261 §8.2), and what an error answer destroys (RFC 5057 §5.1)."""

from collections.abc import Container
from enum import Enum

from sipua.errors import ParseError
from sipua.message import Request, Response, make_response

ALLOW = "INVITE, ACK, CANCEL, BYE, OPTIONS, REFER, NOTIFY, SUBSCRIBE, UPDATE, INFO, PRACK"
"""The methods that are served."""

SERVED = frozenset(ALLOW.split(", "))
KNOWN = SERVED | {"REGISTER", "PUBLISH", "MESSAGE"}
"""Methods that get 405 where they are not served; any other token gets 501."""

SUPPORTED_EXTENSIONS: frozenset[str] = frozenset({"100rel", "replaces", "timer"})
"""Option tags that a peer may require."""

ACCEPT = "application/sdp, multipart/mixed, message/sipfrag;version=2.0"


def is_fine(request: Request) -> bool:
    """Tell at a glance that :func:`refuse` has nothing against *request*; False: ask it. Nearly all requests are fine."""
    return request.method in SERVED and request.headers.lacks("Require", "Content-Encoding") and request.request_uri.is_sip


def refuse(request: Request, to_tag: str, extensions: Container[str] = SUPPORTED_EXTENSIONS) -> Response | None:
    """Return the answer to a request that fails the common checks, or None (RFC 3261 §8.2.1 to §8.2.3).

    The order is method, Request-URI scheme, Require, Content-Encoding.
    """
    if request.method not in SERVED:
        response = make_response(request, 405 if request.method in KNOWN else 501, to_tag=to_tag)
        response.headers.add("Allow", ALLOW)
        return response
    if not request.request_uri.is_sip:
        return make_response(request, 416, to_tag=to_tag)
    unknown = [tag for tag in request.require if tag not in extensions]
    if unknown:
        response = make_response(request, 420, to_tag=to_tag)
        response.headers.add("Unsupported", ", ".join(unknown))
        return response
    encoding = (request.headers.get("Content-Encoding") or "identity").strip().lower()
    if encoding != "identity" and request.body:
        response = make_response(request, 415, to_tag=to_tag)
        response.headers.add("Accept-Encoding", "identity")
        return response
    return None


class Destroys(Enum):
    """What a final response to a request in a dialog ends (RFC 5057 §5.1)."""

    TRANSACTION = "transaction"
    USAGE = "usage"
    DIALOG = "dialog"


_USAGE = frozenset({405, 408, 480, 481, 489, 501})
_DIALOG = frozenset({404, 410, 416, 482, 483, 484, 485, 502, 604})
_FOR_ANOTHER = frozenset({"REFER"})  # the answer is about the Refer-To, not about the dialog
_NOT_INTEGRAL = frozenset({"REFER", "INFO", "OPTIONS", "MESSAGE"})


def destroys(status: int, method: str) -> Destroys:
    """Return what *status*, a response to *method*, ends (docs/spec/dialog.md, "What a response ends").

    405, 408, 480, 489 and 501 to a method that is not integral to its usage end nothing but the transaction (notes 3 and 4);
    481 always says that the peer has lost the dialog's usage (RFC 3261 §12.2.1.2). A refused REFER leaves the call as it is, for PBXs
    answer it for the transfer target: 404 says that there is no such extension.
    """
    if status in _DIALOG:
        return Destroys.TRANSACTION if method in _FOR_ANOTHER else Destroys.DIALOG
    if status in _USAGE and (status == 481 or method not in _NOT_INTEGRAL):
        return Destroys.USAGE
    return Destroys.TRANSACTION


def bad_event(request: Request, tag: str = "") -> Response:
    """Answer a NOTIFY or SUBSCRIBE that belongs to nothing (RFC 6665 §4.1.3, RFC 3515 §2.4.4)."""
    try:
        event = request.event
    except ParseError:
        event = None
    if event is not None and event.value.lower() == "refer":
        return make_response(request, 481 if request.method == "NOTIFY" else 403, to_tag=tag)
    response = make_response(request, 489, to_tag=tag)
    response.headers.add("Allow-Events", "refer")
    return response
