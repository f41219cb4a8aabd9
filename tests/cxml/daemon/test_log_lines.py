"""The short way to a line of the log writes what the long one does, and takes it only where there is nothing to hide."""

import json
import logging

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cxml.calls.context import call_context, call_values
from cxml.daemon.log_lines import LineMaker
from cxml.daemon.redaction import HIDDEN, MAX_TEXT, Redactor

SECRETS = ("hunter2", "p@ss w0rd", 'quo"te\\', "geh\neim")

PIECES = (
    "sip:", "SIPS:", "ſip:", "bob", ":", "@", "://", "http://", "?", "&", "key=", "token=", "ToKen", "=", "authorization", "Authorızation:",
    "AUTHENTICATION-INFO", "hunter2", "hunter", "2", "p@ss", " ", " w0rd", '"', "\\", "\n", "\r\n ", "\x1b", "\u2028", "\x85", "\x7f",
    "é", "\ud800", "{", "}", ",", "/", "#", "<", ">", ";", "1.2.3.4:5060",
)  # fmt: skip

texts = st.lists(st.sampled_from(PIECES), max_size=8).map("".join)
names = st.one_of(
    st.sampled_from(("peer", "to", "password", "Set-Cookie", "event", "level", "timestamp", "logger", "exception", "a b")), texts
)
values = st.one_of(texts, st.integers(), st.booleans(), st.none(), st.floats(), st.binary(max_size=4), st.lists(texts, max_size=2))


class Long(LineMaker):
    """Knows the long way only."""

    def _plain(self, stamp: str, level: str, logger: str, event: object) -> None:
        return None


def without_stamp(line: str) -> str:
    return line.partition(", ")[2]


@given(texts, st.dictionaries(names, values, max_size=5), texts)
@example("call_began", {"from_": "sip:bob:secret@example.com"}, "cxml")
@example("x", {"a": "sip:bob", "b": ":pw@host"}, "cxml")
@example("x", {"a": "hunter", "b": "2"}, "cxml")
@example("x", {"duration_s": float("nan")}, "cxml")
def test_both_ways_write_the_same_line(said: str, event: dict[str, object], logger: str) -> None:
    short, long = LineMaker(Redactor(SECRETS), is_json=True), Long(Redactor(SECRETS), is_json=True)
    written = short.line("info", logger, {**event, "event": said})
    assert without_stamp(written) == without_stamp(long.line("info", logger, {**event, "event": said}))
    assert written.isprintable() or "exception" in event


@given(st.lists(texts, min_size=1, max_size=5))
def test_what_is_clean_together_is_clean_one_by_one(parts: list[str]) -> None:
    redactor = Redactor(SECRETS)
    if redactor.is_clean(" ".join(parts)):
        assert [redactor.text(part) for part in parts] == parts


CLEAN = (
    "sip:bob@example.com:5060",
    "http://app/voice?who=bob@example.com",
    "call_began 1-77@127.0.0.1 sip:caller@127.0.0.1:5061 udp:127.0.0.1:5061 3b1f",
    "cause=16 text=ok",
    "Grüße aus Köln",
)
SUSPECT = (
    "sip:bob:pw@example.com", "sips:bob:p:w@h", "http://u:pw@app/", "http://token@app/", "?token=x", "Authorization: x", "a\nb", "hunter2",
    "x" * (MAX_TEXT + 1),
)  # fmt: skip


@pytest.mark.parametrize("text", CLEAN)
def test_ordinary_values_are_clean(text: str) -> None:
    assert Redactor(SECRETS).is_clean(text)


@pytest.mark.parametrize("text", SUSPECT)
def test_what_could_be_a_secret_is_looked_at_closely(text: str) -> None:
    assert not Redactor(SECRETS).is_clean(text)


@pytest.fixture
def maker() -> LineMaker:
    return LineMaker(Redactor(SECRETS), is_json=True)


def test_names_of_values_are_remembered_up_to_a_limit(maker: LineMaker) -> None:
    lines = [json.loads(maker.line("info", f"logger{number}", {"event": "e", f"name{number}": number})) for number in range(3000)]
    assert [line[f"name{number}"] for number, line in enumerate(lines)] == list(range(3000))
    assert len(maker._names) == len(maker._heads) == 1024


def test_a_secret_is_hidden_under_a_name_that_was_seen_with_an_ordinary_value(maker: LineMaker) -> None:
    maker.line("info", "cxml", {"event": "e", "text": "fine", "password": ""})
    line = json.loads(maker.line("info", "cxml", {"event": "e", "text": "is hunter2", "password": "short"}))
    assert (line["text"], line["password"]) == (f"is {HIDDEN}", HIDDEN)


@pytest.fixture
def record() -> logging.LogRecord:
    return logging.LogRecord("sipua.call", logging.WARNING, __file__, 1, "late %s of %d", ("BYE", 3), None)


def test_a_record_of_the_standard_library_becomes_the_same_kind_of_line(maker: LineMaker, record: logging.LogRecord) -> None:
    record.stack_info = "Stack: hunter2"
    line = json.loads(maker.record_line(record))
    assert {key: line[key] for key in line if key != "timestamp"} == {
        "level": "warning", "logger": "sipua.call", "event": "late BYE of 3", "stack_info": f"Stack: {HIDDEN}",
    }  # fmt: skip
    assert len(line["timestamp"]) == len("2026-01-01T00:00:00.000000Z")


def test_contexts_of_calls_nest_and_end() -> None:
    with call_context("CA1", peer="pbx"):
        with call_context("CA2"):
            assert list(call_values().items()) == [("call_sid", "CA2"), ("peer", "pbx")]
        assert call_values() == {"call_sid": "CA1", "peer": "pbx"}
    assert call_values() == {}
