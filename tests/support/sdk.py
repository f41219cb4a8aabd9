"""Documents as the official SDKs write them. Each script is what an application would contain, and prints its document."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

from tests.support.node import NodeError, missing_node, package_folder, run_script
from tests.support.signalwire_venv import InstallError, signalwire_python

RUN_LIMIT_S = 60

Generate = Callable[[str], bytes]
"""Script -> the document that it prints."""


def generator(sdk: str) -> Generate:
    """Return what runs scripts that use *sdk*: ``twilio``, ``signalwire`` (Python) or ``node``.

    Skips the calling test when the SDK can't be had; with ``CI=true`` fails it, unless there is no Node at all.
    """
    match sdk:
        case "twilio":
            pytest.importorskip("twilio")
            return lambda script: _python(Path(sys.executable), script)
        case "signalwire":
            try:
                python = signalwire_python()
            except InstallError as error:
                _missing(str(error))
            return lambda script: _python(python, script)
        case "node":
            if why := missing_node():
                pytest.skip(why)
            try:
                folder = package_folder()
            except NodeError as error:
                _missing(str(error))
            return lambda script: run_script(script, folder).strip().encode()
        case _:
            raise LookupError(f"unknown SDK {sdk!r}")


def _python(python: Path, script: str) -> bytes:
    done = subprocess.run([str(python), "-c", script], capture_output=True, timeout=RUN_LIMIT_S, check=True)
    return done.stdout.strip()


def _missing(why: str) -> NoReturn:
    if os.environ.get("CI") == "true":
        pytest.fail(why, pytrace=False)
    pytest.skip(why)
