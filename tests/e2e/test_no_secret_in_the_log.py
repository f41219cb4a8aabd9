"""A daemon process with the SIP trace on: what peers and strangers send as credentials is in no line of its log."""

import json
import socket
from pathlib import Path

import pytest

from tests.support.daemon import HOST, daemon_process

MARK = "s3cr3tmark"
"""Stands wherever a secret may stand."""

HEADERS = {
    "plain": f'Authorization: Digest username="u", realm="cxmld", nonce="n", uri="sip:x", response="{MARK}"',
    "odd case and blanks": f"aUTHORIZATION \t :  Digest response={MARK}",
    "folded": f'Authorization: Digest username="u",\r\n\tresponse="{MARK}",\r\n  opaque="{MARK}"',
    "folded at once": f"Authorization:\r\n Digest response={MARK}",
    "bare line feeds": f"Authorization: Digest a=b,\n response={MARK}",
    "to a proxy": f"Proxy-Authorization: Digest response={MARK}",
    "two": f"Authorization: Basic {MARK}\r\nAuthorization: Bearer {MARK}",
    "of a server": f'Authentication-Info: rspauth="{MARK}"\r\nProxy-Authentication-Info: nextnonce="{MARK}"',
    "in a URI": f"Referred-By: <sip:bob:{MARK}@example.com>",
    "in a compact header": f"r: <sip:bob;x=1:{MARK}@example.com>",
    "in the query of a URL": f"Call-Info: <http://example.com/?token={MARK}>",
    "in the userinfo of a URL": f"Call-Info: <https://bob:{MARK}@example.com/>",
}


def message(number: int, header: str, port: int, first: str = f"OPTIONS sip:x@{HOST} SIP/2.0") -> bytes:
    lines = (
        first,
        f"Via: SIP/2.0/UDP {HOST}:{port};branch=z9hG4bKmark{number}",
        "Max-Forwards: 70",
        f"From: <sip:a@{HOST}>;tag=f",
        f"To: <sip:x@{HOST}>",
        f"Call-ID: mark{number}",
        f"CSeq: 1 {first.split()[0]}",
        header,
        "Content-Length: 0",
    )
    return "\r\n".join((*lines, "", "")).encode()


@pytest.mark.parametrize("level", ["debug", "info"])
async def test_no_credential_is_in_the_log_or_the_trace(level: str, tmp_path: Path) -> None:
    settings = f'level = "{level}"\nsip_trace = true\n[[peers]]\nname = "pbx"\nmatch = ["{HOST}"]\n'
    async with daemon_process(tmp_path, settings) as daemon:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.bind((HOST, 0))
            port = sender.getsockname()[1]
            for number, header in enumerate(HEADERS.values()):
                for first in (f"OPTIONS sip:x@{HOST} SIP/2.0", f"OPTIONS sip:bob:{MARK}@{HOST} SIP/2.0", "OPTIONS nonsense SIP/2.0"):
                    sender.sendto(message(number, header, port, first), (HOST, daemon.port))
            sender.sendto(message(99, "X-Last: seen", port), (HOST, daemon.port))
            await daemon.wait_event_with("X-Last: seen")
        assert await daemon.stop() == 0
    shown = json.dumps(daemon.lines)
    assert shown.count("***") >= len(HEADERS)
    assert MARK not in shown
