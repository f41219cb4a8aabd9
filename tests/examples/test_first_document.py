"""The tutorial, done step by step as it is written; only the ports are others, so that nobody else has them."""

import asyncio
import os
import re
import sys
from asyncio.subprocess import PIPE, STDOUT, Process
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.support.peers import free_port
from tests.support.tree import ROOT

pytestmark = pytest.mark.e2e

LIMIT_S = 30


def read_tutorial() -> str:
    """Return the tutorial with free ports."""
    text = (ROOT / "docs" / "tutorial" / "first-document.md").read_text(encoding="utf-8")
    ports = {"8000": str(free_port()), "5080": str(free_port())}
    return re.sub(r"\b(?:8000|5080)\b", lambda match: ports[match[0]], text)


def command(text: str, name: str) -> list[str]:
    """Return the words of the tutorial's command line that holds *name*, to be run by this Python."""
    line = next(line for line in text.splitlines() if line.startswith("    ") and name in line)
    words = [word.strip("'") for word in line.split() if not re.match(r"[A-Z_]+=", word)]
    module = ["-m", "cxml"] if words[0] == "cxmld" else []
    return [sys.executable, "-u", *module, *words[1:]]


@asynccontextmanager
async def running(words: list[str], folder: Path, ready: bytes, **environment: str) -> AsyncIterator[Process]:
    """Run a command until the block ends; wait until a line with *ready* comes."""
    process = await asyncio.create_subprocess_exec(*words, cwd=folder, stdout=PIPE, stderr=STDOUT, env={**os.environ, **environment})
    assert process.stdout is not None
    try:
        while ready not in (line := await process.stdout.readline()):
            assert line, f"{words} ended with {await process.wait()}"
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def run(words: list[str], folder: Path) -> str:
    """Run a command to its end and return what it printed; it must succeed."""
    process = await asyncio.create_subprocess_exec(*words, cwd=folder, stdout=PIPE, stderr=STDOUT)
    printed, _ = await process.communicate()
    assert process.returncode == 0, printed.decode()
    return printed.decode()


async def test_the_tutorial_leads_to_a_transferred_call(tmp_path: Path) -> None:
    text = read_tutorial()
    voice, after = re.findall(r"```xml\n(.*?)```", text, re.DOTALL)
    (phone,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    for name, content in (("voice.xml", voice), ("after.xml", after), ("phone.py", phone)):
        (tmp_path / name).write_text(content, encoding="utf-8")
    async with asyncio.timeout(LIMIT_S), AsyncExitStack() as stack:
        assert await run(command(text, "cxmld lint voice.xml"), tmp_path) == ""
        assert await run(command(text, "cxmld lint after.xml"), tmp_path) == ""
        web = await stack.enter_async_context(running(command(text, "http.server"), tmp_path, b"Serving HTTP"))
        assert "CXMLD_VOICE__METHOD=GET cxmld serve" in text
        # the free ports are among those that RTP has by default
        settings = {"CXMLD_VOICE__METHOD": "GET", "CXMLD_MEDIA__MODE": "none"}
        await stack.enter_async_context(running(command(text, "cxmld serve"), tmp_path, b"daemon_ready", **settings))
        printed = await run([sys.executable, "phone.py"], tmp_path)
        assert [f"    {line}" for line in printed.splitlines()] == expected_output(text)
        assert web.stdout is not None
        first, second = [urlsplit((await web.stdout.readline()).decode().split()[6]) for _ in range(2)]
    assert (first.path, second.path) == ("/voice.xml", "/after.xml")
    told = {name: values[0] for name, values in parse_qs(second.query).items()}
    promised = dict(re.findall(r"(\w+)=(\w+)", next(line for line in text.splitlines() if line.startswith("    GET /after.xml"))))
    assert promised["CxmldReferOutcome"] == "busy"
    assert {name: told[name] for name in promised} == promised


def expected_output(text: str) -> list[str]:
    """Return the lines that the tutorial says the phone prints."""
    lines = text.partition("`python phone.py` prints\n\n")[2].splitlines()
    return lines[: lines.index("")]
