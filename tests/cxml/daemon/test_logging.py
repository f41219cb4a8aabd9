"""The log: two libraries in one stream, no secrets, no forged lines."""

import io
import json
import logging
import time
from collections.abc import Callable, Iterator

import pytest
import structlog
from hypothesis import example, given
from hypothesis import strategies as st

from cxml.daemon.config import Log, LogFormat, LogLevel
from cxml.daemon.logging import call_context, configure_logging
from cxml.daemon.redaction import HIDDEN, MAX_TEXT, Redactor

SECRETS = ("hunter2", "p@ss w0rd", 'quo"te\\', "geh\neim")


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    """Put logging back as it was: other tests look at it."""
    root = logging.getLogger()
    names = ("", "sipua", "cxml", "sipua.transport")
    levels = {name: logging.getLogger(name).level for name in names}
    handlers = root.handlers[:]
    yield
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()
    root.handlers[:] = handlers
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


def capture(level: str = "info", form: str = "json", *, sip_trace: bool = False) -> io.StringIO:
    stream = io.StringIO()
    settings = Log(level=LogLevel(level), format=LogFormat(form), sip_trace=sip_trace)
    configure_logging(settings, SECRETS, stream=stream, is_cached=False)
    return stream


def lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_both_libraries_write_json_lines_with_time_level_and_logger() -> None:
    stream = capture()
    structlog.get_logger("cxml.calls").info("call_began", peer="pbx", count=3, ok=True)
    logging.getLogger("sipua.call").warning("late %s", "BYE")
    ours, theirs = lines(stream)
    assert (ours["level"], ours["logger"], ours["event"], ours["count"], ours["ok"]) == ("info", "cxml.calls", "call_began", 3, True)
    assert (theirs["level"], theirs["logger"], theirs["event"]) == ("warning", "sipua.call", "late BYE")
    assert all(str(line["timestamp"]).endswith("Z") for line in (ours, theirs))
    assert list(ours)[:4] == ["timestamp", "level", "logger", "event"]


def test_the_call_sid_of_the_context_is_in_lines_of_both() -> None:
    stream = capture()
    with call_context("CA1", peer="pbx"):
        structlog.get_logger("cxml").info("one")
        logging.getLogger("sipua.refer").info("two")
    structlog.get_logger("cxml").info("three")
    assert [(line.get("call_sid"), line.get("peer")) for line in lines(stream)] == [("CA1", "pbx"), ("CA1", "pbx"), (None, None)]


def test_the_level_holds_for_ours_and_others_only_warn() -> None:
    stream = capture("debug")
    structlog.get_logger("cxml").debug("a")
    logging.getLogger("sipua.dialog").debug("b")
    logging.getLogger("httpx").info("HTTP Request: GET http://app/?token=1")
    logging.getLogger("uvicorn.error").warning("c")
    assert [line["event"] for line in lines(stream)] == ["a", "b", "c"]
    stream = capture("warning")
    structlog.get_logger("cxml").info("a")
    logging.getLogger("sipua.dialog").info("b")
    assert stream.getvalue() == ""


def test_the_sip_trace_is_shown_whatever_the_level() -> None:
    stream = capture("error", sip_trace=True)
    logging.getLogger("sipua.transport").debug("in udp:10.0.0.1:5060: OPTIONS")
    logging.getLogger("sipua.call").info("no")
    assert [line["event"] for line in lines(stream)] == ["in udp:10.0.0.1:5060: OPTIONS"]
    stream = capture("info")
    logging.getLogger("sipua.transport").debug("in udp:10.0.0.1:5060: OPTIONS")
    assert stream.getvalue() == ""


def test_configuring_twice_writes_each_line_once() -> None:
    capture()
    stream = capture()
    logging.getLogger("sipua.call").info("once")
    assert len(lines(stream)) == 1


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("make", "is_json"), [(Terminal, False), (io.StringIO, True)])
def test_a_terminal_gets_readable_lines_and_a_pipe_gets_json(make: Callable[[], io.StringIO], is_json: bool) -> None:
    stream = make()
    configure_logging(Log(), stream=stream, is_cached=False)
    structlog.get_logger("cxml").info("call_began", peer="pbx", detail="two words", empty="")
    text = stream.getvalue()
    assert text.startswith("{") is is_json
    assert is_json or text.rstrip().endswith('info    call_began peer=pbx detail="two words" empty=""')


@pytest.mark.parametrize("form", ["json", "console"])
def test_no_text_forges_a_line_or_steers_a_terminal(form: str) -> None:
    stream = capture(form=form)
    evil = 'x\r\n{"event": "forged"}\x1b[31m\u2028\x85\u202e\x00\ud800'
    structlog.get_logger("cxml").warning(evil, **{evil: evil}, nested={"a": [evil, (evil,)]}, data=evil.encode("utf-8", "replace"))
    logging.getLogger("sipua.transport").warning("bad: %s", evil)
    text = stream.getvalue()
    assert len(text.splitlines()) == 2
    assert all(line.isprintable() for line in text.splitlines())


@pytest.mark.parametrize("form", ["json", "console"])
def test_a_traceback_can_not_forge_a_line_either(form: str) -> None:
    stream = capture(form=form)
    try:
        raise ValueError("hunter2\n12:00:00 info forged \x1b[0m\r12:00")
    except ValueError:
        structlog.get_logger("cxml").exception("crashed")
        logging.getLogger("sipua.call").exception("crashed")
    text = stream.getvalue()
    assert "hunter2" not in text
    assert text.count("ValueError: ***") == 2
    heads = [line for line in text.split("\n") if line and not line.startswith("    | ")]
    assert len(heads) == 2
    assert "\x1b" not in text
    assert "\r" not in text


@pytest.mark.parametrize(
    "text",
    [
        "token hunter2 sent",
        "http://u:hunter2@app/",
        "http://u:p%40ss+w0rd@app/",
        "?key=p%40ss%20w0rd&x",
        repr('quo"te\\'),
        "geh\neim",
        "Authorization: Digest username=hunter2",
        "INVITE sip:a SIP/2.0\r\nauthorization: Digest username=cxmld, response=hunter2\r\n more=hunter2\r\nTo: x",
        r"in udp:1.2.3.4:5060: INVITE\r\nProxy-Authorization: Digest response=abc\r\n folded=abc\r\nTo: x",
        "{'Authorization': 'Basic abc'}",
        "Contact: <sip:bob:abc@example.com:5060>",
        "AUTHORIZATION\t : Digest response=abc",
        "aUthorization:\r\n\tDigest response=abc,\r\n  opaque=abc\r\nTo: x",
        "Authorization:Digest\tabc",
        "Proxy-Authorization: Digest response=abc\n folded=abc",
        "Authentication-Info: rspauth=abc",
        "proxy-authentication-info : rspauth=abc\r\n\tnextnonce=abc",
        r"Authentication-Info: rspauth=abc\r\n folded=abc\r\nTo: x",
        "m: <sip:bob;phone-context=x:abc@example.com>",
        "Refer-To: <sips:bob:abc@[::1]:5061;transport=tls?X-A=b>",
        "f: SIP:bob:abc@example.com",
        "http://app/voice?token=abc",
        "http://app/voice?a=1&api_key=abc&b=2",
        "https://app/v?X-Amz-Signature=abc#f",
        "GET /v?AUTH=abc HTTP/1.1",
        "ConnectError('http://bob:abc@app/v')",
        "http://abc@app/",
    ],
)
def test_no_secret_is_logged(text: str) -> None:
    stream = capture()
    structlog.get_logger("cxml").info("event", text=text, nested=[{"deep": text}])
    logging.getLogger("sipua.call").info("%s", text)
    logged = stream.getvalue()
    assert not any(secret in logged for secret in ("hunter2", "p@ss", "p%40ss", "quo", "geh", "eim", "abc", "folded"))
    assert HIDDEN in logged


def test_values_under_a_secret_name_are_hidden_whatever_they_are() -> None:
    stream = capture()
    structlog.get_logger("cxml").info(
        "event",
        inbound_password="short",
        Authentication_Info="short",
        password="short",
        auth_token=b"x1",
        headers={"Proxy-Authorization": "Basic y2", "Set-Cookie": ["z3"], "To": "bob"},
    )
    (line,) = lines(stream)
    assert (line["inbound_password"], line["Authentication_Info"]) == (HIDDEN, HIDDEN)
    assert (line["password"], line["auth_token"]) == (HIDDEN, HIDDEN)
    assert line["headers"] == {"Proxy-Authorization": HIDDEN, "Set-Cookie": HIDDEN, "To": "bob"}


def test_the_header_behind_an_authorization_is_kept() -> None:
    assert Redactor().hide("Authorization: Digest a=1\r\nTo: bob") == f"Authorization: {HIDDEN}\r\nTo: bob"
    for text in ("sip:bob@example.com:5060 at 10:30", "<sip:10.0.0.1:5060;lr>, <sip:a@b>", "http://app:8000/?who=bob@example.com"):
        assert Redactor().hide(text) == text


def test_short_secrets_do_not_garble_the_log() -> None:
    assert Redactor(["a", ""]).text("banana") == "banana"


def test_long_texts_are_cut_and_deep_values_are_shown_as_text() -> None:
    assert len(Redactor().text("x" * 100_000)) == MAX_TEXT + 1
    deep: list[object] = []
    for _ in range(50):
        deep = [deep]
    json.dumps(Redactor().value(deep))
    ring: list[object] = []
    ring.append(ring)
    json.dumps(Redactor().value(ring))


@given(st.text(max_size=80), st.text(min_size=4, max_size=12), st.text(max_size=20))
@example("authorization:", "aaaa", "aaaa")
def test_a_secret_is_found_in_every_text(before: str, secret: str, after: str) -> None:
    redactor = Redactor([secret])
    shown = redactor.text(before + secret + after)
    assert "\n" not in shown
    assert shown.isprintable()
    if secret not in HIDDEN * 3 and secret not in redactor.text(before) + HIDDEN + redactor.text(after):
        assert secret not in shown


def test_a_log_that_nobody_reads_any_more_ends_no_call() -> None:
    stream = capture()
    stream.close()
    structlog.get_logger("cxml").info("event")


@pytest.mark.parametrize(
    "piece",
    [
        "sip:",
        "sip:a:",
        "sips:a",
        "sip:a:b@",
        "://",
        "://a",
        "authorization",
        "authorization:",
        "authorization: x\\n ",
        "?a",
        "?token",
        "&key=",
        "sip:a;b",
        "authentication-info",
    ],
)
def test_hiding_takes_time_in_proportion_to_the_text(piece: str) -> None:
    def seconds(length: int) -> float:
        text = piece * (length // len(piece))
        runs = []
        for _ in range(3):
            began = time.thread_time()
            Redactor().hide(text)
            runs.append(time.thread_time() - began)
        return min(runs)

    assert seconds(200_000) < 40 * seconds(20_000) + 0.05  # ten times, with room for a busy machine; a square would be a hundred


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("to sip:bob:pw@h now", f"to sip:bob:{HIDDEN}@h now"),
        ("SIPS:bob:p:w@h", f"SIPS:bob:{HIDDEN}@h"),
        ("sip:a sip:b:c@d;x=sip:e:f@g", f"sip:a sip:b:{HIDDEN}@d;x=sip:e:{HIDDEN}@g"),
        ("sip:bob@h:5060", "sip:bob@h:5060"),
        ("sip:h:5060;user=a@b", "sip:h:5060;user=a@b"),
    ],
)
def test_a_password_in_a_sip_uri_is_hidden_and_nothing_else(text: str, shown: str) -> None:
    assert Redactor().hide(text) == shown
