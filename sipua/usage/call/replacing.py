"""An INVITE that takes the place of a call: the new party of an attended transfer (RFC 3891)."""

import logging
from collections.abc import Iterable

from sipua.auth import Authenticator
from sipua.dialog.layer import Dialog
from sipua.dialog.state import DialogId
from sipua.errors import ParseError, printable
from sipua.message import Request, make_response
from sipua.transaction.layer import ServerTransaction
from sipua.transport.base import Endpoint
from sipua.usage.call.call import Call
from sipua.usage.call.core import CallCore
from sipua.usage.call.inbound import Inbound, receive_invite
from sipua.usage.call.machine.replacement import Found, answer_replacing, read_replaces
from sipua.usage.call.session import Session

log = logging.getLogger("sipua.call")


def receive_replacing(core: CallCore, transaction: ServerTransaction, calls: Iterable[Call], authenticator: Authenticator | None) -> None:
    """Serve an INVITE with Replaces: it goes on with one of *calls*, or is refused (docs/spec/replaces.md)."""
    request = transaction.request
    remote = transaction.channel.remote
    try:
        replaces = read_replaces(request)
    except ParseError as error:
        log.info("INVITE from %s refused: %s", remote, error)
        transaction.respond(make_response(request, error.status, f"Bad Request: {error.reason}", to_tag=core.dialogs.new_tag()))
        return
    dialog = core.dialogs.find(DialogId(replaces.call_id, replaces.to_tag, replaces.from_tag))
    call = None if dialog is None else next((call for call in calls if call.has_dialog(dialog)), None)
    found = _found(dialog, call, request, remote)
    status = answer_replacing(found, is_early_only=replaces.is_early_only)
    if status:
        call_id = printable(request.call_id)
        log.warning("INVITE from %s refused with %d, Call-ID %s: it wants to replace %s", remote, status, call_id, found)
        transaction.respond(make_response(request, status, to_tag=core.dialogs.new_tag()))
        return
    session = receive_invite(core, transaction)
    if session is None or call is None or dialog is None or not isinstance(session.role, Inbound):
        return
    session.dialog.authenticator = authenticator
    core.tasks.spawn(_take_over(call, dialog, session, session.role), name="INVITE with Replaces")


def _found(dialog: Dialog | None, call: Call | None, request: Request, remote: Endpoint) -> Found:
    if dialog is None:
        return Found.NOTHING
    if call is None:
        return Found.OVER if not any(isinstance(usage, Session) for usage in dialog.usages) else Found.NOTHING
    if not _is_same_peer(call, request, remote):
        return Found.OTHERS
    if call.is_confirmed:
        return Found.UP
    return Found.RINGING_HERE if call.is_inbound else Found.RINGING_THERE


def _is_same_peer(call: Call, request: Request, remote: Endpoint) -> bool:
    """Tell whether *request* is of the peer of *call*: the one that the access rules named, for a call without a name the same address."""
    if call.is_inbound and call.invite.sender:
        return request.sender == call.invite.sender
    return call.remote is not None and call.remote.host == remote.host


async def _take_over(call: Call, dialog: Dialog, session: Session, role: Inbound) -> None:
    if await role.accept_at_once(lambda: call.has_dialog(dialog)):
        log.info("Call-ID %s goes on as %s, from %s", printable(call.id), printable(session.call_id), session.remote)
        call.go_on_as(session, role)
