"""A registration at work: REGISTER requests, one at a time, and what the owner is told (RFC 3261 §10.2)."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from sipua.auth import Authenticator
from sipua.dialog.checks import ALLOW
from sipua.driver import Driver, TaskSet
from sipua.effects import Effect, Terminated
from sipua.errors import ParseError, RegistrationError, SipError, printable
from sipua.message import Address, Params, Request, Response, Uri
from sipua.message.build import MAX_FORWARDS
from sipua.message.headers import Headers
from sipua.message.via import CSeq
from sipua.transaction.exchange import Exchanger
from sipua.transport.base import Channel
from sipua.usage.registration.answer import Answer, Verdict, read_answer
from sipua.usage.registration.machine import Changed, RegistrationMachine, RegistrationState, SendRegister

log = logging.getLogger("sipua.registration")

DEFAULT_EXPIRES_S = 300  # short enough that a PBX which lost its bindings has ours again within minutes
STOP_LIMIT_S = 4.0  # a challenge and two lost datagrams fit; a dead PBX doesn't hold up the shutdown


class Names(Protocol):
    """Where identifiers and random numbers come from; :class:`sipua.dialog.layer.DialogLayer` is one."""

    def first_cseq(self) -> int:
        """Return a first sequence number."""

    def new_tag(self) -> str:
        """Return a fresh tag."""

    def new_call_id(self) -> str:
        """Return a fresh Call-ID."""

    def uniform(self, low: float, high: float) -> float:
        """Return a random number between *low* and *high*."""


@dataclass(frozen=True, slots=True)
class RegistrationSettings:
    """What to register where.

    *registrar* and *aor* are SIP URIs, *contact* a URI or a Contact value with one; a user part of the registrar is left out
    (RFC 3261 §10.2). *expires_s* is asked for, *stop_limit_s* is how long :meth:`Registration.stop` may take; both in seconds.
    Raises ValueError for what is no SIP URI or not above 0.
    """

    registrar: str
    aor: str
    contact: str
    expires_s: int = DEFAULT_EXPIRES_S
    stop_limit_s: float = STOP_LIMIT_S
    user_agent: str = ""

    def __post_init__(self) -> None:
        for name, text in (("registrar", self.registrar), ("aor", self.aor), ("contact", self.contact)):
            try:
                is_sip = Address.parse(text if name == "contact" else f"<{text}>").uri.is_sip
            except ParseError as error:
                raise ValueError(f"{name}: {error.reason}") from error
            if not is_sip:
                raise ValueError(f"{name}: not a SIP URI")
        if self.expires_s <= 0 or self.stop_limit_s <= 0:
            raise ValueError("expires_s and stop_limit_s must be above 0")


class Registration:
    """Keeps an address of record bound to our Contact from :meth:`start` to :meth:`stop`.

    *send* brings a REGISTER to the registrar, answers challenges with sequence numbers of :meth:`next_cseq`, and returns the final
    response; its :class:`SipError` counts as 503. *on_state* is called with each new state.
    """

    def __init__(
        self,
        send: Callable[[Request], Awaitable[Response]],
        names: Names,
        settings: RegistrationSettings,
        on_state: Callable[[RegistrationState], None] | None = None,
    ) -> None:
        """Make it inside the running loop."""
        self.settings = settings
        self.service_route: tuple[str, ...] = ()
        """Route values of the last 2xx for requests outside dialogs (RFC 3608 §5); empty when it had none."""
        self.failure: tuple[int, str] | None = None
        """Status and reason phrase of the last response while there is no binding, else None."""
        self.channel: Channel | None = None
        """By which the last REGISTER left."""
        self.on_move: Callable[[], None] | None = None
        """Called when a REGISTER leaves by another channel than the last one."""
        self._send = send
        self._on_state = on_state
        self._call_id = names.new_call_id()
        self._tag = names.new_tag()
        self._cseq = names.first_cseq()
        contact = Address.parse(settings.contact)
        self._contact = Address(contact.uri, contact.display_name, contact.params.without("expires"))
        registrar = Uri.parse(settings.registrar)
        self._registrar = Uri.build(registrar.host, port=registrar.port, params=registrar.params, scheme=registrar.scheme).text
        self._machine = RegistrationMachine(settings.expires_s, settings.stop_limit_s, names.uniform)
        self._driver = Driver(self._machine, self._perform, asyncio.get_running_loop())
        self._tasks = TaskSet()
        self._reason = ""
        self._state = RegistrationState.IDLE
        self._news = asyncio.Event()
        self._ended = asyncio.Event()

    @classmethod
    def over(
        cls,
        exchanger: Exchanger,
        authenticator: Authenticator | None,
        names: Names,
        settings: RegistrationSettings,
        on_state: Callable[[RegistrationState], None] | None = None,
        contact_for: Callable[[Channel], str] | None = None,
    ) -> "Registration":
        """Make a registration that sends by *exchanger* with the passwords of *authenticator*.

        *contact_for* gives our Contact for the way that a REGISTER takes: another server may see us at another address.
        """

        async def send(request: Request) -> Response:
            return await exchanger.exchange(request, authenticator, registration.next_cseq, on_channel=leaves)

        def leaves(request: Request, channel: Channel) -> None:
            if contact_for is not None:
                registration.use_contact(request, contact_for(channel))
            registration.moved_to(channel)

        registration = cls(send, names, settings, on_state)
        return registration

    def use_contact(self, request: Request, contact: str) -> None:
        """Bind *contact* from now on, *request* included."""
        address = Address.parse(contact)
        if address.uri != self._contact.uri:
            expires = "" if request.contact is None else request.contact.params.get("expires") or ""
            self._contact = Address(address.uri, self._contact.display_name, self._contact.params)
            request.headers.set("Contact", str(self._bound(expires)))

    def moved_to(self, channel: Channel) -> None:
        """A REGISTER leaves by *channel*."""
        if channel is not self.channel:
            self.channel = channel
            if self.on_move is not None:
                self.on_move()

    def _bound(self, expires: str) -> Address:
        return Address(self._contact.uri, self._contact.display_name, Params((*self._contact.params, ("expires", expires))))

    @property
    def state(self) -> RegistrationState:
        """What is known of the binding."""
        return self._state

    @property
    def is_registered(self) -> bool:
        """True while the last REGISTER succeeded and the binding is not to be removed."""
        return self._state is RegistrationState.REGISTERED

    def next_cseq(self) -> int:
        """Return the number of the next REGISTER: one count for all with this Call-ID (RFC 3261 §10.2)."""
        self._cseq += 1
        return self._cseq

    async def start(self) -> None:
        """Begin to register; returns at once. Every failure is tried again until :meth:`stop`."""
        self._driver.feed(self._machine.start())

    def refresh(self) -> None:
        """Register now: the connection to the registrar was lost. Without effect before the start, and while a REGISTER is under way."""
        self._driver.feed(self._machine.refresh())

    async def wait_registered(self, timeout_s: float | None = None) -> None:
        """Return once registered.

        Raises :class:`RegistrationError` when the registrar refuses or the registration ends, TimeoutError after *timeout_s* seconds.
        """
        async with asyncio.timeout(timeout_s):
            while not self.is_registered:
                if self._state in (RegistrationState.REFUSED, RegistrationState.ENDED):
                    raise RegistrationError(*(self.failure or (0, "the registration has ended")))
                self._news.clear()
                await self._news.wait()

    async def stop(self) -> None:
        """Remove the binding and end, within the time limit of the settings whatever the registrar does."""
        try:
            self._driver.feed(self._machine.stop(self._driver.now))
            await self._ended.wait()
        finally:
            self._driver.stop()
            await self._tasks.aclose()

    # -- effects --------------------------------------------------------------------------------------------------------------------

    def _perform(self, effect: Effect) -> None:
        match effect:
            case SendRegister(expires_s, target):
                self._tasks.spawn(self._register(expires_s, target), name=f"REGISTER {self.settings.aor}")
            case Changed():
                self._tell(effect)
            case Terminated():
                self._ended.set()

    async def _register(self, expires_s: int, target: str) -> None:
        request = self._request(expires_s, target)
        try:
            response = await self._send(request)
        except SipError as error:
            self._reason = str(error)
            answer = Answer(Verdict.TEMPORARY, 503)
        except Exception:  # a fault of ours must not end the registration for good
            log.exception("sending REGISTER for %s failed", self.settings.aor)
            self._reason = "internal error"
            answer = Answer(Verdict.TEMPORARY, 500)
        else:
            self._reason = response.reason
            answer = read_answer(response, self._contact.uri, expires_s)
            if answer.verdict is Verdict.BOUND:
                self.service_route = tuple(response.headers.values("Service-Route"))
        log.debug("REGISTER %d for %s: %d, %s", request.cseq.number, self.settings.aor, answer.status, answer.verdict)
        self._driver.feed(self._machine.answered(answer, self._driver.now))

    def _request(self, expires_s: int, target: str) -> Request:
        headers = Headers()
        address = f"<{self.settings.aor}>"
        headers.add("Max-Forwards", MAX_FORWARDS)
        headers.add("From", f"{address};tag={self._tag}")
        headers.add("To", address)
        headers.add("Call-ID", self._call_id)
        headers.add("CSeq", str(CSeq(self.next_cseq(), "REGISTER")))
        headers.add("Contact", str(self._bound(str(expires_s))))
        # both forms: there are registrars that read but one of them
        headers.add("Expires", str(expires_s))
        headers.add("Allow", ALLOW)
        if self.settings.user_agent:
            headers.add("User-Agent", self.settings.user_agent)
        return Request("REGISTER", target or self._registrar, headers)

    def _tell(self, change: Changed) -> None:
        reason = printable(self._reason)
        match change.state:
            case RegistrationState.REGISTERED:
                self.failure = None
                log.info("%s is registered for %.0f s", self.settings.aor, change.seconds)
            case RegistrationState.WAITING:
                self.failure = (change.status, reason)
                log.warning("%s is not registered: %d %s; next try in %.0f s", self.settings.aor, change.status, reason, change.seconds)
            case RegistrationState.REFUSED:
                self.failure = (change.status, reason)
                text = "registrar refuses %s: %d %s; check user name and password; next try in %.0f s"
                log.error(text, self.settings.aor, change.status, reason, change.seconds)
            case state:
                log.info("%s: %s", self.settings.aor, state)
        is_new = change.state is not self._state
        self._state = change.state
        self._news.set()
        if is_new and self._on_state is not None:
            self._on_state(change.state)
