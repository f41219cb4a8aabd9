"""What a call that shutdown ends still does: its action request leaves within the grace, whatever the PBX owes us."""

import asyncio

import httpx
import pytest

from cxml.daemon.config import Config, Peer, Refer, Voice, Webhook
from cxml.daemon.run import end_grace_s
from tests.support.pbx import EMPTY, REFER_DOCUMENT, Application, Stage
from tests.support.raw_peer import OFFER, RawDialog, RawPeer

pytestmark = pytest.mark.looptime

DEVICE = "10.0.0.7"


def test_the_grace_has_room_for_the_outcome_and_the_action_request() -> None:
    assert end_grace_s(Config()) == 5.0 + 2.0 + 15.0 + 1.0
    assert end_grace_s(Config(webhook=Webhook(total_timeout_s=40.0))) == 5.0 + 2.0 + 40.0 + 1.0
    assert end_grace_s(Config(refer=Refer(bye_grace_s=8.0))) == 5.0 + 8.0 + 15.0 + 1.0
    assert end_grace_s(Config(peers=(Peer(name="a", match=("10.0.0.1",), bye_grace_s=32.0),))) == 5.0 + 32.0 + 15.0 + 1.0
    with_fallback = Config(voice=Voice(url="http://app/", fallback_url="http://app/fallback"))
    assert end_grace_s(with_fallback) == 5.0 + 2.0 + 2 * 15.0 + 1.0


@pytest.mark.parametrize(
    ("step", "outcome", "status"),
    [
        ("no ack", "call_lost", "failed"),
        ("refer unanswered", "local_hangup", "failed"),
        ("refer unanswered, notified", "local_hangup", "canceled"),
        ("refer answered", "local_hangup", "canceled"),
    ],
)
async def test_the_action_of_a_call_that_shutdown_ends_is_sent_to_a_slow_application(step: str, outcome: str, status: str) -> None:
    application = Application({"/voice": REFER_DOCUMENT, "/done": EMPTY})

    async def serve(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/done":
            await asyncio.sleep(12.0)
        return application(request)

    stage = Stage(application)
    stage.application = serve  # type: ignore[assignment]  # MockTransport takes an asynchronous handler as well
    async with stage:
        peer = RawPeer(stage.network, DEVICE)
        await peer.open()
        invite = peer.new("INVITE", body=OFFER)
        peer.send(invite)
        answer = await peer.response("200 INVITE")
        dialog = RawDialog.as_caller(peer, invite, answer)
        peer.answers["BYE"] = 200
        if step != "no ack":
            dialog.ack(invite.cseq.number)
            refer = await peer.request("REFER")
            if step == "refer answered":
                peer.reply(refer, 202)
            if step.endswith("notified"):
                dialog.notify(100, "active;expires=60")
            await asyncio.sleep(0.1)
        assert await stage.registry.drain(0, end_grace_s(Config())) == 1
        (told,) = application.of("/done")
        assert (told["CxmldReferOutcome"], told["ReferCallStatus"]) == (outcome, status)
        await stage.daemon.aclose()
        await peer.aclose()
