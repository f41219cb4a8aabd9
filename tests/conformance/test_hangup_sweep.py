"""A caller may hang up at any moment: a sweep over the whole life of a call, some hundred calls side by side."""

import asyncio

import httpx
import pytest

from cxml.calls.facts import CallStatus
from tests.support.pbx import EMPTY, REFER_DOCUMENT, Application, Stage, refer_after

pytestmark = [pytest.mark.looptime, pytest.mark.slow]

STEP_S = 0.02
CALLS = 350  # 7 s: the webhook, the answer, the settle wait, the REFER, ringing, the result, the action request, the goodbye


class Slow(Application):
    """Takes its time for every page."""

    async def answer(self, request: httpx.Request) -> httpx.Response:
        response = Application.__call__(self, request)
        await asyncio.sleep(0.5)
        return response


@pytest.mark.parametrize(("loss", "seed"), [(0.0, 1), (0.0, 2), (0.15, 3), (0.3, 4)])
async def test_whenever_the_caller_hangs_up_a_begun_transfer_is_reported_once(loss: float, seed: int) -> None:
    application = Slow({"/voice": REFER_DOCUMENT, "/done": EMPTY})
    stage = Stage(application, loss=loss, delay=(0.005, 0.08), seed=seed, record=False)
    stage.application = application.answer  # type: ignore[assignment]  # MockTransport takes an asynchronous handler as well
    tasks_before = len(asyncio.all_tasks())
    async with stage:

        async def one(number: int) -> None:
            call = await stage.pbx.call(f"sip:{number}@10.0.0.1")
            call.on_transfer_request(refer_after((0.4, 180), (4.0, 486)))
            await asyncio.sleep(number * STEP_S)
            await call.hangup()
            await call.wait_ended()

        async with asyncio.TaskGroup() as group:
            for number in range(CALLS):
                group.create_task(one(number))
        await asyncio.sleep(300)
        assert stage.leftovers() == dict.fromkeys(stage.leftovers(), 0)
        done = [int(params["SipUser"]) for params in application.of("/done")]
        assert len(done) == len(set(done))
        statuses = {int(call.sip.invite.request_uri.unescaped_user): call.status for call, _ in stage.observer.ended}
        assert set(statuses.values()) == {CallStatus.CANCELED, CallStatus.COMPLETED}
        # a call that was up had begun its <Refer>; an unanswered one may have
        assert set(done) >= {number for number, status in statuses.items() if status is CallStatus.COMPLETED}
        kinds = {params["CxmldReferOutcome"] for params in application.of("/done")}
        assert kinds <= {"busy", "call_lost", "peer_hangup", "no_response", "rejected"}
        assert {"busy", "peer_hangup"} <= kinds
    assert len(asyncio.all_tasks()) == tasks_before
