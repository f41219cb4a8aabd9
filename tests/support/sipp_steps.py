"""Writes SIPp scenarios of a caller step by step: what the XML of such a scenario repeats stands here once."""

import re
from collections.abc import Sequence
from itertools import pairwise

REQUEST = re.compile(r"CDATA\[\n(?!ACK )([A-Z]+) ")
"""A step that sends what somebody answers."""

PHONE = "<sip:phone@[local_ip]:[local_port]>;tag=[pid]caller[call_number]"
DAEMON = "<sip:[service]@[remote_ip]:[remote_port]>"
CONTACT = "Contact: <sip:phone@[local_ip]:[local_port];transport=[transport]>"
VIA = "Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]"

SDP = """v=0
o=phone 1 {version} IN IP[local_ip_type] [local_ip]
s=-
c=IN IP[media_ip_type] [media_ip]
t=0 0
m=audio [media_port] RTP/AVP 0 101
a=rtpmap:0 PCMU/8000
a=rtpmap:101 telephone-event/8000
a={direction}"""


def scenario(*steps: str | Sequence[str]) -> str:
    """Return a whole scenario.

    Raises :class:`ValueError` for a request that another step than a ``<recv>`` follows: its answer may come before that step.
    """
    flat = [part for step in steps for part in ([step] if isinstance(step, str) else step)]
    for step, following in pairwise(flat):
        if (sent := REQUEST.search(step)) and not following.startswith("<recv"):
            raise ValueError(f"the answer to {sent[1]} may come before this step is through: {following}")
    return '<?xml version="1.0" encoding="UTF-8"?>\n<scenario name="caller">\n' + "\n".join(flat) + "\n</scenario>\n"


def sdp(direction: str = "sendrecv", version: int = 1) -> str:
    """Return the phone's description."""
    return SDP.format(direction=direction, version=version)


def _send(lines: list[str], body: str, content_type: str, *, again: bool) -> str:
    if body:
        lines.append(f"Content-Type: {content_type}")
    text = "\n".join([*lines, "Content-Length: [len]", "", body])
    attribute = ' retrans="500"' if again else ""
    return f"<send{attribute}>\n<![CDATA[\n{text}\n]]>\n</send>"


def invite(*headers: str, body: str | None = None, cseq: int = 1) -> str:
    """Open a call."""
    lines = [
        "INVITE sip:[service]@[remote_ip]:[remote_port] SIP/2.0",
        VIA,
        f"From: {PHONE}",
        f"To: {DAEMON}",
        "Call-ID: [call_id]",
        f"CSeq: {cseq} INVITE",
        CONTACT,
        "Allow: INVITE, ACK, CANCEL, BYE, REFER, NOTIFY",
        "Max-Forwards: 70",
        *headers,
    ]
    return _send(lines, sdp() if body is None else body, "application/sdp", again=True)


def request(method: str, cseq: int, *headers: str, body: str = "", content_type: str = "application/sdp") -> str:
    """Send a request in the dialog, again and again until it is answered."""
    lines = [
        f"{method} [next_url] SIP/2.0",
        VIA,
        "[routes]",
        f"From: {PHONE}",
        f"To: {DAEMON}[peer_tag_param]",
        "Call-ID: [call_id]",
        f"CSeq: {cseq} {method}",
        "Max-Forwards: 70",
        CONTACT,
        *headers,
    ]
    return _send(lines, body, content_type, again=method != "ACK")


def notify(cseq: int, status: str, state: str = "terminated;reason=noresource", event: str = "refer", body: str | None = None) -> str:
    """Report a status of a transfer; *body* replaces the status line."""
    fragment = f"SIP/2.0 {status}\n" if body is None else body
    headers = [f"Event: {event}", f"Subscription-State: {state}"]
    return request("NOTIFY", cseq, *headers, body=fragment, content_type="message/sipfrag;version=2.0")


def respond(status: str, *headers: str, body: str = "") -> str:
    """Answer the request that came last."""
    lines = [f"SIP/2.0 {status}", "[last_Via:]", "[last_From:]", "[last_To:]", "[last_Call-ID:]", "[last_CSeq:]", CONTACT, *headers]
    return _send(lines, body, "application/sdp", again=False)


def receive(what: str, *, action: str = "", attributes: str = "") -> str:
    """Expect a request (``REFER``) or a response (``200``); a response brings the route set."""
    kind = "response" if what.isdigit() else "request"
    extra = (' rrs="true"' if what == "200" else "") + (f" {attributes}" if attributes else "")
    inner = f"<action>{action}</action>" if action else ""
    return f'<recv {kind}="{what}"{extra}>{inner}</recv>'


def optional(*codes: str) -> list[str]:
    """Let these responses come or not."""
    return [f'<recv response="{code}" optional="true"/>' for code in codes]


def branch(code: str, label: str, *, action: str = "") -> str:
    """If this response comes in place of the one that is expected, do *action* and go on at *label*."""
    return f'<recv response="{code}" optional="true" next="{label}"><action>{action}</action></recv>'


def at(label: str) -> str:
    """Name a place in the scenario."""
    return f'<label id="{label}"/>'


def leap(label: str) -> str:
    """Go on at *label*."""
    return f'<nop next="{label}"/>'


def pause(milliseconds: int) -> str:
    """Wait."""
    return f'<pause milliseconds="{milliseconds}"/>'


def refuse_ack() -> str:
    """Acknowledge a final response that is no 2xx (RFC 3261 §17.1.1.3)."""
    return _send(_beside_invite("ACK", "[last_Via:]", "[peer_tag_param]"), "", "", again=False)


def cancel(steps_back: int) -> str:
    """Cancel the INVITE that was sent *steps_back* steps before."""
    via = VIA.replace("[branch]", f"[branch-{steps_back}]")
    return _send(_beside_invite("CANCEL", via, ""), "", "", again=True)


def _beside_invite(method: str, via: str, tag: str) -> list[str]:
    return [
        f"{method} sip:[service]@[remote_ip]:[remote_port] SIP/2.0",
        via,
        f"From: {PHONE}",
        f"To: {DAEMON}{tag}",
        "Call-ID: [call_id]",
        f"CSeq: 1 {method}",
        "Max-Forwards: 70",
    ]


KEEP = "".join(
    f'<ereg regexp=".*" search_in="hdr" header="{name}:" assign_to="{variable}"/>'
    for name, variable in (("Via", "via"), ("CSeq", "number"))
)
"""An action of :func:`receive`: keep what :func:`respond_later` needs."""


def respond_later(status: str) -> str:
    """Answer the request that was received with :data:`KEEP`, after others have passed."""
    lines = [f"SIP/2.0 {status}", "Via:[$via]", f"From: {DAEMON}[peer_tag_param]", f"To: {PHONE}", "Call-ID: [call_id]", "CSeq:[$number]"]
    return _send(lines, "", "", again=False)


def opened(*headers: str) -> list[str]:
    """Call and be answered."""
    return [invite(*headers), *optional("100", "180"), receive("200"), request("ACK", 1)]


def hung_up_on() -> list[str]:
    """Expect BYE and answer it."""
    return [receive("BYE"), respond("200 OK")]
