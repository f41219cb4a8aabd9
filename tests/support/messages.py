"""Small SIP messages for tests."""

from sipua.message import Headers, Request, Response, make_response


def request(
    method: str = "OPTIONS",
    *,
    branch: str = "z9hG4bKb1",
    cseq: int = 1,
    to_tag: str = "",
    from_tag: str = "a1",
    call_id: str = "c1@192.0.2.1",
    uri: str = "sip:bob@192.0.2.2",
    via: str | None = "SIP/2.0/UDP 192.0.2.1:5060",
    cseq_method: str | None = None,
) -> Request:
    """Make a request; *via* None leaves the Via out, as users of the transaction layer do."""
    items = [] if via is None else [("Via", via + (f";branch={branch}" if branch else ""))]
    items += [
        ("Max-Forwards", "70"),
        ("From", f"<sip:alice@192.0.2.1>;tag={from_tag}"),
        ("To", "<sip:bob@192.0.2.2>" + (f";tag={to_tag}" if to_tag else "")),
        ("Call-ID", call_id),
        ("CSeq", f"{cseq} {cseq_method or method}"),
    ]
    return Request(method, uri, Headers(items))


def response(to: Request, status: int, tag: str = "b1") -> Response:
    """Make a response to *to*."""
    return make_response(to, status, to_tag=tag)
