"""Fixtures of the webhook tests."""

import asyncio
import os
from functools import partial

import pytest

from tests.support.signalwire_venv import InstallError, Verify, signalwire_python, verify_with

# Without a loop set, asyncio makes one for whoever asks outside a running loop, and nobody closes it.
asyncio.set_event_loop(None)


@pytest.fixture(scope="session")
def signalwire_validates() -> Verify:
    """The request validator of SignalWire, in an environment of its own; in CI it must be there."""
    try:
        python = signalwire_python()
    except InstallError as exc:
        if os.environ.get("CI") == "true":
            pytest.fail(str(exc))
        pytest.skip(str(exc))
    return partial(verify_with, python)
