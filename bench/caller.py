"""SIPp as the caller: runs a scenario at a rate and says what became of its calls."""

import csv
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

GRACE_S = 10  # for SIPp to end by itself
_MESSAGE = re.compile(
    r"[^\t]+\t[^\t]+\t(?P<at>[0-9.]+)\t(?P<direction>[SR])\t(?P<call>[0-9]+)-[^\t]*\t"
    r"CSeq: ?(?P<number>[0-9]+) (?P<method>[A-Z]+)\t(?:SIP/2\.0 (?P<status>[0-9]{3}))?[^\t]*"
)
"""A line of SIPp's short log: date, time, seconds, sent or received, ``NUMBER-PID@HOST`` as the Call-ID, CSeq, first line."""
MAX_OPEN_CALLS = 25_000  # SIPp counts a descriptor for each call, used or not


class BenchError(Exception):
    """Something that the bench needs is missing or did not start; the text says what."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where a unit under test is called; *transport* is ``udp``, ``tcp``, or ``tls`` by way of a relay that calls from *contact_port*."""

    host: str
    port: int
    transport: str = "udp"
    service: str = "bench"
    contact_port: int = 0


@dataclass(frozen=True, slots=True)
class Calls:
    """How the calls of one run ended. ``elapsed_s`` is from the first to the last."""

    attempted: int
    completed: int
    failed: int
    retransmissions: int
    elapsed_s: float

    @property
    def is_clean(self) -> bool:
        """True when every call was transferred and hung up by the unit, with at most one message in twenty calls sent again."""
        return self.failed == 0 and self.completed == self.attempted and self.retransmissions * 20 <= self.attempted

    @property
    def problem(self) -> str:
        """What kept the run from being clean, ``""`` when it was."""
        if self.is_clean:
            return ""
        lost = max(self.failed, self.attempted - self.completed)
        if lost:
            return f"{lost} of {self.attempted} calls were not transferred"
        return f"{self.retransmissions} messages of {self.attempted} calls had to be sent again"

    @property
    def rate(self) -> float:
        """Completed transfers a second."""
        return self.completed / self.elapsed_s if self.elapsed_s else 0.0


def command(target: Target | None, port: int, core: int) -> list[str]:
    """Return the command line that every run of SIPp has: with *target* it calls, without it waits at *port*."""
    words = ["taskset", "-c", str(core), "sipp", "-sf", "scenario.xml", "-i", "127.0.0.1", "-p", str(port), "-nostdin"]
    words += ["-mp", str(port + 2), "-trace_err", "-error_file", "errors.log", "-trace_stat", "-stf", "stat.csv", "-fd", "1"]
    if target is not None:
        words += ["-t", "u1" if target.transport == "udp" else "t1", "-s", target.service, f"{target.host}:{target.port}"]
    return words


def written(folder: Path, scenario: str, target: Target) -> None:
    """Write the scenario as it is for *target*: by a relay the caller speaks TLS, from the port of the relay."""
    if target.transport == "tls":
        scenario = scenario.replace("[transport]", "TLS").replace("[local_port]", str(target.contact_port))
    (folder / "scenario.xml").write_text(scenario, encoding="utf-8")


def call(
    folder: Path, scenario: str, target: Target, *, rate: int, calls: int, port: int, core: int, logged: bool = False, patience_s: int = 20
) -> Calls:
    """Make *calls* calls at *rate* a second and return how they ended; one that waits *patience_s* for a message fails.

    *folder* keeps SIPp's files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written(folder, scenario, target)
    seconds = calls / rate + 2 * patience_s
    words = command(target, port, core)
    words += [
        "-r",
        str(rate),
        "-m",
        str(calls),
        "-l",
        str(min(calls, MAX_OPEN_CALLS)),
        "-recv_timeout",
        str(patience_s * 1000),
        "-timeout",
        f"{int(seconds)}s",
    ]
    if logged:
        words += ["-trace_shortmsg", "-shortmessage_file", "steps.log"]
    with (folder / "output.txt").open("w", encoding="utf-8") as output:
        subprocess.run(words, cwd=folder, stdout=output, stderr=subprocess.STDOUT, timeout=seconds + GRACE_S, check=False)
    return read_statistics(folder / "stat.csv")


def read_statistics(path: Path) -> Calls:
    """Return the cumulative figures of the last line that SIPp wrote."""
    if not path.exists():
        raise BenchError(f"SIPp wrote no statistics: see {path.with_name('output.txt')}")
    with path.open(encoding="utf-8", errors="replace", newline="") as file:
        rows = list(csv.DictReader(file, delimiter=";"))
    if not rows:
        raise BenchError(f"{path} is empty")
    last = rows[-1]
    return Calls(
        attempted=int(last["TotalCallCreated"]),
        completed=int(last["SuccessfulCall(C)"]),
        failed=int(last["FailedCall(C)"]),
        retransmissions=int(last["Retransmissions(C)"]),
        elapsed_s=_seconds(last["ElapsedTime(C)"]),
    )


def _seconds(text: str) -> float:
    """``00:00:10:123456`` or ``00:00:10`` to seconds."""
    parts = text.split(":")
    hours, minutes, seconds = (int(part) for part in parts[:3])
    fraction = int(parts[3]) / 10 ** len(parts[3]) if len(parts) > 3 else 0.0
    return hours * 3600 + minutes * 60 + seconds + fraction


def read_steps(path: Path) -> dict[str, dict[int, float]]:
    """Return when SIPp sent (``S INVITE 1``, method and CSeq) and got (``R INVITE 200``) messages, seconds by caller's number.

    The first of several that are alike counts. SIPp reads the clock right after it has sent, or read, a message.
    """
    steps: dict[str, dict[int, float]] = {}
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        if (found := _MESSAGE.fullmatch(line)) is not None:
            name = f"{found['direction']} {found['method']} {found['status'] or found['number']}"
            steps.setdefault(name, {}).setdefault(int(found["call"]), float(found["at"]))
    return steps


def percentile(values: list[float], percent: int) -> float:
    """Return the *percent* percentile by nearest rank, 0 for no values."""
    if not values:
        return 0.0
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, -(-len(ordered) * percent // 100) - 1))]
