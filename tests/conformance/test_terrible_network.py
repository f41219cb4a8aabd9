"""A hundred transfers over a network that loses a fifth of all datagrams, repeats a tenth and reorders the rest.

Every outcome has to be right, every action request has to come exactly once, and nothing may be left behind.
"""

import asyncio

import pytest

from sipua.usage.call.referred import IncomingTransfer
from tests.support.pbx import EMPTY, REFER_DOCUMENT, Application, Stage, refer_after

pytestmark = [pytest.mark.looptime, pytest.mark.slow]

OUTCOMES = {
    200: ("transferred", "in-progress"),
    486: ("busy", "busy"),
    487: ("no_answer", "no-answer"),
    603: ("declined", "failed"),
    503: ("failed", "failed"),
}
TRANSFERS = 100
QUIET_S = 70.0  # longer than 64*T1: every transaction and dialog must be gone


async def _one(stage: Stage, status: int, number: int) -> None:
    call = await stage.dial(f"sip:{number}@10.0.0.1")
    call.on_transfer_request(refer_after((0.3, 180), (2.0 + number % 7, status)))
    await call.wait_ended()


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_hundred_transfers_on_a_terrible_network_each_report_the_truth_once(seed: int) -> None:
    application = Application({"/voice": REFER_DOCUMENT, "/done": EMPTY})
    tasks_before = len(asyncio.all_tasks())
    async with Stage(application, loss=0.2, duplicate=0.1, delay=(0.001, 0.4), seed=seed, record=False) as stage:
        wanted = [list(OUTCOMES)[number % len(OUTCOMES)] for number in range(TRANSFERS)]
        async with asyncio.TaskGroup() as group:
            for number, status in enumerate(wanted):
                group.create_task(_one(stage, status, number))
        await asyncio.sleep(QUIET_S)
        assert stage.leftovers() == dict.fromkeys(stage.leftovers(), 0)
        assert stage.observer.refused == []

        by_user = {params["SipUser"]: params for params in application.of("/done")}
        assert len(application.of("/done")) == len(by_user) == TRANSFERS
        assert len(application.of("/voice")) == TRANSFERS
        for number, status in enumerate(wanted):
            params = by_user[str(number)]
            outcome, word = OUTCOMES[status]
            assert params["CxmldReferOutcome"] == outcome, params
            assert params["ReferCallStatus"] == word
            assert params["NotifySipResponseCode"] == str(status)
    assert len(asyncio.all_tasks()) == tasks_before


async def _hung_up(stage: Stage, number: int) -> None:
    """A call whose BYE is followed at once by the NOTIFY of its transfer: whichever copies are lost decide which one comes first."""
    call = await stage.dial(f"sip:{number}@10.0.0.1")

    def handle(transfer: IncomingTransfer) -> None:
        transfer.accept()
        stage.pbx.core.tasks.spawn(end(transfer), name="the end")

    async def end(transfer: IncomingTransfer) -> None:
        await asyncio.sleep(1.0 + number % 7)
        await call.hangup()
        await asyncio.sleep(0.0)  # BYE leaves first
        transfer.finish(486)

    call.on_transfer_request(handle)
    await call.wait_ended()


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_call_that_is_hung_up_on_a_terrible_network_ends_though_its_document_would_go_on(seed: int) -> None:
    application = Application({"/voice": REFER_DOCUMENT, "/done": '<Response><Pause length="3600"/></Response>'})
    async with Stage(application, loss=0.2, duplicate=0.1, delay=(0.001, 0.4), seed=seed, record=False) as stage:
        async with asyncio.TaskGroup() as group:
            for number in range(TRANSFERS):
                group.create_task(_hung_up(stage, number))
        await asyncio.sleep(QUIET_S)
        assert stage.leftovers() == dict.fromkeys(stage.leftovers(), 0)
        assert len(stage.reasons) == TRANSFERS
