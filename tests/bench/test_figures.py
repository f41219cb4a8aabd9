"""The figures of the bench: what is read from SIPp, from the kernel and from the web application, and how it is shown."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from bench import measure, ports, report, scenario
from bench.caller import BenchError, Calls, percentile, read_statistics, read_steps
from bench.processes import family, usage
from bench.rows import Row, Run
from bench.suite import action_ms
from bench.webhook import FIRST, THEN, Application

STATISTICS = "StartTime;TotalCallCreated;SuccessfulCall(C);FailedCall(C);Retransmissions(C);ElapsedTime(C);\n"


def test_the_last_line_of_sipps_statistics_counts(tmp_path: Path) -> None:
    path = tmp_path / "stat.csv"
    path.write_text(STATISTICS + "x;10;8;0;0;00:00:01:000000;\nx;200;198;2;7;00:01:10:500000;\n")
    calls = read_statistics(path)
    assert calls == Calls(200, 198, 2, 7, 70.5)
    assert not calls.is_clean
    assert calls.rate == pytest.approx(198 / 70.5)


@pytest.mark.parametrize("text", [None, STATISTICS])
def test_a_sipp_that_did_not_run_is_told(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "stat.csv"
    if text is not None:
        path.write_text(text)
    with pytest.raises(BenchError):
        read_statistics(path)


@pytest.mark.parametrize(
    ("calls", "problem"),
    [
        (Calls(100, 100, 0, 5, 1.0), ""),
        (Calls(100, 100, 0, 6, 1.0), "6 messages of 100 calls had to be sent again"),
        (Calls(100, 99, 0, 0, 1.0), "1 of 100 calls were not transferred"),
        (Calls(100, 99, 1, 0, 1.0), "1 of 100 calls were not transferred"),
    ],
)
def test_a_clean_run_has_every_transfer_and_few_repetitions(calls: Calls, problem: str) -> None:
    assert calls.is_clean is (problem == "")
    assert calls.problem == problem


def test_percentiles_are_by_nearest_rank() -> None:
    values = [float(number) for number in range(100, 0, -1)]
    assert [percentile(values, percent) for percent in (50, 99, 100)] == [50.0, 99.0, 100.0]
    assert (percentile([7.0], 99), percentile([], 50)) == (7.0, 0.0)


def line(at: str, direction: str, number: int, cseq: str, first: str) -> str:
    """One line of SIPp's short log."""
    return f"2026-11-26\t14:27:44.553190\t{at}\t{direction}\t{number}-11976@127.0.0.1\tCSeq:{cseq}\t{first}\n"


def test_a_final_notify_is_paired_with_the_action_request_that_follows_it(tmp_path: Path) -> None:
    """Numbers of callers come again in each run: only an arrival shortly after the NOTIFY is its own."""
    steps, arrivals = tmp_path / "steps.log", tmp_path / "arrivals.txt"
    steps.write_text(
        line("100.000000", "S", 1, "1 INVITE", "INVITE sip:a@b SIP/2.0")
        + line("100.250000", "R", 1, "1 INVITE", "SIP/2.0 200 OK")
        + line("100.400000", "S", 1, "2 NOTIFY", "NOTIFY sip:a@b SIP/2.0")
        + line("100.500000", "S", 1, "3 NOTIFY", "NOTIFY sip:a@b SIP/2.0")
        + line("100.900000", "S", 1, "3 NOTIFY", "NOTIFY sip:a@b SIP/2.0")
        + line("101.000000", "S", 2, "3 NOTIFY", "NOTIFY sip:a@b SIP/2.0")
        + "cut off in the mid\n\t\t\t\t\t\t\n"
    )
    arrivals.write_text("1 90.000000\n1 100.502000\n1 105.502000\n2 101.004000\n2 140.000000\n")
    assert read_steps(steps) == {
        "S INVITE 1": {1: 100.0},
        "R INVITE 200": {1: 100.25},
        "S NOTIFY 2": {1: 100.4},
        "S NOTIFY 3": {1: 100.5, 2: 101.0},
    }
    assert action_ms(steps, arrivals) == {50: pytest.approx(2.0), 99: pytest.approx(4.0)}
    arrivals.write_text("")
    with pytest.raises(BenchError):
        action_ms(steps, arrivals)


def test_the_usage_of_a_process_counts_its_children() -> None:
    script = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'x = bytearray(40 << 20); input()'])"
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE) as process:
        while len(family(process.pid)) < 2 or usage(process.pid).rss_bytes < 40 << 20:
            assert process.poll() is None
        assert usage(process.pid).descriptors >= 6
        process.communicate(b"\n")
    assert usage(process.pid).cpu_s == 0.0
    assert os.getpid() in family(os.getpid())


def rows() -> list[Row]:
    ours = Row("ours", "full", cpu_ms={100: 2.0}, sustained=[300, 280, 310], answer_ms={100: {50: 1.0, 99: 3.0}}, foreign=0.2)
    ours.action_ms, ours.kib_per_dialog = {100: {50: 0.25, 99: 0.5}}, {1000: 7.25, 5000: 6.0}
    other = Row("other", "SIP", cpu_ms={100: 3.0}, notes=["400/s: 7 of 9 calls were not transferred"])
    return [ours, other, Row("absent", "SIP", missing="not installed")]


def test_the_tables_have_a_row_for_each_unit_and_ratios_to_the_first() -> None:
    text = report.tables(Run({"cores": "2"}, {"rates": [100, 400]}, rows()))
    assert "| ours | full | 2.000 | – | 300 | – |" in text
    assert "| absent | not installed | " in text
    assert "- other: 1.50 at 100/s" in text
    assert "| ours | 1.00 / 3.00 | – |" in text
    assert "| ours | 0.25 / 0.50 | – |" in text
    assert "| ours | 7.2 | 6.0 |" in text
    assert "other: 400/s: 7 of 9 calls" in text
    assert "ours: others took up to 20% of its core" in text
    tables = [line.count("|") for line in text.splitlines() if line.startswith("|")]
    assert sorted(set(tables)) == [3 + 1, 6 + 1]


def test_a_run_is_kept_as_it_was(tmp_path: Path) -> None:
    run = Run({"cores": "2"}, {"rates": [100]}, rows())
    run.save(tmp_path / "results" / "run.json")
    assert Run.load(tmp_path / "results" / "run.json") == run


def test_medians_are_of_the_tries_and_half_of_them_are_none() -> None:
    row = Row("ours", "full", cpu_all_ms={100: [3.0, 1.0, 2.0], 400: [1.0]})
    row.answer_all_ms = {100: [{50: 1.0, 99: 9.0}, {50: 2.0, 99: 3.0}, {50: 3.0, 99: 6.0}]}
    row.take_medians(3)
    assert row.cpu_ms == {100: 2.0}
    assert row.answer_ms == {100: {50: 2.0, 99: 6.0}}


def test_the_scenario_has_every_step_of_a_transfer() -> None:
    text = scenario.transfer()
    wanted = [
        "INVITE sip",
        'response="200"',
        "ACK [next_url]",
        'request="REFER"',
        "202 Accepted",
        "100 Trying",
        "SIP/2.0 200 OK",
        'request="BYE"',
    ]
    places = [text.index(step) for step in wanted]
    assert places[0] == min(places)
    assert f"CSeq: {scenario.FINAL_NOTIFY} NOTIFY" in text


def test_the_web_application_answers_requests_that_come_in_pieces() -> None:
    class Written:
        def __init__(self) -> None:
            self.data = b""

        def write(self, data: bytes) -> None:
            self.data += data

    arrivals: list[tuple[int, float]] = []
    application, written = Application(arrivals), Written()
    application.connection_made(written)  # type: ignore[arg-type]  # only write is used
    form = b"From=sip%3Acall42%40127.0.0.1&To=x"
    first = b"POST /voice HTTP/1.1\r\nContent-Length: %d\r\n\r\n%s" % (len(form), form)
    second = first.replace(b"/voice", b"/done")
    for octet in first + second:
        application.data_received(bytes([octet]))
    assert written.data == FIRST + THEN
    assert [number for number, _ in arrivals] == [42]


def test_two_runs_at_a_time_have_ports_of_their_own() -> None:
    with ports.reserved() as one, ports.reserved() as other:
        assert one != other
        assert {one % ports.BLOCK, other % ports.BLOCK} == {0}
    with ports.reserved() as again:
        assert again <= max(one, other)


def test_scaling_is_told_of_units_with_the_same_share() -> None:
    rows = [
        Row("whole", "full", sustained=[900]),
        Row("half", "full", sustained=[300, 320, 310], share=0.45),
        Row("both", "full", sustained=[589], workers=2, share=0.45),
        Row("others", "full", sustained=[500], workers=2, share=0.25),
        Row("failed", "full", workers=3, share=0.45),
        Row("too slow", "full", sustained=[0], share=0.25),
    ]
    assert report.scaling(rows) == "- 2 workers, 45% of a core each, sustain 1.90 times what one process sustains on 45%\n"
    assert report.scaling(rows[:2]) == ""


class Held:
    """What the search for the sustained rate asks of a bench: *limit* calls a second are held."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.tried: list[int] = []

    def call(self, _name: str, _unit: object, rate: int, calls: int, *, patience_s: int) -> Calls:
        self.tried.append(rate)
        return Calls(calls, calls if rate <= self.limit else 0, 0, 0, calls / rate)


@pytest.mark.parametrize("precision", [1.1, 1.03, 1.0])
@pytest.mark.parametrize("limit", [26, 27, 100, 333, 400, 1899, 5000])
def test_the_sustained_rate_is_found_to_within_the_precision(limit: int, precision: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "SETTLE_S", 0)
    held, unit = Held(limit), SimpleNamespace(precision=precision)
    found = measure.sustained(held, unit, 4, 400, 1900)  # type: ignore[arg-type]  # what it uses of them
    assert found <= limit
    assert found == 1900 or limit < max(found * precision, found + 1) + 1
    assert len(held.tried) == len(set(held.tried))


def test_nothing_is_sustained_where_a_sixteenth_of_the_guess_is_too_much(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "SETTLE_S", 0)
    assert measure.sustained(Held(5), SimpleNamespace(precision=1.1), 4, 400, 1900) == 0  # type: ignore[arg-type]  # the same
