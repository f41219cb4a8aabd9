"""Pure. The state of a dialog (RFC 3261 §12): tags, sequence numbers, route set, remote target; plain data that can be written down."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final, NamedTuple

from sipua.errors import ParseError
from sipua.message import Address, Request, Response, Uri
from sipua.message.build import MAX_FORWARDS
from sipua.message.headers import Headers
from sipua.message.memory import Memory

TARGET_REFRESH = frozenset({"INVITE", "UPDATE", "SUBSCRIBE", "NOTIFY", "REFER"})
"""Methods whose Contact replaces the remote target (RFC 3261 §12.2, RFC 3311 §5.1, RFC 6665 §3.1, RFC 4488 §4)."""


_KEY: Final = "dialog key"
"""Where the cache of a request's headers has that of its dialog.

A text, as all keys there: with one of another kind PyPy looks for all in a slower way.
"""


class DialogId(NamedTuple):
    """Call-ID, our tag, the peer's tag (RFC 3261 §12)."""

    call_id: str
    local_tag: str
    remote_tag: str

    @property
    def key(self) -> str:
        """The id as one text, a line each: the parser lets no value have a line end."""
        return self.call_id + "\n" + self.local_tag + "\n" + self.remote_tag


def key_of(request: Request) -> str:
    """Return the :attr:`DialogId.key` of the dialog that *request*, one of the peer's, says it is in. Raises :class:`ParseError`."""
    cache = request.headers.cache
    known: str | None = cache.get(_KEY)
    if known is None:
        known = cache[_KEY] = DialogId(request.call_id, request.to.tag, request.from_.tag).key
    return known


class Admission(Enum):
    """What the sequence number of a request in the dialog says (RFC 3261 §12.2.2)."""

    OK = "ok"
    OUT_OF_ORDER = "out of order"


@dataclass(slots=True)
class DialogState:
    """One dialog. URIs are kept as text, byte for byte.

    ``local_address`` and ``remote_address`` are From and To values without tags; ``route_set`` holds route values in the order in which
    requests of ours carry them; ``local_seq`` is the number of our last request (None: none sent yet), ``remote_seq`` of the peer's.
    """

    call_id: str
    local_tag: str
    remote_tag: str
    local_address: str
    remote_address: str
    remote_target: str
    route_set: tuple[str, ...] = ()
    local_seq: int | None = None
    remote_seq: int | None = None
    is_confirmed: bool = False

    @classmethod
    def from_uas(cls, request: Request, local_tag: str, *, is_confirmed: bool = False) -> "DialogState":
        """Make the dialog that our response to *request* opens (RFC 3261 §12.1.1).

        A caller of RFC 2543, without the cookie in its branch, may leave out Contact: its From is the remote target (RFC 4475 §3.4.1).
        Raises :class:`ParseError` without a Contact, for one that is no SIP URI (§8.1.1.8), or for a broken Record-Route.
        """
        contact = request.contact
        if contact is None and not request.via.has_cookie and "Contact" not in request.headers:
            contact = request.from_
        if contact is None:
            raise ParseError("a request that opens a dialog needs a Contact")
        if not contact.uri.is_sip:
            raise ParseError("Contact must be a SIP URI")
        return cls(
            call_id=request.call_id,
            local_tag=local_tag,
            remote_tag=request.from_.tag,
            local_address=_without_tag(request.to),
            remote_address=_without_tag(request.from_),
            remote_target=contact.uri.text,
            route_set=_routes(request),
            remote_seq=request.cseq.number,
            is_confirmed=is_confirmed,
        )

    @classmethod
    def from_uac(cls, request: Request, response: Response) -> "DialogState":
        """Make the dialog that *response* to our *request* opens (RFC 3261 §12.1.2).

        A 1xx without a SIP URI in Contact falls back on the Request-URI, which a 2xx corrects; a 2xx without, or a broken Record-Route,
        raises :class:`ParseError`.
        """
        contact = response.contact
        if contact is not None and not contact.uri.is_sip:
            contact = None
        if contact is None and response.is_success:
            raise ParseError("a 2xx that opens a dialog needs a Contact with a SIP URI")
        return cls(
            call_id=request.call_id,
            local_tag=request.from_.tag,
            remote_tag=response.to.tag,
            local_address=_without_tag(request.from_),
            remote_address=_without_tag(request.to),
            remote_target=request.uri if contact is None else contact.uri.text,
            route_set=_routes(response)[::-1],
            local_seq=request.cseq.number,
            is_confirmed=response.is_success,
        )

    @property
    def id(self) -> DialogId:
        """The dialog's id."""
        return DialogId(self.call_id, self.local_tag, self.remote_tag)

    def confirm(self, response: Response) -> None:
        """A 2xx confirms our early dialog: its route set and Contact are the final ones (RFC 3261 §13.2.2.4).

        Raises :class:`ParseError` for a broken Record-Route and changes nothing then.
        """
        self.route_set = _routes(response)[::-1]
        self.is_confirmed = True
        self.refresh_target(response)

    def refresh_target(self, message: Request | Response) -> None:
        """Take the Contact of an accepted target refresh as the remote target (RFC 3261 §12.2.1.2); a broken one is ignored."""
        try:
            contact = message.contact
        except ParseError:
            return
        if contact is not None and contact.uri.is_sip:
            self.remote_target = contact.uri.text

    def admit(self, request: Request) -> Admission:
        """Check and take the sequence number of a request of the peer (RFC 3261 §12.2.2): gaps are fine, going back is not."""
        number = request.cseq.number
        if self.remote_seq is not None and number <= self.remote_seq:
            return Admission.OUT_OF_ORDER
        self.remote_seq = number
        return Admission.OK

    def next_cseq(self, first: int = 1) -> int:
        """Return the number of our next request; *first* starts the count (RFC 3261 §12.2.1.1)."""
        self.local_seq = first if self.local_seq is None else self.local_seq + 1
        return self.local_seq

    def new_request(self, method: str, cseq: int) -> Request:
        """Make a request in the dialog (RFC 3261 §12.2.1.1), loose or strict routing included; Via and Contact are the sender's to add."""
        uri, routes = self._request_uri_and_routes()
        lines = [("Route", route) for route in routes]
        lines += [
            ("Max-Forwards", MAX_FORWARDS),
            ("From", self._with_tag(self.local_address, self.local_tag)),
            ("To", self._with_tag(self.remote_address, self.remote_tag)),
            ("Call-ID", self.call_id),
            ("CSeq", f"{cseq} {method}"),
        ]
        request = Request(method, uri, Headers(lines))
        request.is_strictly_routed = bool(routes) and routes[0] != self.route_set[0]
        return request

    def next_hop(self) -> Uri:
        """Return the URI that says where requests of ours in the dialog go (RFC 3261 §8.1.2, §12.2.1.1). Raises :class:`ParseError`."""
        if self.route_set:
            first = Address.parse(self.route_set[0]).uri
            return first if "lr" in first.params else first.as_request_uri()
        return Uri.parse(_TARGETS.read(self.remote_target))

    @staticmethod
    def _with_tag(address: str, tag: str) -> str:
        return f"{address};tag={tag}" if tag else address

    def _request_uri_and_routes(self) -> tuple[str, tuple[str, ...]]:
        if not self.route_set:
            return self._stripped_target(), ()
        first = Address.parse(self.route_set[0]).uri
        if "lr" in first.params:
            return self._stripped_target(), self.route_set
        # RFC 3261 §12.2.1.1: a strict router gets its own URI as Request-URI, the target goes last
        return first.as_request_uri().text, (*self.route_set[1:], f"<{self.remote_target}>")

    def _stripped_target(self) -> str:
        return _TARGETS.read(self.remote_target)

    def to_plain(self) -> dict[str, object]:
        """Return the dialog as plain data (strings, numbers, lists): what a journal keeps."""
        return {
            "call_id": self.call_id,
            "local_tag": self.local_tag,
            "remote_tag": self.remote_tag,
            "local_address": self.local_address,
            "remote_address": self.remote_address,
            "remote_target": self.remote_target,
            "route_set": list(self.route_set),
            "local_seq": self.local_seq,
            "remote_seq": self.remote_seq,
            "is_confirmed": self.is_confirmed,
        }

    @classmethod
    def from_plain(cls, plain: Mapping[str, object]) -> "DialogState":
        """Read what :meth:`to_plain` gave. Raises ValueError for anything else."""
        routes = plain.get("route_set")
        local_seq, remote_seq = plain.get("local_seq"), plain.get("remote_seq")
        texts = {}
        for name in ("call_id", "local_tag", "remote_tag", "local_address", "remote_address", "remote_target"):
            value = plain.get(name)
            if not isinstance(value, str):
                raise ValueError(f"dialog: {name} is not a text")
            if "\r" in value or "\n" in value:
                raise ValueError(f"dialog: line end in {name}")
            texts[name] = value
        if not isinstance(routes, list) or not isinstance(local_seq, int | None) or not isinstance(remote_seq, int | None):
            raise ValueError("dialog: broken route set or sequence number")
        try:
            _ = Uri.parse(texts["remote_target"]), [Address.parse(str(route)) for route in routes]
        except ParseError as error:
            raise ValueError(f"dialog: {error.reason}") from error
        return cls(
            **texts,
            route_set=tuple(str(route) for route in routes),
            local_seq=local_seq,
            remote_seq=remote_seq,
            is_confirmed=plain.get("is_confirmed") is True,
        )


def _request_uri(target: str) -> str:
    """Return *target* as it stands in a request line."""
    return Uri.parse(target).as_request_uri().text


_TARGETS = Memory(_request_uri)


def _without_tag(address: Address) -> str:
    """Return *address* without its tag, as it will stand in requests."""
    params = address.params
    if not len(params) or (len(params) == 1 and address.tag):
        return str(Address(address.uri, address.display_name)) if address.display_name else f"<{address.uri.text}>"
    return str(address.with_tag(""))


def _routes(message: Request | Response) -> tuple[str, ...]:
    """Return the Record-Route values in their order, each one read: what we send later must be sound."""
    if "Record-Route" not in message.headers:
        return ()
    _ = message.record_route
    return tuple(message.headers.values("Record-Route"))
