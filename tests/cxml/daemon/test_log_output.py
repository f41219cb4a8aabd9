"""A reader that stops reading the log holds up nobody: lines wait, then are dropped, counted and told."""

import asyncio
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cxml.daemon import log_output
from cxml.daemon.log_output import DescriptorOutput

LINE = "x" * 99
ROOM = 10_000


def notice(count: int) -> str:
    return f"dropped {count}"


@pytest.fixture(params=["pipe", "pipe of another user", "socket"])
def ends(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[int, int]]:
    """The reader's and the writer's descriptor."""
    if request.param == "socket":
        left, right = socket.socketpair()
        with left, right:
            left.setblocking(False)
            yield left.fileno(), right.fileno()
        return
    if request.param == "pipe of another user":
        monkeypatch.setattr(log_output, "_OPEN_FILES", "/nowhere")
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    yield reader, writer
    os.close(reader)
    os.close(writer)


def read_all(reader: int) -> str:
    found = b""
    while True:
        try:
            piece = os.read(reader, 65536)
        except BlockingIOError:
            return found.decode()
        if not piece:
            return found.decode()
        found += piece


def fill(output: DescriptorOutput) -> int:
    """Write numbered lines until some are dropped; return how many."""
    number = 0
    while output.dropped < 5:
        output.write(f"{number} {LINE}")
        number += 1
        assert number < 100_000
    return number


def test_a_line_is_written_at_once(ends: tuple[int, int]) -> None:
    output = DescriptorOutput(ends[1], notice)
    output.write("grüße \ud800")
    assert read_all(ends[0]) == "grüße \\ud800\n"
    output.close()


def test_lines_wait_are_dropped_and_told_in_their_order(ends: tuple[int, int]) -> None:
    output = DescriptorOutput(ends[1], notice, max_waiting_bytes=ROOM)
    written = fill(output)
    assert ROOM - 200 < output.waiting_bytes <= ROOM + 200
    text = ""
    for _ in range(20):
        text += read_all(ends[0])
        output._retry()
    output.write("later")
    text += read_all(ends[0])
    lines = text.splitlines()
    kept = written - output.dropped
    assert lines[:kept] == [f"{number} {LINE}" for number in range(kept)]
    assert lines[kept:] == [f"dropped {output.dropped}", "later"]
    assert output.waiting_bytes == 0
    output.close()


@pytest.mark.timeout(10)
def test_a_line_that_is_written_while_the_notice_is_made_holds_nothing_up(ends: tuple[int, int]) -> None:
    reader, writer = ends

    def notice_with_a_line(count: int) -> str:
        output.write("from an object that has just gone")
        return notice(count)

    output = DescriptorOutput(writer, notice_with_a_line, max_waiting_bytes=100)
    fill(output)
    for _ in range(50):
        output.write("lost" * 10)
    read_all(reader)
    output.write("last")
    assert output.dropped > 0


async def test_the_loop_offers_again_by_itself(ends: tuple[int, int]) -> None:
    output = DescriptorOutput(ends[1], notice, max_waiting_bytes=ROOM)
    written = fill(output)
    text = ""
    for _ in range(100):
        text += read_all(ends[0])
        if f"dropped {output.dropped}" in text:
            break
        await asyncio.sleep(log_output.RETRY_S)
    assert text.count("\n") == written - output.dropped + 1
    output.close()


def test_the_last_lines_are_offered_when_the_process_ends(ends: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    output = DescriptorOutput(ends[1], notice, max_waiting_bytes=ROOM)
    fill(output)
    read_all(ends[0])
    output.close()
    assert f"dropped {output.dropped}" in read_all(ends[0])
    output.write("after the end")
    assert read_all(ends[0]) == ""


def test_a_reader_that_reads_nothing_holds_up_the_end_for_a_moment_only(ends: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_output, "LAST_LINES_S", 0.05)
    output = DescriptorOutput(ends[1], notice, max_waiting_bytes=ROOM)
    fill(output)
    output.close()
    assert output.waiting_bytes > 0


def test_a_reader_that_has_gone_costs_lines_and_nothing_else() -> None:
    reader, writer = os.pipe()
    output = DescriptorOutput(writer, notice)
    os.close(reader)
    for _ in range(3):
        output.write(LINE)
    assert (output.dropped, output.waiting_bytes) == (3, 0)
    output.close()
    os.close(writer)


def test_the_flags_of_the_shared_descriptor_stay(ends: tuple[int, int]) -> None:
    output = DescriptorOutput(ends[1], notice)
    assert os.get_blocking(ends[1])
    output.close()
    assert os.get_blocking(ends[1])


def test_a_file_gets_all_lines(tmp_path: Path) -> None:
    with (tmp_path / "log").open("w") as stream:
        output = DescriptorOutput(stream.fileno(), notice, max_waiting_bytes=0)
        for number in range(100):
            output.write(f"{number} {LINE}")
        output.close()
    assert (tmp_path / "log").read_text() == "".join(f"{number} {LINE}\n" for number in range(100))


@pytest.mark.parametrize("make", [asyncio.new_event_loop])
def test_a_second_loop_offers_again_after_the_first_has_gone(make: Callable[[], asyncio.AbstractEventLoop]) -> None:
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    output = DescriptorOutput(writer, notice, max_waiting_bytes=ROOM)

    async def stall() -> None:
        fill(output)

    async def recover() -> str:
        output.write("wakes the second loop")
        text = ""
        for _ in range(100):
            text += read_all(reader)
            if "dropped" in text:
                break
            await asyncio.sleep(log_output.RETRY_S)
        return text

    asyncio.run(stall())
    assert f"dropped {output.dropped + 1}" in asyncio.run(recover())
    output.close()
    os.close(reader)
    os.close(writer)
