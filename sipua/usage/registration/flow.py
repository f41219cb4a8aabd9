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
    """Register anew whenever the connection that the last REGISTER took has closed; runs until it is cancelled."""
    news = asyncio.Event()
    registration.on_move = news.set
    while True:
        channel = registration.channel
        if channel is None or not channel.is_open:
            try:
                channel = await exchanger.channel_for(Request("REGISTER", registrar.text))
            except TransportError:
                await asyncio.sleep(FLOW_RETRY_S)
                continue
        news.clear()
        release = channel.on_close(news.set)
        try:
            await news.wait()
        finally:
            release()
        if channel.is_open:
            continue  # the registration has moved to another server
        log.info("the connection to registrar %s closed", channel.remote)
        registration.refresh()
        await asyncio.sleep(FLOW_RETRY_S)
