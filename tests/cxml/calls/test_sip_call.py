"""``CallStatus`` as its table says, and the port over a SIP call."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from cxml.access.peers import ReferRules
from cxml.calls.sip_call import REJECT_STATUS, SipCall
from cxml.interpreter.ports import CallEndedError, RejectReason, TransferKind
from sipua.errors import CallError
from sipua.usage.call.machine.effects import EndedBy
from sipua.usage.call.session import Ending
from sipua.usage.subscription import outcome
from tests.support.tables import read_table

SPEC = Path(__file__).parents[3] / "docs" / "spec" / "call-status.md"
ROWS = read_table(SPEC, "CallStatus")


@dataclass
class FakeSip:
    """As much of a SIP call as the status needs."""

    is_confirmed: bool = False
    was_confirmed: bool = False
    ending: Ending | None = None
    fault: Exception | None = None
    answered: int = 0
    is_answered: bool = False

    async def hangup(self, status: int, reason: str = "") -> None:
        """A 200 without ACK: the BYE has to wait."""

    @property
    def is_ended(self) -> bool:
        return self.ending is not None

    async def answer(self) -> None:
        self.answered += 1
        if self.fault is not None:
            raise self.fault


def make(sip: FakeSip) -> SipCall:
    return SipCall(sip, "CA1", ReferRules())  # type: ignore[arg-type]


@pytest.mark.parametrize("row", ROWS, ids=[row["row"] for row in ROWS])
def test_the_status_is_that_of_the_table(row: dict[str, str]) -> None:
    was_confirmed = row["so far"] == "confirmed"
    over = row["end"] != "–"
    status = 0 if row["status"] == "–" else int(row["status"])
    sip = FakeSip(was_confirmed and not over, was_confirmed, Ending(EndedBy(row["end"]), status) if over else None)
    assert str(make(sip).status) == row["CallStatus"]


def test_the_table_has_every_end() -> None:
    assert {row["end"] for row in ROWS} == {"–", *EndedBy}


def test_every_reason_to_reject_has_a_status() -> None:
    assert set(REJECT_STATUS) == set(RejectReason)


async def test_no_media_in_common_counts_as_the_end_of_the_call() -> None:
    with pytest.raises(CallEndedError, match="no media"):
        await make(FakeSip(fault=CallError("no media in common"))).answer()


async def test_an_answered_call_is_not_answered_again() -> None:
    sip = FakeSip(is_confirmed=True, was_confirmed=True)
    await make(sip).answer()
    assert sip.answered == 0


def test_the_two_packages_have_the_same_words_for_what_became_of_a_transfer() -> None:
    """The library knows nothing of documents, verbs nothing of SIP: each has its own list, and the port maps by value."""
    assert [kind.value for kind in TransferKind] == [kind.value for kind in outcome.TransferKind]


@pytest.mark.parametrize(("is_answered", "status"), [(True, "completed"), (False, "ringing")])
async def test_a_call_that_we_hang_up_before_its_ack_counts_as_completed(is_answered: bool, status: str) -> None:
    call = make(FakeSip(is_answered=is_answered))
    assert str(call.status) == "ringing"
    await call.hangup()
    assert str(call.status) == status
