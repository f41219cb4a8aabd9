"""Pure. Which reliable provisional responses a caller acknowledges (RFC 3262 §4; docs/spec/reliable-provisional.md, "As caller")."""

from enum import StrEnum

from sipua.message import Response
from sipua.usage.call.machine.reliable_uas import OPTION


class Verdict(StrEnum):
    """What becomes of a provisional response."""

    UNRELIABLE = "take"
    PRACK = "PRACK, take"
    DROP = "drop"


class ReliableOrder:
    """The order of the reliable responses of one fork."""

    def __init__(self) -> None:
        self._last: int | None = None

    def receive(self, rseq: int | None, *, is_reliable: bool) -> Verdict:
        """Judge a response with the number *rseq*; *is_reliable*: it requires ``100rel``.

        The first may have any number, each further one has to be the next: a repetition or one that came too early is dropped, and the
        peer sends it again.
        """
        if not is_reliable:
            return Verdict.UNRELIABLE
        if rseq is None or (self._last is not None and rseq != self._last + 1):
            return Verdict.DROP
        self._last = rseq
        return Verdict.PRACK


def is_reliable(response: Response) -> bool:
    """Tell whether *response* has to be acknowledged: 101 to 199 that require ``100rel`` (RFC 3262 §4)."""
    return 100 < response.status < 200 and OPTION in response.require
