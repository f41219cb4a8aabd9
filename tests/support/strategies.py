"""Hypothesis strategies for valid SIP: what the grammar allows (RFC 3261 §25.1), rarely used corners included."""

from hypothesis import strategies as st

from sipua.message import Address, CSeq, Headers, Params, Request, Response, Uri, Via
from sipua.message.grammar import quote
from sipua.usage.subscription.package import NotifyInfo

_TOKEN_CHARS = "abzABZ019-.!%*_+`'~"
TOKENS = st.text(_TOKEN_CHARS, min_size=1, max_size=12)
METHODS = st.sampled_from(["INVITE", "ACK", "BYE", "CANCEL", "OPTIONS", "REFER", "NOTIFY", "INFO", "UPDATE"]) | TOKENS
TEXTS = st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), max_size=24)
"""UTF-8 text without line ends."""
HOSTS = st.sampled_from(["example.com", "a.b-c.example.", "pbx_1", "192.0.2.1", "[2001:db8::9]", "[::ffff:192.0.2.1]", "x"])
PORTS = st.none() | st.integers(0, 65535)
USERS = st.none() | st.text(max_size=12, min_size=1, alphabet=st.characters(exclude_categories=["Cs"]))
NUMBERS = st.integers(0, 2**32 - 1)


@st.composite
def params(draw: st.DrawFn, reserved: tuple[str, ...] = ()) -> Params:
    """Parameters: bare names, tokens, quoted strings; none of the names *reserved*."""
    names = draw(st.lists(TOKENS.filter(lambda name: name.lower() not in reserved), max_size=4))
    values = st.none() | TOKENS | TEXTS.map(quote)
    return Params((name, draw(values)) for name in names)


@st.composite
def uri_params(draw: st.DrawFn) -> Params:
    """Parameters of a URI: no quoted strings there."""
    return Params((name, draw(st.none() | TOKENS)) for name in draw(st.lists(TOKENS, max_size=3)))


@st.composite
def uris(draw: st.DrawFn) -> Uri:
    """SIP and SIPS URIs."""
    scheme = draw(st.sampled_from(["sip", "sips"]))
    return Uri.build(draw(HOSTS), user=draw(USERS), port=draw(PORTS), params=draw(uri_params()), scheme=scheme)


@st.composite
def addresses(draw: st.DrawFn, tag: bool = False) -> Address:
    """Addresses with any display name; *tag* adds one."""
    name = draw(TEXTS.map(str.strip))
    address = Address(draw(uris()), name, draw(params(("tag",))))
    return address.with_tag(draw(TOKENS)) if tag else address


@st.composite
def vias(draw: st.DrawFn) -> Via:
    """Via values, some without a branch."""
    transport = draw(st.sampled_from(["UDP", "TCP", "TLS", "SCTP"]) | TOKENS.map(str.upper))
    made = Via(transport, draw(HOSTS), draw(PORTS), draw(params(("branch", "received", "rport", "maddr"))))
    return made.with_param("branch", draw(TOKENS)) if draw(st.booleans()) else made


@st.composite
def header_lines(draw: st.DrawFn) -> tuple[str, str]:
    """A header that the parser does not know, with any value."""
    return "X-" + draw(TOKENS), draw(TEXTS.map(lambda text: text.strip(" \t")))


@st.composite
def headers(draw: st.DrawFn, method: str) -> Headers:
    """What each message has, and some unknown lines."""
    made = Headers()
    for via in draw(st.lists(vias(), min_size=1, max_size=3)):
        made.add("Via", str(via))
    made.add("From", str(draw(addresses(tag=True))))
    made.add("To", str(draw(addresses(tag=draw(st.booleans())))))
    made.add("Call-ID", draw(TOKENS) + draw(st.sampled_from(["", "@example.com"])))
    made.add("CSeq", str(CSeq(draw(NUMBERS), method)))
    for name, value in draw(st.lists(header_lines(), max_size=4)):
        made.add(name, value)
    return made


@st.composite
def requests(draw: st.DrawFn) -> Request:
    """Whole requests."""
    method = draw(METHODS)
    return Request(method, draw(uris()).as_request_uri().text, draw(headers(method)), draw(st.binary(max_size=60)))


@st.composite
def responses(draw: st.DrawFn) -> Response:
    """Whole responses."""
    reason = draw(TEXTS)
    return Response(draw(st.integers(100, 699)), reason, draw(headers(draw(METHODS))), draw(st.binary(max_size=60)))


@st.composite
def notifies(draw: st.DrawFn) -> NotifyInfo:
    """What a NOTIFY says, right or wrong."""
    return NotifyInfo(
        draw(st.integers(0, 9)),
        None,
        draw(st.sampled_from([None, "active", "pending", "terminated", "strange"])),
        draw(st.none() | NUMBERS),
        draw(st.sampled_from([None, "noresource", "timeout", "x"])),
        draw(st.sampled_from([None, "text/plain", "text/html"])),
        draw(st.sampled_from([b"", b"word", b"&"])),
    )
