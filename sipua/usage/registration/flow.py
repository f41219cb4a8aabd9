"""Watches the connection that a registration came by: calls to us come the same way (RFC 5626 §4.5)."""

import asyncio
import logging

from sipua.errors import TransportError
from sipua.message import Request, Uri
from sipua.transaction.exchange import Exchanger
from sipua.usage.registration.client import Registration

log = logging.getLogger("sipua.registration")

FLOW_RETRY_S = 5.0
"""How long to wait after a lost connection before it is watched again."""


async def keep_flow(exchanger: Exchanger, registration: Registration, registrar: Uri) -> None:
    """Register anew whenever the connection to *registrar* has closed; runs until it is cancelled."""
    while True:
        try:
            channel = await exchanger.channel_for(Request("REGISTER", registrar.text))
        except TransportError:
            await asyncio.sleep(FLOW_RETRY_S)
            continue
        closed = asyncio.Event()
        release = channel.on_close(closed.set)
        try:
            await closed.wait()
        finally:
            release()
        log.info("the connection to registrar %s closed", channel.remote)
        registration.refresh()
        await asyncio.sleep(FLOW_RETRY_S)
