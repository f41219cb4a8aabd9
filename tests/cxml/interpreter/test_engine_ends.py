"""Walks the table *How a call ends* of ``docs/spec/engine.md``."""

import pytest

from cxml.document import nodes
from cxml.interpreter.context import Context, VerbEntry
from cxml.interpreter.outcome import Outcome
from cxml.verbs import VERBS
from tests.support.fake_call import FakeCall
from tests.support.running import START, Stage
from tests.support.tables import SPEC, read_table

pytestmark = pytest.mark.looptime


async def crash(node: nodes.Pause, ctx: Context) -> Outcome:
    raise ZeroDivisionError


def stage_of(row: dict[str, str]) -> Stage:
    stage = Stage(call=FakeCall(answered=row["call"] == "answered"))
    match row["document"]:
        case "(empty body)":
            stage.serve_raw(START, b"")
        case "(failing request)":
            pass
        case "(no XML)":
            stage.serve_raw(START, b"hello")
        case "(crashing verb)":
            stage.verbs = {**VERBS, nodes.Pause: VerbEntry(crash)}
            stage.serve("<Pause/>")
        case content:
            stage.serve(content)
    return stage


@pytest.mark.parametrize("row", read_table(SPEC / "engine.md", "How a call ends"), ids=lambda row: row["row"])
async def test_call_ends_as_the_table_says(row: dict[str, str]) -> None:
    stage = stage_of(row)
    summary = await stage.run()
    assert ", ".join(stage.call.done) == row["done to the call"]
    assert summary.reason == row["reason"]
    assert stage.journal.forgotten == [stage.call.sid]
