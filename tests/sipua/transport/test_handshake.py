"""Alerts behind the handshake of TLS 1.2, found by their records (RFC 5246 §6.2.1, §7.2)."""

from hypothesis import given
from hypothesis import strategies as st

from sipua.transport.handshake import Records


def record(kind: int, body: bytes = b"x") -> bytes:
    return bytes([kind, 3, 3]) + len(body).to_bytes(2, "big") + body


ALERT, CCS = record(0x15, b"\x15" * 26), record(0x14, b"\1")
BODIES = st.binary(max_size=40)


def test_an_alert_of_the_handshake_is_openssls_to_explain() -> None:
    assert Records().find_alert(record(0x16) + ALERT) == -1
    assert Records().find_alert(record(0x16) + CCS + record(0x16) + ALERT) == len(record(0x16) * 2 + CCS)


@given(st.lists(BODIES, max_size=5), st.lists(st.tuples(st.sampled_from([0x16, 0x17]), BODIES), max_size=5), st.randoms())
def test_however_octets_are_cut_the_alert_is_found_where_it_begins(
    before: list[bytes], after: list[tuple[int, bytes]], rng: object
) -> None:
    head = b"".join(record(0x16, body) for body in before) + CCS + b"".join(record(kind, body) for kind, body in after)
    data, records, place = head + ALERT + b"more", Records(), 0
    while place < len(data):
        size = rng.randint(1, 20)  # type: ignore[attr-defined]
        found = records.find_alert(data[place : place + size])
        if found >= 0:
            assert place + found == len(head)
            return
        place += size
    raise AssertionError("not found")


@given(st.lists(st.binary(max_size=60)))
def test_any_octets_are_taken(parts: list[bytes]) -> None:
    records = Records()
    for part in parts:
        assert -1 <= records.find_alert(part) < max(len(part), 1)
