"""A transfer that the peer of a call asks for: what the called side of REFER decides and reports (RFC 3515, RFC 5589)."""

from sipua.errors import CallError
from sipua.message import Request, make_response
from sipua.transaction.layer import ServerTransaction
from sipua.usage.call.session import Session
from sipua.usage.subscription.notifier import Refusal, check_refer
from sipua.usage.subscription.referred import NotifierSession

MAX_TRANSFERS = 8  # of one call at a time; a person asks for one
RETRY_AFTER_S = 10


class IncomingTransfer:
    """A REFER that waits for a decision: :meth:`accept` or :meth:`reject` it, then report by :meth:`progress` and :meth:`finish`.

    One that is not decided within 25 s is declined.

    The call to the target is the handler's: :attr:`target` and :attr:`referred_by` say what it needs.
    """

    def __init__(self, notifier: NotifierSession, request: Request, target: str, referred_by: str, replaces: str) -> None:
        self.request = request
        self.target = target
        self.referred_by = referred_by
        self.replaces = replaces
        self._notifier = notifier

    def accept(self, status: int = 202) -> None:
        """Accept with 202 or 200; NOTIFY 100 follows at once. Raises :class:`CallError` when it is decided already."""
        self._decide()
        self._notifier.accept(status)

    def reject(self, status: int = 603) -> None:
        """Refuse with 300 to 699. Raises :class:`CallError` when it is decided already."""
        self._decide()
        self._notifier.reject(status)

    def progress(self, status: int) -> None:
        """Report a provisional status (101 to 199) of the target."""
        self._notifier.progress(status)

    def finish(self, status: int) -> None:
        """Report the final status (200 to 699) of the target: the subscription ends."""
        self._notifier.finish(status)

    def _decide(self) -> None:
        if self._notifier.is_decided:
            raise CallError("the transfer is decided already")


def receive_refer(session: Session, transaction: ServerTransaction) -> IncomingTransfer | None:
    """Check a REFER in the dialog of *session*; None when it was refused on the spot."""
    request = transaction.request
    refer = check_refer(request)
    if isinstance(refer, Refusal):
        transaction.respond(make_response(request, refer.status, refer.reason))
        return None
    if sum(isinstance(usage, NotifierSession) for usage in session.dialog.usages) >= MAX_TRANSFERS:
        refusal = make_response(request, 500)
        refusal.headers.add("Retry-After", str(RETRY_AFTER_S))
        transaction.respond(refusal)
        return None
    notifier = NotifierSession(session.dialog, transaction, refer, session.core.loop, session.core.tasks)
    return IncomingTransfer(notifier, request, refer.target.text, refer.referred_by or "", refer.replaces or "")
