"""A hundred transfers that end in every way there is, side by side on a network that loses, repeats and reorders.

Each outcome has to be the one of docs/spec/refer-outcomes.md, each action request has to come exactly once, and nothing may be left.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pytest

from cxml.access.peers import ReferRules
from sipua.message import parse_message
from sipua.transport.memory import Packet
from sipua.usage.call.call import Call
from sipua.usage.call.referred import IncomingTransfer
from sipua.usage.subscription.refer import ReferSettings
from tests.support.pbx import DAEMON, EMPTY, PBX, REFER_DOCUMENT, Application, Stage, refer_after

pytestmark = [pytest.mark.looptime, pytest.mark.slow]

TRANSFERS = 100
NOTIFY_TIMEOUT_S = 40.0
QUIET_S = 300.0  # the transferees' own subscriptions last 180 s

Behave = Callable[[Stage, Call], None]


def answering(*steps: tuple[float, int]) -> Behave:
    return lambda _stage, call: call.on_transfer_request(refer_after(*steps))


def refusing(status: int) -> Behave:
    return lambda _stage, call: call.on_transfer_request(lambda transfer: transfer.reject(status))


def undecided(_stage: Stage, call: Call) -> None:
    call.on_transfer_request(lambda _transfer: None)


def hanging_up(_stage: Stage, call: Call) -> None:
    """Accept, report ringing, and hang up without a result."""

    def handle(transfer: IncomingTransfer) -> None:
        refer_after((1.0, 180))(transfer)
        loop = asyncio.get_running_loop()
        loop.call_later(12.0, lambda: loop.create_task(call.hangup()))

    call.on_transfer_request(handle)


@dataclass(frozen=True)
class Case:
    """What the PBX does, and the parameters that may follow: a tuple where the network decides between two truths."""

    behave: Behave
    kind: str
    status: str | None
    refer_code: str | None
    notify_code: tuple[str | None, ...]
    lost: tuple[str, str] | None = None  # sender and method of what never arrives


CASES = {
    "answered": Case(answering((0.5, 180), (3.0, 200)), "transferred", "in-progress", "202", ("200",)),
    "busy": Case(answering((2.0, 486)), "busy", "busy", "202", ("486",)),
    "given up": Case(answering((0.5, 180), (4.0, 487)), "no_answer", "no-answer", "202", ("487",)),
    "declined": Case(answering((1.0, 603)), "declined", "failed", "202", ("603",)),
    "absent": Case(answering((1.0, 404)), "failed", "failed", "202", ("404",)),
    "no NOTIFY": Case(answering((1.0, 200)), "notify_timeout", None, "202", (None,), (PBX, "NOTIFY")),
    "silence": Case(answering((0.5, 180)), "notify_timeout", "failed", "202", ("180",)),
    "BYE first": Case(hanging_up, "peer_hangup", "canceled", "202", ("180", "100")),
    "refused": Case(refusing(403), "rejected", "failed", "403", (None,)),
    "lost": Case(refusing(481), "call_lost", "failed", "481", (None,)),
    "deaf": Case(undecided, "no_response", "failed", "408", (None,), (DAEMON, "REFER")),
}


def check(case: Case, told: Mapping[str, str]) -> None:
    assert told["CxmldReferOutcome"] == case.kind, told
    assert told.get("ReferCallStatus") == case.status, told
    # rows A10a to A10e: where NOTIFYs prove the acceptance, a lost 2xx is not waited for any longer
    unproven = {None} if case.refer_code == "202" and case.notify_code != (None,) else set()
    assert told.get("ReferSipResponseCode") in {case.refer_code, *unproven}, told
    assert told.get("NotifySipResponseCode") in case.notify_code, told


@pytest.mark.parametrize("seed", [11, 12, 13, 14])
async def test_transfers_of_every_kind_on_a_bad_network_each_report_the_truth_once(seed: int) -> None:
    application = Application({"/voice": REFER_DOCUMENT, "/done": EMPTY})
    names = [list(CASES)[number % len(CASES)] for number in range(TRANSFERS)]
    rules = ReferRules(ReferSettings(notify_timeout_s=NOTIFY_TIMEOUT_S))
    tasks_before = len(asyncio.all_tasks())
    async with Stage(application, loss=0.2, duplicate=0.1, delay=(0.001, 0.3), seed=seed, record=False, rules=rules) as stage:
        stage.network.reorder = 0.1
        lost: set[tuple[str, str, str]] = set()

        def is_to_be_lost(packet: Packet) -> bool:
            method = packet.data.partition(b" ")[0].decode()
            return method in ("NOTIFY", "REFER") and (packet.source[0], method, parse_message(packet.data).call_id) in lost

        stage.network.drop(is_to_be_lost)

        async def one(number: int, case: Case) -> None:
            call = await stage.dial(f"sip:{number}@10.0.0.1")
            if case.lost is not None:
                lost.add((*case.lost, call.id))
            case.behave(stage, call)
            await call.wait_ended()

        async with asyncio.TaskGroup() as group:
            for number, name in enumerate(names):
                group.create_task(one(number, CASES[name]))
        await asyncio.sleep(QUIET_S)
        assert stage.leftovers() == dict.fromkeys(stage.leftovers(), 0)
        done = application.of("/done")
        assert sorted(int(params["SipUser"]) for params in done) == list(range(TRANSFERS))
        for params in done:
            check(CASES[names[int(params["SipUser"])]], params)
    assert len(asyncio.all_tasks()) == tasks_before


HONEST = {"unreachable", "no_response", "notify_timeout", "call_lost", "peer_hangup"}
"""What may be said of a transfer whose connection was cut, besides the truth."""
TRUTH = {200: "transferred", 486: "busy", 603: "declined"}


@pytest.mark.parametrize("seed", [21, 22, 23])
async def test_transfers_over_connections_that_are_cut_are_reported_once_and_never_wrongly(seed: int) -> None:
    application = Application({"/voice": REFER_DOCUMENT, "/done": EMPTY})
    statuses = [list(TRUTH)[number % len(TRUTH)] for number in range(TRANSFERS)]
    rules = ReferRules(ReferSettings(notify_timeout_s=NOTIFY_TIMEOUT_S))
    tasks_before = len(asyncio.all_tasks())
    async with Stage(application, delay=(0.001, 0.05), seed=seed, record=False, rules=rules) as stage:
        stage.network.chunk = (1, 400)

        async def one(number: int, status: int) -> None:
            await asyncio.sleep(number * 0.1)
            call = await stage.pbx.call(f"sip:{number}@10.0.0.1;transport=tcp")
            call.on_transfer_request(refer_after((0.3, 180), (2.0, status)))
            try:
                async with asyncio.timeout(120):
                    await call.wait_ended()
            except TimeoutError:  # the daemon's BYE was on a connection that was cut
                await call.hangup()
                await call.wait_ended()

        async def cut() -> None:
            for _ in range(8):
                await asyncio.sleep(1.7)
                stage.network.reset_streams()

        async with asyncio.TaskGroup() as group:
            group.create_task(cut())
            for number, status in enumerate(statuses):
                group.create_task(one(number, status))
        await asyncio.sleep(QUIET_S)
        assert stage.leftovers() == dict.fromkeys(stage.leftovers(), 0)
        done = application.of("/done")
        users = [int(params["SipUser"]) for params in done]
        assert len(users) == len(set(users))
        # whatever became of a call, the transfer that its document asked for is reported
        assert {int(params["SipUser"]) for params in application.of("/voice")} == set(users)
        told = {int(params["SipUser"]): params["CxmldReferOutcome"] for params in done}
        for number, kind in told.items():
            assert kind in {TRUTH[statuses[number]], *HONEST}
        right = sum(kind == TRUTH[statuses[number]] for number, kind in told.items())
        assert right > TRANSFERS // 2
    assert len(asyncio.all_tasks()) == tasks_before
