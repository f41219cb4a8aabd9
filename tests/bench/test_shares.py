"""Shares of a core: what is written into the control groups, and that the kernel keeps to it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench.shares import PERIOD_US, Share

SPIN = "import time; begun = time.monotonic()\nwhile time.monotonic() - begun < 1: pass\nprint(time.process_time())"


def folder(path: Path, **files: str) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (path / name.replace("__", ".")).write_text(text)
    return path


def test_version_one_has_a_folder_for_the_controller(tmp_path: Path) -> None:
    home = folder(tmp_path / "cpu", cgroup__procs="")
    share = Share.of_a_core("one", 0.25, tmp_path)
    assert share.folder == home / "one"
    assert (share.folder / "cpu.cfs_period_us").read_text() == str(PERIOD_US)
    assert (share.folder / "cpu.cfs_quota_us").read_text() == str(PERIOD_US // 4)
    share.take([4711])
    assert (share.folder / "cgroup.procs").read_text() == "4711"


def test_version_two_has_one_tree(tmp_path: Path) -> None:
    folder(tmp_path, cgroup__subtree_control="cpuset cpu memory\n")
    share = Share.of_a_core("one", 0.5, tmp_path)
    assert share.folder == tmp_path / "one"
    assert (share.folder / "cpu.max").read_text() == f"{PERIOD_US // 2} {PERIOD_US}"


@pytest.mark.parametrize("control", ["cpuset memory\n", None])
def test_without_the_controller_it_says_so(tmp_path: Path, control: str | None) -> None:
    if control is not None:
        folder(tmp_path, cgroup__subtree_control=control)
    assert Share.missing(tmp_path).startswith("no shares of a core here: ")
    with pytest.raises(OSError, match=r"controller cpu|No such file"):
        Share.of_a_core("one", 0.5, tmp_path)


@pytest.mark.skipif(bool(Share.missing()), reason="no control groups for us here")
def test_the_kernel_keeps_to_the_share() -> None:
    share = Share.of_a_core(f"cxmld-test-{os.getpid()}", 0.3)
    try:
        with subprocess.Popen([sys.executable, "-c", SPIN], stdout=subprocess.PIPE, text=True) as process:
            share.take([process.pid])
            used_s = float(process.communicate(timeout=30)[0])
    finally:
        share.end()
    assert used_s < 0.8  # of a second that it was eager to use, some of it before it was taken
    assert not share.folder.exists()
