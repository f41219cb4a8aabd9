"""Requests that belong to no dialog and no call."""

from sipua.auth import Authenticator
from sipua.dialog.layer import DialogLayer
from sipua.message import CSeq, Request, Response, Uri
from sipua.message.build import MAX_FORWARDS
from sipua.message.headers import Headers


async def ask(
    dialogs: DialogLayer, authenticator: Authenticator | None, method: str, target: str, caller: str, user_agent: str
) -> Response:
    """Send *method* to *target*, a SIP URI, and return the final response; silence is a made-up 408 (RFC 3261 §8.1).

    *caller* is a From value without a tag. Raises :class:`sipua.errors.ParseError` for a URI that is none.
    """
    number = dialogs.first_cseq()
    headers = Headers()
    headers.add("Max-Forwards", MAX_FORWARDS)
    headers.add("From", f"{caller};tag={dialogs.new_tag()}")
    headers.add("To", f"<{target}>")
    headers.add("Call-ID", dialogs.new_call_id())
    headers.add("CSeq", str(CSeq(number, method)))
    headers.add("User-Agent", user_agent)
    request = Request(method, Uri.parse(target).as_request_uri().text, headers)

    def next_cseq() -> int:
        nonlocal number
        number += 1
        return number

    return await dialogs.exchanger.exchange(request, authenticator, next_cseq)
