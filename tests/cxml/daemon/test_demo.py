"""The demo in this process: every outcome, and a ladder that tells it."""

import io

import pytest
from rich.console import Console

from cxml.cli import DemoOutcome
from cxml.daemon.demo import EXPECTED, OUTCOMES, demo

pytestmark = pytest.mark.slow


async def play(outcome: str) -> tuple[int, str]:
    out = io.StringIO()
    status = await demo(Console(file=out, width=200), outcome=outcome)
    return status, out.getvalue()


def test_the_command_line_offers_every_outcome() -> None:
    assert {str(outcome) for outcome in DemoOutcome} == set(OUTCOMES) == set(EXPECTED)


@pytest.mark.parametrize("outcome", OUTCOMES)
async def test_the_ladder_shows_the_whole_call_in_order(outcome: str) -> None:
    status, text = await play(outcome)
    assert status == 0
    code = OUTCOMES[outcome]
    steps = ["INVITE", "180", "POST /voice ringing", "<Refer>", "200 OK (INVITE)", "ACK", "REFER", "202 Accepted", f"NOTIFY SIP/2.0 {code}"]
    steps += ["POST /transferred", "<Hangup>", "BYE", "200 OK (BYE)"]
    at = 0
    for step in steps:
        at = text.index(step, at)
    assert f"CxmldReferOutcome={EXPECTED[outcome]}" in text
    assert f"NotifySipResponseCode={code}" in text


async def test_the_ladder_names_the_target_by_its_name_and_has_no_broken_message() -> None:
    _, text = await play("answers")
    assert "REFER sip:support@target" in text
    assert "broken" not in text
    assert "…" not in text


async def test_an_unknown_outcome_is_refused() -> None:
    status, text = await play("explodes")
    assert status == 2
    assert "answers" in text
