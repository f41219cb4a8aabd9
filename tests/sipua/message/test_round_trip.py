"""What the grammar allows is read as what it means, written, and read again as the same (RFC 3261 §7, §25.1)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipua.errors import ParseError
from sipua.message import Address, CSeq, Headers, Message, Params, Request, StreamFramer, Uri, Value, Via, canonical, parse_message
from sipua.message.fields import delta_seconds
from sipua.message.grammar import quote, split_list, split_outside, unquote
from sipua.message.headers import COMPACT
from tests.support.strategies import NUMBERS, TEXTS, TOKENS, addresses, header_lines, params, requests, responses, uris, vias

MESSAGES = requests() | responses()


def same(one: Message, other: Message) -> None:
    assert one.start_line == other.start_line
    assert one.headers == other.headers
    assert one.body == other.body


@given(MESSAGES)
def test_a_message_is_read_as_it_was_written(message: Message) -> None:
    data = message.encode()
    again = parse_message(data)
    same(message, again)
    assert again.encode() == data


@given(MESSAGES, st.data())
def test_another_spelling_of_the_same_message_reads_the_same(message: Message, data: st.DataObject) -> None:
    """Compact names, other case, folds and white space around the colon change nothing."""
    compact = {long: short for short, long in COMPACT.items()}
    lines = [message.start_line]
    for name, value in message.headers:
        spellings = [name, compact.get(name, name)] + ([name.upper(), name.lower()] if canonical(name.lower()) == name else [])
        space = data.draw(st.sampled_from(["", " ", "\t"]))
        lines.append(f"{data.draw(st.sampled_from(spellings))}{space}:\r\n\t {value}")
    text = "\r\n".join([*lines, f"l: {len(message.body)}"]) + "\r\n\r\n"
    same(message, parse_message(text.encode() + message.body))


@given(st.lists(MESSAGES, min_size=1, max_size=4))
def test_a_stream_of_messages_gives_them_in_order(messages: list[Message]) -> None:
    frames = StreamFramer().feed(b"".join(message.encode() for message in messages))
    assert len(frames) == len(messages)
    for frame, message in zip(frames, messages, strict=True):
        assert isinstance(frame, Message)
        same(frame, message)


@given(requests())
def test_the_fields_of_a_request_can_be_read(message: Request) -> None:
    again = parse_message(message.encode())
    assert isinstance(again, Request)
    assert again.request_uri.text == message.uri
    assert again.cseq.method == again.method
    assert [str(via) for via in again.vias] == message.headers.lines("Via")
    assert str(again.from_) == message.headers.get("From")
    assert again.from_.tag


@given(uris())
def test_a_uri_is_read_as_its_parts(uri: Uri) -> None:
    again = Uri.parse(str(uri))
    assert (again.scheme, again.user, again.host, again.port, again.params) == (uri.scheme, uri.user, uri.host, uri.port, uri.params)
    assert again.matches(uri)
    assert again.with_params(again.params) == uri


@given(st.lists(addresses(), max_size=4))
def test_a_list_of_addresses_is_read_as_its_elements(given_addresses: list[Address]) -> None:
    assert Address.parse_list(", ".join(map(str, given_addresses))) == given_addresses


@given(vias(), TOKENS)
def test_a_via_is_read_as_its_parts(via: Via, branch: str) -> None:
    assert Via.parse(str(via)) == via
    assert Via.parse(str(via.with_param("branch", branch))).branch == branch


@given(NUMBERS, TOKENS)
def test_a_cseq_is_read_as_its_parts(number: int, method: str) -> None:
    assert CSeq.parse(str(CSeq(number, method))) == (number, method)


@given(TOKENS, params())
def test_a_value_with_parameters_is_read_as_its_parts(value: str, given_params: Params) -> None:
    made = Value(value, given_params)
    assert Value.parse(str(made)) == made


@given(st.text(max_size=60))
def test_any_text_gives_a_value_or_a_parse_error_and_is_stable(text: str) -> None:
    try:
        value = Value.parse(text)
    except ParseError:
        return
    assert Value.parse(str(value)) == value


@given(NUMBERS, st.sampled_from(["", " ", " (a comment)", ";duration=5"]))
def test_seconds_are_read_whatever_stands_behind(number: int, behind: str) -> None:
    assert delta_seconds(f"{number}{behind}") == number


@given(st.integers(2**32, 10**40) | st.text(max_size=12))
def test_seconds_are_bounded_or_refused(number: int | str) -> None:
    try:
        assert 0 <= delta_seconds(str(number)) < 2**32
    except ParseError:
        assert not str(number).strip()[:1].isascii() or not str(number).strip()[:1].isdigit()


@given(TEXTS)
def test_a_quoted_string_comes_back(text: str) -> None:
    assert unquote(quote(text)) == text
    assert split_list(quote(text)) == [quote(text)]


@given(st.lists(TOKENS | TEXTS.map(quote) | uris().map(lambda uri: f"<{uri}>"), max_size=5), st.sampled_from(",;"))
def test_a_list_is_split_where_it_was_joined(parts: list[str], separator: str) -> None:
    assert split_outside(separator.join(parts), separator) == (parts or [""])


@given(st.lists(header_lines(), max_size=8), st.data())
def test_headers_keep_their_lines_whatever_is_done_to_one_name(lines: list[tuple[str, str]], data: st.DataObject) -> None:
    headers = Headers()
    for name, value in lines:
        headers.add(name, value)
    name = data.draw(st.sampled_from([name for name, _ in lines] or ["X-a"]))
    others = [line for line in headers if line[0].lower() != name.lower()]
    headers.set(name.upper(), "new")
    assert headers.lines(name) == ["new"]
    assert [line for line in headers if line[0].lower() != name.lower()] == others
    headers.remove(name)
    assert list(headers) == others
    with pytest.raises(ValueError, match="line end"):
        headers.add(name, "a\nb")


@given(MESSAGES)
def test_the_size_of_a_message_is_known_without_writing_it(message: Message) -> None:
    assert message.size == len(message.encode())
