"""What is logged of traffic."""

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipua.transport.trace import LOG_INTERVAL, LogLimiter, redact


@pytest.mark.parametrize(
    "name",
    [b"Authorization", b"Proxy-Authorization", b"AUTHORIZATION", b"authorization \t", b"Authentication-Info", b"proxy-authentication-info"],
)
def test_credentials_are_taken_out_folded_lines_included(name: bytes) -> None:
    data = b"REGISTER sip:r SIP/2.0\r\n" + name + b": Digest username=a,\r\n response=secret,\r\n\tnonce=secret\r\nTo: <sip:a>\r\n\r\nbody"
    redacted = redact(data)
    assert b"secret" not in redacted
    assert redacted.endswith(b"***\r\nTo: <sip:a>\r\n\r\nbody")


def test_media_keys_are_taken_out_and_the_rest_stays() -> None:
    data = b"m=audio 1 RTP/SAVP 0\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:c2VjcmV0\r\na=sendrecv\r\n"
    assert redact(data) == b"m=audio 1 RTP/SAVP 0\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:***\r\na=sendrecv\r\n"
    assert redact(b"WWW-Authenticate: Digest realm=x\r\n") == b"WWW-Authenticate: Digest realm=x\r\n"


@given(st.binary(max_size=200))
def test_any_bytes_can_be_redacted(data: bytes) -> None:
    assert redact(redact(data)) == redact(data)


def test_one_line_of_a_kind_passes_in_an_interval_and_tells_how_many_were_held_back(caplog: pytest.LogCaptureFixture) -> None:
    now = 100.0
    limiter = LogLimiter(lambda: now)
    for _ in range(5):
        limiter.warn("bad", "bad message from %s", "x")
    limiter.warn("other", "another kind")
    now += LOG_INTERVAL
    limiter.warn("bad", "bad message from %s", "y", error=ValueError("v"))
    assert [record.getMessage() for record in caplog.records] == [
        "bad message from x",
        "another kind",
        "bad message from y (4 more like it since the last line)",
    ]
    assert [record.levelno for record in caplog.records] == [logging.WARNING, logging.WARNING, logging.ERROR]
