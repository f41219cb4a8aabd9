"""The registrations of a user agent and the connections that they need."""

import asyncio
from collections.abc import Callable

from sipua.auth import Authenticator
from sipua.dialog.layer import DialogLayer
from sipua.driver import TaskSet
from sipua.errors import printable
from sipua.message import Request, Uri
from sipua.transport.base import Channel
from sipua.usage.registration import Registration, RegistrationSettings, RegistrationState, keep_flow


class Registrations:
    """Keeps registrations from their start to the end of the agent. *contact_for* gives our Contact for a channel and a user."""

    def __init__(self, dialogs: DialogLayer, contact_for: Callable[[Channel, str, bool], str], user_agent: str) -> None:
        self._dialogs = dialogs
        self._contact_for = contact_for
        self._user_agent = user_agent
        self._all: list[Registration] = []
        self._flows = TaskSet()

    async def add(
        self,
        registrar: str,
        authenticator: Authenticator | None,
        user: str,
        aor: str,
        expires_s: int,
        on_state: Callable[[RegistrationState], None] | None,
    ) -> Registration:
        """Register; see :meth:`sipua.agent.UserAgent.register`."""
        uri = Uri.parse(registrar)
        exchanger = self._dialogs.exchanger
        channel = await exchanger.channel_for(Request("REGISTER", uri.text))
        is_secure = uri.scheme == "sips"
        settings = RegistrationSettings(
            registrar=uri.text,
            aor=aor or Uri.build(uri.host, user=user, port=uri.port, scheme=uri.scheme).text,
            contact=self._contact_for(channel, user, is_secure),
            expires_s=expires_s,
            user_agent=self._user_agent,
        )
        registration = Registration.over(
            exchanger, authenticator, self._dialogs, settings, on_state, lambda way: self._contact_for(way, user, is_secure)
        )
        self._all.append(registration)
        await registration.start()
        if channel.remote.is_reliable:
            self._flows.spawn(keep_flow(exchanger, registration, uri), name=f"flow to {printable(uri.bare_host, 64)}")
        return registration

    async def stop_flows(self) -> None:
        """Let no connection be opened again."""
        await self._flows.aclose()

    async def stop(self) -> None:
        """Remove every binding, side by side."""
        await asyncio.gather(*(registration.stop() for registration in self._all))
