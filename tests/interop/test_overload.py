"""Three times the configured call rate, by SIPp: each call is taken and its transfer completed, or refused by 503 with Retry-After.

SIPp, the web application and the daemon's metrics have to count the same to the last call. ``SLOW=1`` runs it for a minute, too.
"""

import asyncio
import csv
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support import sipp as sipp_runner
from tests.support.peers import many_rtp_ports
from tests.support.process import Daemon, WebApplication, application, daemon
from tests.support.sipp_steps import (
    at,
    branch,
    hung_up_on,
    invite,
    leap,
    notify,
    optional,
    pause,
    receive,
    refuse_ack,
    request,
    respond,
    scenario,
)

RATE = 20
OFFERED = 60
SHORT_S = 12
LONG_S = 60
LONGEST_CALL_S = 20
SETTLED_S = 40  # longer than 64*T1, the life of a transaction
LIMIT_REASONS = {"max_calls_per_s", "peer_max_calls_per_s", "overload"}
"""Why a call may be refused here. The last one is for machines that have other things to do."""

REFER = "<Response><Refer action='/done'><Sip>sip:target@127.0.0.1:9</Sip></Refer></Response>"
CHECK_WAIT = '<ereg regexp="^ *{seconds}$" search_in="hdr" header="Retry-After:" check_it="true" assign_to="wait"/>'
SHORT_WAIT, LONGER_WAIT, ANY_WAIT = (CHECK_WAIT.format(seconds=text) for text in ("[1-8]", "([1-9]|1[0-5])", "([1-9]|[12][0-9]|30)"))
"""SIPp's call fails when its 503 has no Retry-After like this."""
CONFIG = """
[sip]
listen = ["udp:127.0.0.1:0"]
drain_timeout_s = 20
[http]
listen = "127.0.0.1:0"
[voice]
url = "{url}/voice"
[media]
rtp_ports = "{rtp_ports}"
[limits]
max_calls = 150
max_calls_per_s = {in_all}
[[peers]]
name = "busy"
match = ["127.0.0.1"]
{of_peer}
"""


def caller(transfer_ms: int, retry_after: str = SHORT_WAIT) -> str:
    """Return the scenario of one call: taken, transferred after *transfer_ms* and hung up on, or refused."""
    text = scenario(
        invite(),
        *optional("100", "180"),
        branch("503", "refused", action=retry_after),
        receive("200"),
        request("ACK", 1),
        receive("REFER"),
        respond("202 Accepted"),
        pause(transfer_ms),
        notify(2, "200 OK"),
        '<recv response="200"/>',
        hung_up_on(),
        leap("over"),
        at("refused"),
        refuse_ack(),
        at("over"),
    )
    return text.replace("</scenario>", '<Reference variables="wait"/>\n</scenario>')


@dataclass
class Tally:
    """What SIPp counted in the end."""

    calls: int = 0
    succeeded: int = 0
    failed: int = 0
    sent_again: int = 0
    messages: dict[str, int] = field(default_factory=dict)
    """Received by status or method, without repetitions."""
    screen: str = ""


def last_row(folder: Path, ending: str) -> dict[str, str]:
    """Return the last line of a table that SIPp wrote."""
    (path,) = folder.glob(f"*{ending}")
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream, delimiter=";"))[-1]


def tally(folder: Path, result: sipp_runner.Result) -> Tally:
    """Read SIPp's tables."""
    total, counts = last_row(folder, "stat.csv"), last_row(folder, "_counts.csv")
    received = {name.split("_")[1]: int(value) for name, value in counts.items() if name and name.endswith("_Recv")}
    return Tally(
        int(total["TotalCallCreated"]),
        int(total["SuccessfulCall(C)"]),
        int(total["FailedCall(C)"]),
        int(total["Retransmissions(C)"]),
        received,
        result.output[-6000:],
    )


@asynccontextmanager
async def busy_daemon(folder: Path, *, in_all: int = RATE, of_peer: str = "") -> AsyncIterator[tuple[Daemon, WebApplication]]:
    """Run a daemon as a process that takes *in_all* calls a second."""
    async with application({"/voice": REFER, "/done": "<Response/>"}) as app:
        config = folder / "cxmld.toml"
        config.write_text(CONFIG.format(url=app.url, rtp_ports=many_rtp_ports(), in_all=in_all, of_peer=of_peer))
        async with daemon(config) as process:
            yield process, app


async def offer(process: Daemon, folder: Path, calls: int, text: str, *, rate: int = OFFERED, host: str = sipp_runner.HOST) -> Tally:
    """Offer *calls* from *host*, *rate* a second, and return what became of them."""
    where, _, port = process.sip["udp"].rpartition(":")
    limit_s = calls // rate + LONGEST_CALL_S
    arguments = ["-r", str(rate), "-m", str(calls), "-l", str(calls), "-recv_timeout", str(LONGEST_CALL_S * 1000)]
    arguments += ["-trace_stat", "-stf", str(folder / "stat.csv"), "-trace_counts", "-fd", "1"]
    async with sipp_runner.scenario(
        text, remote=(where, int(port)), arguments=arguments, timeout_s=limit_s + 10, is_traced=False, host=host
    ) as running:
        result = await running.wait(limit_s + 20)
        for path in running.folder.glob("*_counts.csv"):
            (folder / path.name).write_bytes(path.read_bytes())
    result.check()
    return tally(folder, result)


async def samples(process: Daemon) -> dict[str, dict[tuple[str, ...], float]]:
    """Return the metrics by family: values by labels, in the order of their names."""
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families((await process.get("/metrics")).text):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(value for _, value in sorted(sample.labels.items()))] = sample.value
    return found


def by_reason(values: Mapping[tuple[str, ...], float]) -> dict[str, int]:
    """Sum what was shed by its reason; the labels are peer and reason."""
    return {reason: int(value) for (_peer, reason), value in values.items()}


async def check_counts(process: Daemon, app: WebApplication, told: Tally) -> tuple[int, int]:
    """Check that everybody counted the same; return how many calls were taken and how many refused."""
    async with asyncio.timeout(5):
        while (found := await samples(process))["cxmld_calls_active"][()]:
            await asyncio.sleep(0.1)
    taken, refused = told.messages["REFER"], told.messages["503"]
    assert (told.failed, told.succeeded) == (0, told.calls), told.screen
    assert taken + refused == told.calls
    assert sum(found["cxmld_calls_total"].values()) == found["cxmld_calls_total"][("completed",)] == taken
    assert sum(found["cxmld_transfers_total"].values()) == taken
    assert {outcome for _, outcome in found["cxmld_transfers_total"]} == {"transferred"}
    assert sum(found["cxmld_calls_refused_total"].values()) == refused
    assert sum(by_reason(found["cxmld_shed_total"]).values()) == refused
    done = app.of("/done")
    assert [params["CxmldReferOutcome"] for params in done] == ["transferred"] * taken
    assert len({params["SipCallId"] for params in done}) == len(app.of("/voice")) == taken
    return taken, refused


def figures(told: Tally, found: Mapping[str, Mapping[tuple[str, ...], float]]) -> str:
    """Return what both ends counted, for the eyes of a reader."""
    names = ("cxmld_calls_total", "cxmld_calls_refused_total", "cxmld_shed_total", "cxmld_transfers_total")
    lines = [f"{name} {dict(found[name])}" for name in names]
    head = f"SIPp: {told.calls} calls, {told.succeeded} as written, {told.failed} failed, {told.sent_again} sent again, {told.messages}"
    return "\n".join(["", head, *lines])


@pytest.mark.parametrize(
    "seconds",
    [SHORT_S, pytest.param(LONG_S, marks=pytest.mark.skipif("SLOW" not in os.environ, reason="a minute in real time; set SLOW=1"))],
)
@pytest.mark.timeout(180)
async def test_at_three_times_the_rate_each_call_is_transferred_or_gets_503_and_a_time_to_wait(
    sipp: None, tmp_path: Path, seconds: int
) -> None:
    async with busy_daemon(tmp_path) as (process, app):
        before = await settled(process)
        told = await offer(process, tmp_path, OFFERED * seconds, caller(300))
        taken, refused = await check_counts(process, app, told)
        found = await samples(process)
        print(figures(told, found))
        reasons = by_reason(found["cxmld_shed_total"])
        assert set(reasons) <= LIMIT_REASONS
        assert taken <= RATE * (seconds + 2)
        assert "overload" in reasons or taken >= RATE * (seconds - 1)
        assert refused == told.calls - taken
        ready = await process.get("/health/ready")
        assert (ready.status_code, set(ready.json()["shedding"])) == (200, set(reasons))
        lines = [line for line in process.lines if line["event"] == "load_shed"]
        assert len(lines) <= seconds // 10 + 2
        assert [line for line in process.lines if line["level"] in ("error", "critical")] == []
        if seconds == LONG_S:
            assert await settled(process) == before


async def settled(process: Daemon) -> dict[str, float]:
    """Return the gauges of what is held, once the transactions are over."""
    names = ("cxmld_sip_dialogs_open", "cxmld_sip_connections_open", "cxmld_rtp_ports_used", "cxmld_tasks")
    async with asyncio.timeout(SETTLED_S):
        while any((found := await samples(process))["cxmld_sip_transactions_open"].values()):
            await asyncio.sleep(0.5)
    return {name: found[name][()] for name in names}


async def test_the_limits_of_a_peer_are_its_own(sipp: None, tmp_path: Path) -> None:
    own = 'max_calls = 3\nmax_calls_per_s = 10\n[[peers]]\nname = "calm"\nmatch = ["127.0.0.2"]'
    (tmp_path / "calm").mkdir()
    async with busy_daemon(tmp_path, in_all=100, of_peer=own) as (process, app):
        busy, calm = await asyncio.gather(
            offer(process, tmp_path, OFFERED * 5, caller(1000, LONGER_WAIT)),
            offer(process, tmp_path / "calm", 50, caller(100), rate=10, host="127.0.0.2"),
        )
        assert (busy.failed, calm.failed, calm.messages["503"]) == (0, 0, 0), busy.screen + calm.screen
        assert calm.messages["REFER"] == 50
        taken, refused = busy.messages["REFER"], busy.messages["503"]
        assert 3 <= taken <= 18  # three at a time, each a second and a little
        assert taken + refused == busy.calls
        found = await samples(process)
        shed = found["cxmld_shed_total"]
        assert {peer for peer, _ in shed} == {"busy"}
        assert set(by_reason(shed)) <= {"peer_max_calls", "peer_max_calls_per_s", "overload"}
        assert sum(shed.values()) == sum(found["cxmld_calls_refused_total"].values()) == refused
        assert len(app.of("/done")) == taken + 50


async def test_a_shutdown_in_the_middle_of_overload_loses_no_call(sipp: None, tmp_path: Path) -> None:
    seconds, stop_s = 4, 2.0
    async with busy_daemon(tmp_path) as (process, app):
        offering = asyncio.create_task(offer(process, tmp_path, OFFERED * seconds, caller(4000, ANY_WAIT)))
        await asyncio.sleep(stop_s)
        process.signal()
        await process.event("draining")
        ready = await process.get("/health/ready")
        assert (ready.status_code, ready.json()["reasons"]) == (503, ["draining"])
        told = await offering  # the last call was offered before the first transfer of those that were taken was over
        assert await process.exit_status() == 0
        taken, refused = told.messages["REFER"], told.messages["503"]
        assert (told.failed, taken + refused) == (0, told.calls), told.screen
        assert 0 < taken <= RATE * (stop_s + 2)
        assert [params["CxmldReferOutcome"] for params in app.of("/done")] == ["transferred"] * taken
        assert (await process.event("drained"))["calls_ended"] == 0
        assert process.events().count("call_ended") == taken
