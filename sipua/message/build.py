"""Pure. Messages that follow from others: responses, ACK, CANCEL."""

from sipua.message.headers import Headers, one_line
from sipua.message.model import Request, Response
from sipua.message.via import CSeq

MAX_FORWARDS = "70"
"""Initial Max-Forwards (RFC 3261 §8.1.1.6)."""


def make_response(request: Request, status: int, reason: str | None = None, *, to_tag: str = "") -> Response:
    """Make the response *status* to *request* (RFC 3261 §8.2.6).

    *to_tag* goes into To unless that has a tag already or the status is 100. A 100 carries the request's Timestamp.
    """
    source = request.headers
    get = source.get
    to = get("To") or ""
    if to_tag and status > 100 and not request.to.tag:
        to = one_line("To", f"{to};tag={to_tag}")
    lines = [("From", get("From") or ""), ("To", to), ("Call-ID", get("Call-ID") or ""), ("CSeq", get("CSeq") or "")]
    if status == 100 and (timestamp := get("Timestamp")) is not None:
        lines.append(("Timestamp", timestamp))
    vias = [("Via", value) for value in source.lines("Via")]
    headers = Headers(vias + lines, dict([*lines, *vias[:1]]))
    if (known := source.cache.get("Via")) is not None:
        headers.cache["Via"] = known  # the same text, which says where the response goes
    return Response(status, reason, headers)


def copy_record_route(request: Request, response: Response) -> None:
    """Copy all Record-Route lines in order: a response that makes a dialog must have them (RFC 3261 §12.1.1)."""
    for value in request.headers.lines("Record-Route"):
        response.headers.add("Record-Route", value)


def make_ack(invite: Request, response: Response) -> Request:
    """Make the ACK for a 300 to 699 response: same branch, To of the response (RFC 3261 §17.1.1.3)."""
    return _sibling(invite, "ACK", response.headers.get("To") or "")


def make_cancel(invite: Request) -> Request:
    """Make the CANCEL of *invite*: same branch, To as sent, no Require (RFC 3261 §9.1)."""
    return _sibling(invite, "CANCEL", invite.headers.get("To") or "")


def _sibling(invite: Request, method: str, to: str) -> Request:
    source = invite.headers
    headers = Headers()
    headers.add("Via", str(invite.via))
    for value in source.lines("Route"):
        headers.add("Route", value)
    headers.add("Max-Forwards", MAX_FORWARDS)
    headers.add("From", source.get("From") or "")
    headers.add("To", to)
    headers.add("Call-ID", source.get("Call-ID") or "")
    headers.add("CSeq", str(CSeq(invite.cseq.number, method)))
    return Request(method, invite.uri, headers)
