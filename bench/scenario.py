"""The call of the bench as a SIPp scenario: one transfer whose end the unit under test has to say with BYE.

INVITE with SDP, 100, 200, ACK, REFER, 202, NOTIFY 100, 200, NOTIFY 200, 200, BYE, 200.
"""

FINAL_NOTIFY = 3
"""The CSeq of the NOTIFY with the outcome."""

_CALLER = "<sip:call[call_number]@[local_ip]:[local_port]>;tag=[pid]t[call_number]"
_UNIT = "<sip:[service]@[remote_ip]:[remote_port]>"
_CONTACT = "Contact: <sip:caller@[local_ip]:[local_port];transport=[transport]>"

_KEEP_CALLER = '<ereg regexp=".*" search_in="hdr" header="From:" assign_to="caller"/>'

_PROVISIONAL = ('<recv response="100" optional="true"/>', '<recv response="180" optional="true"/>')

_SDP = """v=0
o=caller 1 1 IN IP[local_ip_type] [local_ip]
s=-
c=IN IP[media_ip_type] [media_ip]
t=0 0
m=audio [media_port] RTP/AVP 0
a=rtpmap:0 PCMU/8000"""


def transfer() -> str:
    """Return the scenario."""
    return _document(
        _request("INVITE", 1, body=_SDP, kind="application/sdp"),
        *_PROVISIONAL,
        '<recv response="200" rrs="true"/>',
        _request("ACK", 1),
        '<recv request="REFER"/>',
        _response("202 Accepted"),
        _notify(2, "100 Trying", "active;expires=60"),
        '<recv response="200"/>',
        _notify(FINAL_NOTIFY, "200 OK", "terminated;reason=noresource"),
        '<recv response="200"/>',
        '<recv request="BYE"/>',
        _response("200 OK"),
    )


def held() -> str:
    """Return a scenario that opens a dialog with a transfer in progress and keeps it until SIPp is stopped."""
    return _document(
        _request("INVITE", 1, body=_SDP, kind="application/sdp"),
        *_PROVISIONAL,
        '<recv response="200" rrs="true"/>',
        _request("ACK", 1),
        '<recv request="REFER"/>',
        _response("202 Accepted"),
        _notify(2, "100 Trying", "active;expires=3600"),
        '<recv response="200"/>',
        '<pause milliseconds="600000"/>',
    )


def answering() -> str:
    """Return the scenario of SIPp as the unit under test: the ceiling."""
    return _document(
        f'<recv request="INVITE" rrs="true"><action>{_KEEP_CALLER}</action></recv>',
        _response("100 Trying"),
        _response("200 OK", body=_SDP, tagged=True),
        '<recv request="ACK"/>',
        _refer(),
        '<recv response="202"/>',
        '<recv request="NOTIFY"/>',
        _response("200 OK"),
        '<recv request="NOTIFY"/>',
        _response("200 OK"),
        _bye(),
        '<recv response="200"/>',
    )


def _document(*steps: str) -> str:
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<scenario name="transfer">\n'
        + "\n".join(step for step in steps if step)
        + "\n</scenario>\n"
    )


def _send(lines: list[str], body: str, kind: str, *, again: bool) -> str:
    if body:
        lines.append(f"Content-Type: {kind}")
    text = "\n".join([*lines, "Content-Length: [len]", "", body])
    attribute = ' retrans="500"' if again else ""
    return f"<send{attribute}>\n<![CDATA[\n{text}\n]]>\n</send>"


def _request(method: str, cseq: int, *headers: str, body: str = "", kind: str = "") -> str:
    uri = "sip:[service]@[remote_ip]:[remote_port]" if method == "INVITE" else "[next_url]"
    lines = [
        f"{method} {uri} SIP/2.0",
        "Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]",
        f"From: {_CALLER}",
        f"To: {_UNIT}{'' if method == 'INVITE' else '[peer_tag_param]'}",
        "Call-ID: [call_id]",
        f"CSeq: {cseq} {method}",
        _CONTACT,
        "Max-Forwards: 70",
        *headers,
    ]
    return _send(lines, body, kind, again=method != "ACK")


def _notify(cseq: int, status: str, state: str) -> str:
    headers = ["Event: refer", f"Subscription-State: {state}"]
    return _request("NOTIFY", cseq, *headers, body=f"SIP/2.0 {status}\n", kind="message/sipfrag;version=2.0")


def _response(status: str, *, body: str = "", tagged: bool = False) -> str:
    to = "[last_To:];tag=[pid]u[call_number]" if tagged else "[last_To:]"
    lines = [f"SIP/2.0 {status}", "[last_Via:]", "[last_From:]", to, "[last_Call-ID:]", "[last_CSeq:]", _CONTACT]
    return _send(lines, body, "application/sdp", again=False)


def _from_unit(method: str, cseq: int, *headers: str) -> str:
    lines = [
        f"{method} [next_url] SIP/2.0",
        "Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]",
        "From: <sip:[service]@[local_ip]:[local_port]>;tag=[pid]u[call_number]",
        "To:[$caller]",
        "Call-ID: [call_id]",
        f"CSeq: {cseq} {method}",
        _CONTACT,
        "Max-Forwards: 70",
        *headers,
    ]
    return _send(lines, "", "", again=True)


def _refer() -> str:
    return _from_unit("REFER", 1, "Refer-To: <sip:target@127.0.0.1:9>")


def _bye() -> str:
    return _from_unit("BYE", 2)
