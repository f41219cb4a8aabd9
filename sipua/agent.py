"""The user agent: wires the layers and gives users calls and registrations.

::

    async with UserAgent(listen=["udp:0.0.0.0:5060"]) as agent:
        async for call in agent:
            await call.answer()
            outcome = await call.transfer("sip:support@example.com")
            await call.hangup()
"""

import asyncio
import logging
import random
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from types import TracebackType
from typing import Self

from sipua.auth import Authenticator, Credential
from sipua.dialog.checks import bad_event
from sipua.dialog.layer import DialogLayer
from sipua.driver import TaskSet
from sipua.errors import CallFailedError, ParseError, RegistrationError, SipError, TransportError, printable
from sipua.message import Address, CSeq, Request, Response, Uri, make_response
from sipua.message.build import MAX_FORWARDS
from sipua.message.headers import Headers
from sipua.transaction.exchange import Exchanger
from sipua.transaction.layer import ServerTransaction, TransactionLayer
from sipua.transport.base import Channel, Endpoint
from sipua.transport.layer import TransportLayer
from sipua.transport.network import AsyncioNetwork, Network
from sipua.transport.resolver import Resolver
from sipua.transport.route import ip_literal, is_wildcard
from sipua.usage.call import inquiries
from sipua.usage.call.call import Call
from sipua.usage.call.core import CallCore, CallSettings
from sipua.usage.call.inbound import Inbound, receive_invite
from sipua.usage.call.outbound import make_invite, place_call
from sipua.usage.call.session import Session
from sipua.usage.call.waiting import WaitingCalls
from sipua.usage.registration import Registration, RegistrationSettings, RegistrationState, keep_flow

log = logging.getLogger("sipua.agent")

RETRY_AFTER_S = 10
"""What a 503 of ours asks a caller to wait."""

CallHandler = Callable[[Call], Awaitable[None]]


class UserAgent:
    """A SIP user agent: calls, registrations, transfers.

    *listen* are endpoints such as ``udp:127.0.0.1:5060`` (port 0 takes a free one; ``endpoints`` tells which), *advertised_host* the name
    or address that peers are told when it isn't the local one, *identity* the From value of our calls, *credentials* answer every challenge
    that no others are given for. *network* replaces the operating system's (tests: :class:`sipua.transport.memory.MemoryNetwork`).
    """

    def __init__(
        self,
        *,
        listen: Sequence[str] = ("udp:127.0.0.1:0",),
        advertised_host: str = "",
        identity: str = "",
        credentials: Sequence[Credential] = (),
        settings: CallSettings | None = None,
        network: Network | None = None,
        user_agent: str = "sipua",
        max_connections: int = 1000,
        max_message_bytes: int = 65535,
        rng: random.Random | None = None,
    ) -> None:
        self.endpoints: list[Endpoint] = []
        self.calls: set[Call] = set()
        self.on_call: CallHandler | None = None
        self.availability: Callable[[Request, Endpoint], int] = lambda _request, _remote: 200
        """What an INVITE would get now, asked for every INVITE and OPTIONS outside a dialog: 200 to take it, else the refusal."""
        self.credentials_for: Callable[[Endpoint], Sequence[Credential] | None] = lambda _remote: None
        """Which credentials answer challenges in a call that came from an endpoint; None: the agent's."""
        self.settings = settings or CallSettings()
        self.settings.advertised_host = self.settings.advertised_host or advertised_host
        self.settings.server_name = self.settings.server_name or user_agent
        self._listen = tuple(listen)
        self._advertised_host = advertised_host
        self._identity = identity
        self._credentials = tuple(credentials)
        self._network = network or AsyncioNetwork()
        self._user_agent = user_agent
        self._max_connections = max_connections
        self._max_message_bytes = max_message_bytes
        self._rng = rng or random.Random(secrets.randbits(128))
        self._registrations: list[Registration] = []
        self._waiting = WaitingCalls()
        self._tasks = TaskSet()
        self._flows = TaskSet()
        self._is_closing = False
        self._is_started = False

    # -- life -------------------------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Open the listeners. Raises :class:`TransportError` when one can't be opened."""
        loop = asyncio.get_running_loop()
        self.transports = TransportLayer(
            self._network,
            Resolver(self._network.lookup),
            advertised_host=self._advertised_host,
            max_connections=self._max_connections,
            max_message_bytes=self._max_message_bytes,
            rng=self._rng,
            new_tag=self._token,
        )
        self.transactions = TransactionLayer(self.transports, loop, self.settings.timing, self._branch)
        self.exchanger = Exchanger(self.transactions, self.transports.resolver)
        self.dialogs = DialogLayer(self.transactions, self.exchanger, user_agent=self._user_agent, rng=self._rng)
        self.dialogs.user = self
        self.core = CallCore(self.dialogs, loop, self._tasks, self.settings, self.contact_for)
        await self._find_advertised()
        try:
            for where in self._listen:
                self.endpoints.append(await self.transports.listen(where))
        except BaseException:
            await self.transports.aclose()
            raise
        self._is_started = True

    async def _find_advertised(self) -> None:
        """Look an advertised name up once: descriptions need its address; one that can't be found leaves the local address in them."""
        if not self._advertised_host or ip_literal(self._advertised_host) is not None:
            return
        try:
            self.settings.advertised_host = (await self.transports.resolver.resolve(Uri.build(self._advertised_host)))[0].host
        except (TransportError, ParseError) as error:
            log.warning("advertised host %s has no address, descriptions show the local one: %s", printable(self._advertised_host), error)

    async def aclose(self, within_s: float = 2.0) -> None:
        """Hang up what is left, un-register, wait at most *within_s* seconds for the answers, and close every socket."""
        self._is_closing = True
        if not self._is_started:
            return
        self._is_started = False
        await self._flows.aclose()
        calls = tuple(self.calls)
        for call in calls:
            await call.hangup()
        self._waiting.close()
        try:
            async with asyncio.timeout(within_s):
                # side by side: a registrar that is gone must not cost the calls their BYE
                await asyncio.gather(self._wait_ended(calls, within_s / 2), *(registration.stop() for registration in self._registrations))
                await self._tasks.join()
        except TimeoutError:
            log.info("closing with answers outstanding")
        await self._tasks.aclose()
        await self.transactions.aclose()
        for call in tuple(self.calls):
            call.close()
        self.dialogs.close()
        await self._tasks.aclose()
        await self.transports.aclose()

    @staticmethod
    async def _wait_ended(calls: Sequence[Call], ack_within_s: float) -> None:
        """Wait until *calls* are over; one whose ACK is still missing after *ack_within_s* seconds gets its BYE without it."""
        try:
            async with asyncio.timeout(ack_within_s):
                await asyncio.gather(*(call.wait_ended() for call in calls))
        except TimeoutError:
            for call in calls:
                call.abandon()
            await asyncio.gather(*(call.wait_ended() for call in calls))

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.aclose()

    def _token(self) -> str:
        return f"{self._rng.getrandbits(64):016x}"

    def _branch(self) -> str:
        return f"z9hG4bK{self._rng.getrandbits(80):020x}"

    def contact_for(self, channel: Channel, user: str) -> str:
        """Return our Contact value for the peer of *channel* (RFC 3261 §8.1.1.8)."""
        ours = self.transports.advertised(channel)
        uri = Uri.build(ours.host, user=user, port=ours.port)
        transport = "" if ours.transport == "UDP" else f";transport={ours.transport.lower()}"
        return f"<{uri}{transport}>"

    def authenticator(self, credentials: Sequence[Credential] | None = None) -> Authenticator:
        """Return an authenticator for *credentials*, those of the agent when None."""
        return Authenticator(self._credentials if credentials is None else credentials, self._token)

    # -- calls that come in -----------------------------------------------------------------------------------------------------------

    def __aiter__(self) -> AsyncIterator[Call]:
        return aiter(self._waiting)

    def on_initial_request(self, transaction: ServerTransaction) -> None:
        """Serve a request outside a dialog (called by the dialog layer)."""
        request = transaction.request
        tag = self.dialogs.new_tag()
        match request.method:
            case "INVITE" | "OPTIONS":
                status = 503 if self._is_closing else self.availability(request, transaction.channel.remote)
                if status != 200:
                    transaction.respond(self._unavailable(request, status, tag))
                elif request.method == "OPTIONS":
                    transaction.respond(inquiries.answer_options(request, self.settings.server_name, 200, tag))
                else:
                    self._on_invite(transaction)
            case "NOTIFY" | "SUBSCRIBE":
                transaction.respond(bad_event(request, tag))
            case "REFER":
                transaction.respond(make_response(request, 603, to_tag=tag))
            case _:
                transaction.respond(make_response(request, 481, to_tag=tag))

    @staticmethod
    def _unavailable(request: Request, status: int, tag: str) -> Response:
        response = make_response(request, status, to_tag=tag)
        if status == 503:
            response.headers.add("Retry-After", str(RETRY_AFTER_S))
        return response

    def _on_invite(self, transaction: ServerTransaction) -> None:
        if self.on_call is None and (not self._waiting.is_wanted or self._waiting.is_full):
            status = 503 if self._waiting.is_wanted else 480
            transaction.respond(self._unavailable(transaction.request, status, self.dialogs.new_tag()))
            return
        session = receive_invite(self.core, transaction)
        if session is None or not isinstance(session.role, Inbound):
            return
        session.dialog.authenticator = self.authenticator(self.credentials_for(transaction.channel.remote))
        call = Call(session, session.role)
        self._track(call, session)
        if self.on_call is not None:
            self._tasks.spawn(self._handle(call, self.on_call), name=f"call {printable(call.id, 40)}")
        else:
            self._waiting.put(call)

    async def _handle(self, call: Call, handler: CallHandler) -> None:
        try:
            await handler(call)
        except SipError as error:
            log.info("call %s: %s", printable(call.id), error)
        finally:
            await call.hangup(500)

    def _track(self, call: Call, session: Session) -> None:
        if not session.is_ended:
            self.calls.add(call)
            session.on_released = lambda: self.calls.discard(call)

    # -- calls that go out ------------------------------------------------------------------------------------------------------------

    async def call(
        self,
        target: str,
        *,
        caller: str = "",
        credentials: Sequence[Credential] | None = None,
        headers: Mapping[str, str] | None = None,
        route: Sequence[str] = (),
    ) -> Call:
        """Send an INVITE to *target*, a SIP URI, and return the call at once; :meth:`Call.wait_answered` waits for the answer.

        *caller* is a From value (default: the agent's identity). Raises :class:`ParseError` for a URI that is none,
        :class:`sipua.errors.LimitError` when no media port is free.
        """
        uri = Uri.parse(target)
        if not uri.is_sip:
            raise ParseError("only sip URIs can be called", 416)
        address = str(Address.parse(caller or self.identity).with_tag(""))
        invite = make_invite(self.core, uri.as_request_uri().text, address, list((headers or {}).items()), tuple(route))
        session, role = await place_call(self.core, invite, await self._local_host(invite), self.authenticator(credentials))
        call = Call(session, role)
        self._track(call, session)
        return call

    async def dial(
        self, target: str, *, caller: str = "", credentials: Sequence[Credential] | None = None, timeout_s: float = 60.0
    ) -> Call:
        """Call *target* and return the answered call.

        Raises :class:`sipua.errors.CallFailedError` with the status when it isn't answered; after *timeout_s* seconds it is cancelled.
        """
        call: Call | None = None
        try:
            async with asyncio.timeout(timeout_s):
                call = await self.call(target, caller=caller, credentials=credentials)
                await call.wait_answered()
        except TimeoutError:
            if call is not None:
                await call.hangup()
                await call.wait_ended()
                await call.wait_answered()
            raise CallFailedError(408, "not answered in time") from None
        except asyncio.CancelledError:
            if call is not None:
                await call.hangup()
            raise
        return call

    @property
    def identity(self) -> str:
        """The From value of requests that name no other."""
        if self._identity:
            return self._identity
        if not self.endpoints:
            raise TransportError("the agent is not started")
        first = self.endpoints[0]
        # nobody can be called back at a wildcard address (RFC 2606 reserves "invalid")
        host = self._advertised_host or ("sipua.invalid" if is_wildcard(first.host) else first.hostport)
        return f"<sip:sipua@{host}>"

    async def _local_host(self, invite: Request) -> str:
        """Return our address on the way of *invite*: what descriptions say. Without a way the INVITE itself will tell the caller."""
        try:
            return (await self.exchanger.channel_for(invite)).local.host
        except TransportError:
            return "127.0.0.1"

    # -- beside calls -----------------------------------------------------------------------------------------------------------------

    async def options(self, target: str) -> Response:
        """Ask *target* what it can do (RFC 3261 §11); a peer that says nothing gives a made-up 408."""
        return await self._ask("OPTIONS", target, self.identity, f"<{target}>", self.authenticator())

    async def register(
        self,
        registrar: str,
        *,
        credentials: Sequence[Credential] | None = None,
        aor: str = "",
        user: str = "",
        expires_s: int = 300,
        on_state: Callable[[RegistrationState], None] | None = None,
    ) -> Registration:
        """Register at *registrar* (a SIP URI) and keep the binding until the agent closes; returns at once.

        *aor* is the address of record (default: *user*, or the first credential's user name, at the registrar's host).
        :meth:`Registration.wait_registered` waits for the first success. Raises ValueError for a broken URI and
        :class:`TransportError` when there is no way to the registrar.
        """
        chosen = self._credentials if credentials is None else tuple(credentials)
        uri = Uri.parse(registrar)
        name = user or (chosen[0].username if chosen else "sipua")
        channel = await self.exchanger.channel_for(Request("REGISTER", uri.text))
        settings = RegistrationSettings(
            registrar=uri.text,
            aor=aor or Uri.build(uri.host, user=name, port=uri.port, scheme=uri.scheme).text,
            contact=self.contact_for(channel, name),
            expires_s=expires_s,
            user_agent=self._user_agent,
        )
        registration = Registration.over(self.exchanger, self.authenticator(chosen), self.dialogs, settings, on_state)
        self._registrations.append(registration)
        await registration.start()
        if channel.remote.is_reliable:
            self._flows.spawn(keep_flow(self.exchanger, registration, uri), name=f"flow to {printable(uri.bare_host, 64)}")
        return registration

    async def _ask(self, method: str, uri: str, from_: str, to: str, authenticator: Authenticator) -> Response:
        number = self.dialogs.first_cseq()
        headers = Headers()
        headers.add("Max-Forwards", MAX_FORWARDS)
        headers.add("From", f"{from_};tag={self.dialogs.new_tag()}")
        headers.add("To", to)
        headers.add("Call-ID", self.dialogs.new_call_id())
        headers.add("CSeq", str(CSeq(number, method)))
        headers.add("User-Agent", self._user_agent)
        request = Request(method, Uri.parse(uri).as_request_uri().text, headers)

        def next_cseq() -> int:
            nonlocal number
            number += 1
            return number

        return await self.exchanger.exchange(request, authenticator, next_cseq)


__all__ = ["Call", "RegistrationError", "UserAgent"]
