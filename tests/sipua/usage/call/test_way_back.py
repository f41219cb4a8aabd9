"""An INVITE whose dialog could carry no request of ours is refused at once (docs/spec/dialog.md, "The way back")."""

import pytest

from tests.support.raw_peer import OFFER, RawDialog, raw_stage, tag_of
from tests.support.tables import SPEC, read_table

pytestmark = pytest.mark.looptime


@pytest.mark.parametrize("row", read_table(SPEC / "dialog.md", "The way back"), ids=lambda row: f"{row['Contact']}-{row['Record-Route']}")
async def test_every_row_of_the_way_back_holds(row: dict[str, str]) -> None:
    route = "" if row["Record-Route"] == "–" else row["Record-Route"]
    async with raw_stage() as stage:
        stage.peer.send(stage.peer.new("INVITE", ("Contact", row["Contact"]), ("Record-Route", route), body=OFFER))
        if row["Answer"] == "OK":
            await (await stage.calls.get()).reject(486)
            await stage.peer.response("486 INVITE", 0.1)
        else:
            assert tag_of(await stage.peer.response(f"{row['Answer']} INVITE", 0.1))
            assert stage.calls.empty()
        await stage.still_serves()


async def test_contact_whose_name_has_no_address_costs_only_the_call() -> None:
    async with raw_stage() as stage:
        stage.peer.send(stage.peer.new("INVITE", ("Contact", "<sip:x@nowhere.invalid>"), body=OFFER))
        call = await stage.calls.get()
        answering = stage.soon(call.answer())
        ok = await stage.peer.response("200 INVITE")
        RawDialog.as_caller(stage.peer, stage.peer.new("INVITE"), ok).ack(1)
        await answering
        await call.hangup()
        await call.wait_ended()
        await stage.still_serves()
