"""Which of several processes a message belongs to (docs/spec/workers.md)."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipua.message import parse_message
from sipua.transport.sharing import MAX_WORKERS, Sharing, call_hash, owner_by_hash, tag_mark, uri_mark
from tests.support.tables import SPEC, read_table

COUNT, LIVE, HERE = 4, (0, 1, 3), 3
CALL_ID = next(text for text in (f"call-{n}@pbx" for n in range(1000)) if owner_by_hash(call_hash(text.encode()), COUNT, LIVE) == 1)


def message(kind: str, bears: str) -> bytes:
    """Return a message as a row of the table describes it."""
    to, sender, uri, more = "", ";tag=abc", "sip:support@192.0.2.1", ""
    for part in bears.split(", "):
        words = part.split()
        if part.startswith("our tag"):
            tag = f";tag={tag_mark(int(words[3]))}0123456789abcdef"
            to, sender = (tag, sender) if words[-1] == "To" else (to, tag)
        elif part.startswith("a tag"):
            to = ";tag=fedcba"
            uri += uri_mark(int(words[7].rstrip(","))) if "in its URI" in part else ""
        elif part.endswith("in its URI"):
            uri += uri_mark(int(words[0]))
        elif part.startswith("Replaces"):
            more = f"Replaces: 7@pbx;from-tag=x;to-tag={tag_mark(int(words[5]))}0123\r\n"
        else:
            assert part == "nothing"
    method = "NOTIFY" if kind == "request" else kind
    first = "SIP/2.0 200 OK" if kind == "response" else f"{method} {uri} SIP/2.0"
    lines = ["Via: SIP/2.0/UDP 192.0.2.9;branch=z9hG4bK1", f"From: <sip:1@192.0.2.9>{sender}", f"To: <sip:2@192.0.2.1>{to}"]
    return "\r\n".join([first, *lines, f"{more}Call-ID: {CALL_ID}", f"CSeq: 1 {method}", "Max-Forwards: 70", "", ""]).encode()


@pytest.mark.parametrize(
    "row",
    [row for row in read_table(SPEC / "workers.md", "Where a message belongs") if row["Worker"] != "whoever has it"],
    ids=lambda row: f"{row['Message']}: {row['Bears']}",
)
def test_a_message_that_was_read_belongs_to_the_same_worker(row: dict[str, str]) -> None:
    read = parse_message(message(row["Message"], row["Bears"]))
    assert Sharing(HERE, COUNT, lambda: LIVE).owner_of_message(read) == int(row["Worker"])


@pytest.mark.parametrize(
    ("kind", "bears"), [("response", "our tag of 2 in From"), ("request", "our tag of 2 in To"), ("request", "2 in its URI")]
)
def test_what_a_worker_has_asked_for_is_its_own_before_it_counts_as_live(kind: str, bears: str) -> None:
    sharing, data = Sharing(2, COUNT, lambda: LIVE), message(kind, bears)
    assert [sharing.owner_of(data), sharing.owner_of_message(parse_message(data))] == [2, 2]


@pytest.mark.parametrize("name", ["Call-ID", "call-id", "CALL-ID", "i", "I", "Call-ID "])
def test_all_of_a_call_meet_however_its_headers_are_spelt(name: str) -> None:
    data = message("INVITE", "nothing").replace(b"Call-ID", name.encode())
    sharing = Sharing(0, COUNT)
    assert sharing.owner_of(data) == sharing.owner_of(message("CANCEL", "nothing"))


@pytest.mark.parametrize("to", ["t:<sip:a@b>;tag=w3-1", "TO : <sip:a@b>\r\n ; TAG = w3-1", 'To: "x" <sip:a@b;x=1> ;lr;tag=W3-1'])
def test_our_tag_is_found_however_the_peer_writes_it(to: str) -> None:
    data = message("BYE", "nothing").replace(b"To: <sip:2@192.0.2.1>", to.encode())
    assert Sharing(0, COUNT).owner_of(data) == 3


def test_the_mark_of_a_worker_in_a_uri_counts_in_the_first_line_only() -> None:
    data = message("OPTIONS", "nothing").replace(b"\r\nFrom", b"\r\nRefer-To: <sip:a@b;worker=3 >\r\nFrom")
    assert Sharing(0, COUNT).owner_of(data) == owner_by_hash(call_hash(CALL_ID.encode()), COUNT, (0, 1, 2, 3))


def test_a_request_that_icmp_gives_back_goes_to_the_worker_that_sent_it() -> None:
    sent = message("REFER", "our tag of 2 in From")
    sharing = Sharing(0, COUNT)
    assert [sharing.sender_of(sent), sharing.sender_of(sent[:40]), sharing.sender_of(b"")] == [2, 0, 0]


@pytest.mark.parametrize("count", [2, 3, 4, 8])
@pytest.mark.parametrize("pattern", ["{0}-4711@127.0.0.1", "{0:032x}", "prefix-of-a-vendor-{0:06}@pbx.example.com"])
def test_calls_are_spread_evenly_whatever_kind_of_call_id_the_peer_makes(count: int, pattern: str) -> None:
    calls = 4000
    shares = Counter(owner_by_hash(call_hash(pattern.format(n).encode()), count, tuple(range(count))) for n in range(calls))
    assert all(abs(shares[worker] - calls / count) < calls / count * 0.2 for worker in range(count))


def test_the_part_of_a_dead_worker_is_spread_over_the_others_and_no_other_call_moves() -> None:
    before = [owner_by_hash(call_hash(b"%d@pbx" % n), 4, (0, 1, 2, 3)) for n in range(4000)]
    after = [owner_by_hash(call_hash(b"%d@pbx" % n), 4, (0, 1, 3)) for n in range(4000)]
    assert all(old == new for old, new in zip(before, after, strict=True) if old != 2)
    moved = Counter(new for old, new in zip(before, after, strict=True) if old == 2)
    assert set(moved) == {0, 1, 3}
    assert min(moved.values()) > 200


@given(st.binary(max_size=600), st.integers(1, MAX_WORKERS), st.data())
def test_whatever_comes_has_an_owner_that_lives(data: bytes, count: int, draw: st.DataObject) -> None:
    here = draw.draw(st.integers(0, count - 1))
    live = tuple(sorted(draw.draw(st.sets(st.integers(0, count - 1), min_size=1)) | {here}))
    sharing = Sharing(here, count, lambda: live)
    assert sharing.owner_of(data) in live
    assert sharing.sender_of(data) in live
