"""The interpreter is made fit before the daemon begins."""

import asyncio
import gc
import importlib
import os
import sys
import types
from typing import NoReturn, cast

import pytest

from cxml.calls.registry import CallLimits, Registry
from cxml.daemon import garbage, runtime
from cxml.daemon.build import Daemon
from cxml.daemon.config import Config
from cxml.daemon.run import StartError, rhythm
from cxml.daemon.runtime import (
    COLLECTOR,
    COMPILER,
    COUNT_S,
    IS_PYPY,
    SETTLED,
    WARM_UP_CALLS,
    collector_watched,
    new_event_loop,
    prepare,
)
from cxml.daemon.workers import serve


class AnewError(Exception):
    """Stands for the process that begins anew."""


@pytest.fixture
def compiler(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What PyPy's compiler is told, on a PyPy that is none."""
    told: list[str] = []
    monkeypatch.setattr(runtime, "IS_PYPY", True)
    monkeypatch.setitem(sys.modules, "pypyjit", types.SimpleNamespace(set_param=told.append))
    return told


def test_without_settings_of_the_collector_the_process_begins_anew_with_them(compiler: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[tuple[str, list[str], dict[str, str]]] = []

    def execv(path: str, words: list[str]) -> None:
        begun.append((path, words, {name: os.environ[name] for name in COLLECTOR}))
        raise AnewError

    monkeypatch.delenv("PYPY_GC_INCREMENT_STEP", raising=False)
    monkeypatch.setenv("PYPY_GC_NURSERY", "8M")
    monkeypatch.setattr(os, "execv", execv)
    monkeypatch.setattr(sys, "orig_argv", ["pypy3", "-m", "cxml", "serve"])
    with pytest.raises(AnewError):
        prepare()
    assert begun == [(sys.executable, [sys.executable, "-m", "cxml", "serve"], COLLECTOR | {"PYPY_GC_NURSERY": "8M"})]
    assert compiler == []


def test_settings_that_are_there_are_kept_and_the_compiler_told(compiler: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in COLLECTOR:
        monkeypatch.setenv(name, "8M")
    monkeypatch.setattr(os, "execv", lambda *_: pytest.fail("begun anew"))
    prepare()
    assert (compiler, {os.environ[name] for name in COLLECTOR}) == ([COMPILER], {"8M"})


def test_nothing_is_done_on_cpython(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "IS_PYPY", False)
    monkeypatch.setattr(os, "execv", lambda *_: pytest.fail("begun anew"))
    monkeypatch.delenv("PYPY_GC_NURSERY", raising=False)
    prepare()
    assert "PYPY_GC_NURSERY" not in os.environ


def test_the_loop_is_uvloop_s_where_there_is_one() -> None:
    loop = new_event_loop()
    try:
        assert isinstance(loop, asyncio.AbstractEventLoop)
        assert type(loop).__module__.startswith("cxml.daemon.plain_loop" if IS_PYPY else "uvloop")
    finally:
        loop.close()


def test_pauses_of_pypy_s_collector_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    class Hooks:
        on_gc_minor: object = None
        on_gc_collect_step: object = None

        def reset(self) -> None:
            self.on_gc_minor = self.on_gc_collect_step = None

    hooks, told = Hooks(), []
    monkeypatch.setattr(gc, "hooks", hooks, raising=False)
    with collector_watched(lambda pause_s, objects: told.append((pause_s, objects))):
        assert callable(hooks.on_gc_collect_step)
        hooks.on_gc_collect_step(types.SimpleNamespace(duration=0.002, count=1))
        assert callable(hooks.on_gc_minor)
        hooks.on_gc_minor(types.SimpleNamespace(duration=0.002, count=2))
    assert told == [(0.002, 0), (0.001, 0), (0.001, 0)]
    assert not (hooks.on_gc_minor)
    assert not (hooks.on_gc_collect_step)


@pytest.fixture
def daemon(monkeypatch: pytest.MonkeyPatch) -> Daemon:
    """What of a daemon on PyPy matters here: its calls and where pauses are counted."""
    monkeypatch.setattr(garbage, "IS_PYPY", True)
    monkeypatch.setattr(gc, "hooks", types.SimpleNamespace(reset=lambda: None), raising=False)
    registry = Registry(CallLimits(), lambda: 0.0)
    return cast(Daemon, types.SimpleNamespace(registry=registry, metrics=types.SimpleNamespace(collected=lambda *_: None)))


@pytest.mark.looptime
async def test_the_compiler_settles_once_enough_calls_have_begun(compiler: list[str], daemon: Daemon) -> None:
    async with rhythm(daemon):
        await asyncio.sleep(3600)
        daemon.registry.begun = WARM_UP_CALLS - 1
        await asyncio.sleep(2 * COUNT_S)
        assert compiler == [], "an hour says nothing"
        daemon.registry.begun += 1
        await asyncio.sleep(2 * COUNT_S)
        assert compiler == [SETTLED]
        daemon.registry.begun += WARM_UP_CALLS
        await asyncio.sleep(3600)
    assert compiler == [SETTLED]


@pytest.mark.looptime
async def test_a_daemon_that_has_ended_does_not_settle(compiler: list[str], daemon: Daemon) -> None:
    async with rhythm(daemon):
        await asyncio.sleep(COUNT_S)
    daemon.registry.begun = WARM_UP_CALLS
    await asyncio.sleep(2 * COUNT_S)
    assert compiler == []


async def test_a_parent_of_workers_settles_at_once(compiler: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def no_sockets(*_: object) -> NoReturn:
        raise StartError("no sockets")

    monkeypatch.setattr(serve, "_open", no_sockets)
    with pytest.raises(StartError, match="no sockets"):
        await serve.serve_workers(cast(Config, None))
    assert compiler == [SETTLED]


@pytest.mark.skipif(not IS_PYPY, reason="needs PyPy")
def test_the_compiler_of_this_pypy_knows_our_settings() -> None:
    pypyjit = importlib.import_module("pypyjit")
    try:
        pypyjit.set_param(SETTLED)
        pypyjit.set_param(COMPILER)
    finally:
        pypyjit.set_param("default")


@pytest.mark.skipif(not IS_PYPY, reason="needs PyPy")
def test_pypy_s_own_hooks_tell() -> None:
    told: list[float] = []
    with collector_watched(lambda pause_s, _: told.append(pause_s)):
        gc.collect()
    assert told
    assert all(0 <= pause_s < 60 for pause_s in told)
