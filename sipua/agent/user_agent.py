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
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextvars import copy_context
from types import TracebackType
from typing import Self

from sipua.agent.contact import contact_for
from sipua.agent.handling import CallHandler, work_of
from sipua.agent.lone import ask
from sipua.agent.outside import answer_outside, unavailable
from sipua.agent.registrations import Registrations
from sipua.auth import Authenticator, Credential
from sipua.dialog.layer import DialogLayer
from sipua.driver import TaskSet
from sipua.entropy import hex_digits, system_bits
from sipua.errors import CallFailedError, ParseError, TransportError, printable
from sipua.message import Address, Request, Response, Uri
from sipua.transaction.admission import Admit, OnRefused
from sipua.transaction.bounds import MAX_SERVERS
from sipua.transaction.exchange import Exchanger
from sipua.transaction.layer import ServerTransaction, TransactionLayer
from sipua.transport.advertised import Advertised
from sipua.transport.base import Channel, Endpoint
from sipua.transport.crowd import MAX_CONNECTIONS, MAX_PER_ADDRESS
from sipua.transport.layer import TransportLayer
from sipua.transport.locate import DnsSettings, Locator
from sipua.transport.network import AsyncioNetwork, Network
from sipua.transport.resolver import Resolver
from sipua.transport.route import DEFAULT_PORT, is_wildcard
from sipua.transport.sharing import tag_mark, uri_mark
from sipua.transport.tcp import FIRST_MESSAGE_SECONDS
from sipua.transport.tls import Tls
from sipua.transport.triage import Intake
from sipua.usage.call.call import Call
from sipua.usage.call.core import CallCore, CallSettings
from sipua.usage.call.inbound import Inbound, receive_invite
from sipua.usage.call.machine.interval import TimerSettings
from sipua.usage.call.machine.reliable_uas import OPTION, ReliableUse
from sipua.usage.call.outbound import make_invite, place_call
from sipua.usage.call.replacing import receive_replacing
from sipua.usage.call.session import Session
from sipua.usage.call.waiting import WaitingCalls
from sipua.usage.registration import Registration, RegistrationState

log = logging.getLogger("sipua.agent")


class UserAgent:
    """A SIP user agent: calls, registrations, transfers.

    *listen* are endpoints such as ``udp:127.0.0.1:5060`` (port 0 takes a free one; ``endpoints`` tells which), *advertised_host* the name
    or address that peers are told when it isn't the local one, *identity* the From value of our calls, *credentials* answer every challenge
    that no others are given for. *tls* has the certificates of ``tls:`` listeners and ``sips`` calls. *dns* says how names are looked up.
    *network* replaces the operating system's (tests: :class:`sipua.transport.memory.MemoryNetwork`); names are then its own unless *dns* is
    given, too. *worker* is our number among several processes behind one address (:mod:`sipua.transport.sharing`).
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
        dns: DnsSettings | None = None,
        user_agent: str = "sipua",
        max_connections: int = MAX_CONNECTIONS,
        max_per_address: int = MAX_PER_ADDRESS,
        first_message_s: float = FIRST_MESSAGE_SECONDS,
        tls: Tls | None = None,
        max_message_bytes: int = 65535,
        max_transactions: int = MAX_SERVERS,
        rng: random.Random | None = None,
        worker: int | None = None,
    ) -> None:
        self.endpoints: list[Endpoint] = []
        self.calls: set[Call] = set()
        self._forget_call = self.calls.discard  # once for all of them
        self.on_call: CallHandler | None = None
        self.admit: Admit = lambda _request, _channel: None
        """Decides over every request outside a dialog before it costs a transaction; None lets it in."""
        self.on_refused: OnRefused | None = None
        self.may_answer: Callable[[Channel], bool] = lambda _channel: True
        """Tells whether a broken message that came by a channel gets an answer."""
        self.credentials_for: Callable[[Request], Sequence[Credential] | None] = lambda _invite: None
        """Which credentials answer challenges in a call that an INVITE opened; None: the agent's."""
        self.intake = Intake()
        """Which sources of datagrams are known, and what strangers may send."""
        self.timer_for: Callable[[Endpoint], TimerSettings | None] = lambda _remote: None
        """Which session timer (RFC 4028) calls with an endpoint get; None: that of the settings."""
        self.settings = settings or CallSettings()
        self._advertised = Advertised.parse(advertised_host)
        self.settings.advertised = self._advertised
        self.settings.server_name = self.settings.server_name or user_agent
        self._listen = tuple(listen)
        self._identity = identity
        self._credentials = tuple(credentials)
        self._network = network or AsyncioNetwork()
        self._dns = dns or (DnsSettings() if network is None else None)
        self._user_agent = user_agent
        self._max_connections = max_connections
        self._max_per_address = max_per_address
        self._first_message_s = first_message_s
        self._tls = tls
        self._max_message_bytes = max_message_bytes
        self._max_transactions = max_transactions
        self._rng = rng or system_bits
        self._context = copy_context()  # one for the ends of all calls
        self._worker = worker
        self._waiting = WaitingCalls()
        self._tasks = TaskSet()
        self._is_closing = False
        self._is_started = False

    # -- life -------------------------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Open the listeners. Raises :class:`TransportError` when one can't be opened."""
        loop = asyncio.get_running_loop()
        self.transports = TransportLayer(
            self._network,
            Resolver(self._network.lookup) if self._dns is None else Locator(self._dns, network=self._network, rng=self._rng),
            advertised=self._advertised,
            max_connections=self._max_connections,
            max_per_address=self._max_per_address,
            first_message_seconds=self._first_message_s,
            tls=self._tls,
            max_message_bytes=self._max_message_bytes,
            rng=self._rng,
            new_tag=self._token,
            intake=self.intake,
        )
        self.transports.may_answer = lambda channel: self.may_answer(channel)  # noqa: PLW0108  # it may be set later
        self.transactions = TransactionLayer(self.transports, loop, self.settings.timing, self._branch, max_servers=self._max_transactions)
        self.transactions.admit = lambda request, channel: self.admit(request, channel)  # noqa: PLW0108  # it may be set later
        self.transactions.on_refused = self.on_refused
        self.exchanger = Exchanger(self.transactions, self.transports.resolver)
        self.dialogs = DialogLayer(self.transactions, self.exchanger, user_agent=self._user_agent, rng=self._rng)
        self.dialogs.user = self
        self.dialogs.tag_mark = "" if self._worker is None else tag_mark(self._worker)
        if self.settings.reliable_provisional is ReliableUse.NEVER:
            self.dialogs.extensions -= {OPTION}
        self._registrations = Registrations(self.dialogs, self.contact_for, self._user_agent)
        self.core = CallCore(
            self.dialogs, loop, self._tasks, self.settings, self._call_contact, self._timer_for, self.transports.source_for
        )
        await self._find_advertised()
        try:
            for where in self._listen:
                self.endpoints.append(await self.transports.listen(where))
        except BaseException:
            await self.transports.aclose()
            raise
        self._is_started = True

    def _timer_for(self, remote: Endpoint | None) -> TimerSettings:
        return (None if remote is None else self.timer_for(remote)) or self.settings.timer

    async def _find_advertised(self) -> None:
        """Look an advertised name up once: descriptions need its address; one that can't be found leaves the local address in them."""
        name = self._advertised.name
        if not name:
            return
        try:
            found = await self.transports.resolver.resolve(Uri.build(name, port=DEFAULT_PORT))
        except (TransportError, ParseError) as error:
            log.warning("advertised host %s has no address, descriptions show the local one: %s", printable(name), error)
            return
        for endpoint in found:
            self.settings.advertised = self.settings.advertised.with_address(endpoint.host)

    async def aclose(self, within_s: float = 2.0) -> None:
        """Hang up what is left, un-register, wait at most *within_s* seconds for the answers, and close every socket."""
        self._is_closing = True
        if not self._is_started:
            return
        self._is_started = False
        await self._registrations.stop_flows()
        calls = tuple(self.calls)
        for call in calls:
            await call.hangup()
        self._waiting.close()
        try:
            async with asyncio.timeout(within_s):
                # side by side: a registrar that is gone must not cost the calls their BYE
                await asyncio.gather(self._wait_ended(calls, within_s / 2), self._registrations.stop())
                while len(self._tasks) or len(self.exchanger):
                    await self._tasks.join()
                    await self.exchanger.join()
        except TimeoutError:
            log.info("closing with answers outstanding")
        await self._tasks.aclose()
        self.exchanger.close()
        await self.transactions.aclose()
        for call in tuple(self.calls):
            call.close()
        self.dialogs.close()
        self.core.resting.close()
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
        return hex_digits(self._rng, 8)

    def _branch(self) -> str:
        return "z9hG4bK" + hex_digits(self._rng, 10)

    def contact_for(self, channel: Channel, user: str, is_secure: bool) -> str:  # as CallCore calls it
        """Return our Contact value for the peer of *channel*, ``sips`` where *is_secure* (RFC 3261 §8.1.1.8)."""
        return contact_for(self.transports, channel, user, is_secure=is_secure)

    def _call_contact(self, channel: Channel, user: str, is_secure: bool) -> str:
        """Return our Contact in a call, with the mark of its process; one that is registered has none: its calls may be anybody's."""
        mark = "" if self._worker is None else uri_mark(self._worker)
        return contact_for(self.transports, channel, user, is_secure=is_secure, parameters=mark)

    def authenticator(self, credentials: Sequence[Credential] | None = None) -> Authenticator | None:
        """Return an authenticator for *credentials*, those of the agent when None; None without any, for then no challenge is answered."""
        chosen = self._credentials if credentials is None else credentials
        return Authenticator(chosen, self._token) if chosen else None

    # -- calls that come in -----------------------------------------------------------------------------------------------------------

    def __aiter__(self) -> AsyncIterator[Call]:
        return aiter(self._waiting)

    def on_initial_request(self, transaction: ServerTransaction) -> None:
        """Serve a request outside a dialog (called by the dialog layer)."""
        request = transaction.request
        if request.method == "INVITE" and not self._is_closing:
            self._on_invite(transaction)
            return
        tag = self.dialogs.new_tag()
        answer = unavailable(request, 503, tag) if self._is_closing else self.answer_alone(request, tag)
        if answer is not None:
            transaction.respond(answer)

    def answer_alone(self, request: Request, tag: str) -> Response | None:
        """Answer a request outside a dialog that opens nothing; None for INVITE (called by the dialog layer)."""
        return answer_outside(request, tag, self.settings.server_name, self.dialogs.extensions, is_closing=self._is_closing)

    def _on_invite(self, transaction: ServerTransaction) -> None:
        request = transaction.request
        if "Replaces" in request.headers:
            receive_replacing(self.core, transaction, self.calls, self.authenticator(self.credentials_for(request)))
            return
        if self.on_call is None and (not self._waiting.is_wanted or self._waiting.is_full):
            transaction.respond(unavailable(request, 503 if self._waiting.is_wanted else 480, self.dialogs.new_tag()))
            return
        session = receive_invite(self.core, transaction)
        if session is None or not isinstance(session.role, Inbound):
            return
        session.dialog.authenticator = self.authenticator(self.credentials_for(request))
        call = Call(session, session.role)
        self._track(call, session)
        if self.on_call is not None:
            self._tasks.spawn(work_of(self.on_call, call), printable(call.id, 40), call, self._context)
        else:
            self._waiting.put(call)

    def _track(self, call: Call, session: Session) -> None:
        if not session.is_ended:
            self.calls.add(call)
            call.on_released = self._forget_call
            session.owner = call

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
        host = self._advertised.any_host or ("sipua.invalid" if is_wildcard(first.host) else "")
        return f"<{Uri.build(host, user='sipua')}>" if host else f"<sip:sipua@{first.hostport}>"

    async def _local_host(self, invite: Request) -> str:
        """Return our address on the way of *invite*: what descriptions say. Without a way the INVITE itself will tell the caller."""
        try:
            return (await self.exchanger.channel_for(invite)).local.host
        except TransportError:
            return "127.0.0.1"

    # -- beside calls -----------------------------------------------------------------------------------------------------------------

    async def options(self, target: str) -> Response:
        """Ask *target* what it can do (RFC 3261 §11); a peer that says nothing gives a made-up 408."""
        return await ask(self.dialogs, self.authenticator(), "OPTIONS", target, self.identity, self._user_agent)

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
        name = user or (chosen[0].username if chosen else "sipua")
        return await self._registrations.add(registrar, self.authenticator(chosen), name, aor, expires_s, on_state)
