"""Turns what calls, webhooks and registrations report into metrics."""

from collections.abc import Mapping

from cxml.calls.sip_call import SipCall
from cxml.daemon.metrics import Metrics
from cxml.interpreter.ending import Summary
from cxml.interpreter.ports import TransferResult
from sipua.usage.registration import RegistrationState


class MetricsObserver:
    """The daemon's observer: counts, and knows which registrations are up."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self.registered: dict[str, bool] = {}

    def call_began(self, peer: str) -> None:
        """A call of *peer* was taken."""
        del peer
        self._metrics.call_began()

    def request_refused(self, reason: str, method: str) -> None:
        """A request outside a dialog didn't come in."""
        self._metrics.request_refused(reason)
        if method == "INVITE" and reason != "challenged":
            self._metrics.call_refused(reason)

    def source_banned(self) -> None:
        """A source was banned."""
        self._metrics.source_banned()

    def transfer_ended(self, result: TransferResult) -> None:
        """A transfer has its result."""
        self._metrics.transfer_ended(str(result.kind), str(result.confidence))

    def call_ended(self, call: SipCall, summary: Summary) -> None:
        """A call is over."""
        del call
        self._metrics.call_ended(summary.reason)
        if summary.error_code:
            self._metrics.document_failed(summary.error_code)

    def webhook_exchanged(self, method: str, url: str, status: int, elapsed_s: float, params: Mapping[str, str]) -> None:
        """An HTTP exchange ended."""
        del method, url, params
        self._metrics.webhook_ended(status, elapsed_s)

    def registration_changed(self, peer: str, state: RegistrationState) -> None:
        """A registration has a new state."""
        self._note(peer, is_registered=state is RegistrationState.REGISTERED)

    def registration_begins(self, peer: str) -> None:
        """A registration is wanted; until it holds the daemon isn't ready."""
        self._note(peer, is_registered=False)

    def _note(self, peer: str, *, is_registered: bool) -> None:
        self.registered[peer] = is_registered
        self._metrics.set_registered(peer, is_registered=is_registered)
