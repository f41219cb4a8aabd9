"""The state of a dialog: tags, numbers, route sets, targets, and plain data (RFC 3261 §12, docs/spec/dialog.md)."""

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipua.dialog.state import TARGET_REFRESH, Admission, DialogId, DialogState
from sipua.errors import ParseError
from sipua.message import Request, Response, make_response
from tests.support.messages import request
from tests.support.tables import SPEC, read_table

TABLE = SPEC / "dialog.md"
RECORD_ROUTE = ("<sip:p1;lr>, <sip:p2;lr>", "<sip:p3>")
ROUTES = ("<sip:p1;lr>", "<sip:p2;lr>", "<sip:p3>")


def invite(contact: str = "<sip:alice@192.0.2.1:5062;transport=tcp>", record_route: tuple[str, ...] = RECORD_ROUTE) -> Request:
    message = request("INVITE", cseq=7)
    if contact:
        message.headers.add("Contact", contact)
    for line in record_route:
        message.headers.add("Record-Route", line)
    return message


def answer(
    to: Request, status: int = 200, contact: str = "<sip:bob@192.0.2.9>", record_route: tuple[str, ...] = RECORD_ROUTE, tag: str = "b1"
) -> Response:
    response = make_response(to, status, to_tag=tag)
    if contact:
        response.headers.add("Contact", contact)
    for line in record_route:
        response.headers.add("Record-Route", line)
    return response


def dialog(**changes: object) -> DialogState:
    plain: dict[str, object] = {
        "call_id": "c1",
        "local_tag": "l",
        "remote_tag": "r",
        "local_address": "<sip:alice@a>",
        "remote_address": '"Bob" <sip:bob@b>',
        "remote_target": "sip:bob@192.0.2.9",
        "route_set": [],
        "local_seq": 5,
        "remote_seq": 7,
        "is_confirmed": True,
    }
    return DialogState.from_plain(plain | changes)


def test_the_callee_takes_everything_from_the_request() -> None:
    state = DialogState.from_uas(invite(), "ours")
    assert state.id == DialogId("c1@192.0.2.1", "ours", "a1")
    assert (state.local_address, state.remote_address) == ("<sip:bob@192.0.2.2>", "<sip:alice@192.0.2.1>")
    assert state.remote_target == "sip:alice@192.0.2.1:5062;transport=tcp"
    assert state.route_set == ROUTES
    assert (state.local_seq, state.remote_seq) == (None, 7)
    assert not state.is_confirmed


def test_the_caller_takes_the_response_and_turns_the_routes_round() -> None:
    sent = invite("<sip:alice@192.0.2.1>", ())
    state = DialogState.from_uac(sent, answer(sent))
    assert state.id == DialogId("c1@192.0.2.1", "a1", "b1")
    assert (state.local_address, state.remote_address) == ("<sip:alice@192.0.2.1>", "<sip:bob@192.0.2.2>")
    assert state.remote_target == "sip:bob@192.0.2.9"
    assert state.route_set == ROUTES[::-1]
    assert (state.local_seq, state.remote_seq) == (7, None)
    assert state.is_confirmed


def test_both_sides_of_one_dialog_agree() -> None:
    sent = invite()
    callee = DialogState.from_uas(sent, "b1")
    caller = DialogState.from_uac(sent, answer(sent))
    assert callee.id == DialogId(caller.call_id, caller.remote_tag, caller.local_tag)
    assert callee.route_set == caller.route_set[::-1]
    bye = caller.new_request("BYE", caller.next_cseq())
    assert DialogId(bye.call_id, bye.to.tag, bye.from_.tag) == callee.id
    assert callee.admit(bye) is Admission.OK


def test_an_early_dialog_is_confirmed_with_the_route_set_and_target_of_the_2xx() -> None:
    sent = invite()
    state = DialogState.from_uac(sent, answer(sent, 180, "<sip:early@192.0.2.9>"))
    assert not state.is_confirmed
    state.confirm(answer(sent, 200, "<sip:final@192.0.2.9>", ("<sip:q1;lr>, <sip:q2;lr>",)))
    assert state.is_confirmed
    assert state.route_set == ("<sip:q2;lr>", "<sip:q1;lr>")
    assert state.remote_target == "sip:final@192.0.2.9"


def test_an_early_dialog_without_contact_uses_the_request_uri_until_the_2xx() -> None:
    sent = invite()
    state = DialogState.from_uac(sent, answer(sent, 183, ""))
    assert state.remote_target == "sip:bob@192.0.2.2"


def test_what_opens_a_dialog_needs_a_contact() -> None:
    sent = invite()
    with pytest.raises(ParseError):
        DialogState.from_uas(invite(""), "t")
    with pytest.raises(ParseError):
        DialogState.from_uas(invite("*"), "t")
    with pytest.raises(ParseError):
        DialogState.from_uac(sent, answer(sent, 200, ""))


def test_a_caller_of_rfc_2543_is_reached_at_its_from_when_it_sends_no_contact() -> None:
    older = request("INVITE", branch="")
    assert DialogState.from_uas(older, "t").remote_target == "sip:alice@192.0.2.1"
    older.headers.add("Contact", "*")
    with pytest.raises(ParseError):
        DialogState.from_uas(older, "t")


@pytest.mark.parametrize("contact", ["<tel:+4912>", "<mailto:x@y>"])
def test_a_contact_that_is_no_sip_uri_opens_no_dialog_but_an_early_one(contact: str) -> None:
    sent = invite()
    with pytest.raises(ParseError):
        DialogState.from_uas(invite(contact), "t")
    with pytest.raises(ParseError):
        DialogState.from_uac(sent, answer(sent, 200, contact))
    assert DialogState.from_uac(sent, answer(sent, 183, contact)).remote_target == "sip:bob@192.0.2.2"


@pytest.mark.parametrize("broken", ["<sip:p1", "p1", "<sip:p1;lr>, <:>", '"<sip:p1>'])
def test_a_broken_record_route_opens_and_confirms_nothing(broken: str) -> None:
    sent = invite()
    with pytest.raises(ParseError):
        DialogState.from_uas(invite(record_route=(broken,)), "t")
    with pytest.raises(ParseError):
        DialogState.from_uac(sent, answer(sent, record_route=(broken,)))
    state = DialogState.from_uac(sent, answer(sent, 180))
    before = state.to_plain()
    with pytest.raises(ParseError):
        state.confirm(answer(sent, 200, record_route=(broken,)))
    assert state.to_plain() == before


@pytest.mark.parametrize("row", read_table(TABLE, "Routes of our requests"), ids=lambda row: row["Route set"])
def test_every_row_of_the_routes_holds(row: dict[str, str]) -> None:
    routes = [] if row["Route set"] == "–" else row["Route set"].split(", ")
    message = dialog(route_set=routes).new_request("INFO", 6)
    assert message.uri == row["Request-URI"]
    assert ", ".join(message.headers.lines("Route")) == row["Route"].replace("–", "")


def test_a_request_in_the_dialog_has_its_addresses_tags_and_number() -> None:
    message = dialog().new_request("REFER", 6)
    assert list(message.headers) == [
        ("Max-Forwards", "70"),
        ("From", "<sip:alice@a>;tag=l"),
        ("To", '"Bob" <sip:bob@b>;tag=r'),
        ("Call-ID", "c1"),
        ("CSeq", "6 REFER"),
    ]


def test_a_null_tag_is_no_tag() -> None:
    message = dialog(remote_tag="").new_request("BYE", 6)
    assert message.headers.get("To") == '"Bob" <sip:bob@b>'


@pytest.mark.parametrize("target", ["sip:bob@192.0.2.9?Subject=x", "sip:bob@192.0.2.9;method=BYE", "sip:bob@192.0.2.9;method=BYE?a=b"])
def test_a_remote_target_loses_what_no_request_uri_may_have(target: str) -> None:
    assert dialog(remote_target=target).new_request("BYE", 6).uri == "sip:bob@192.0.2.9"


def test_a_remote_target_keeps_its_bytes() -> None:
    target = "sip:%42ob@192.0.2.9:5070;transport=TCP;X-a=%20"
    assert dialog(remote_target=target).new_request("BYE", 6).uri == target


@pytest.mark.parametrize("row", read_table(TABLE, "Admission"), ids=lambda row: f"{row['Last']}-{row['Request']}")
def test_every_row_of_the_admission_holds(row: dict[str, str]) -> None:
    state = dialog(remote_seq=None if row["Last"] == "none" else int(row["Last"]))
    got = state.admit(request("INFO", cseq=int(row["Request"])))
    assert got is (Admission.OK if row["Answer"] == "OK" else Admission.OUT_OF_ORDER)
    assert state.remote_seq == int(row["Last after"])


@given(st.none() | st.integers(0, 2**32 - 1), st.lists(st.integers(0, 2**32 - 1), max_size=20))
def test_admitted_numbers_only_grow(last: int | None, numbers: list[int]) -> None:
    state = dialog(remote_seq=last)
    admitted = [number for number in numbers if state.admit(request("INFO", cseq=number)) is Admission.OK]
    assert admitted == sorted(set(admitted))
    assert state.remote_seq == (admitted[-1] if admitted else last)


def test_our_numbers_start_where_told_and_count_on() -> None:
    state = dialog(local_seq=None)
    assert [state.next_cseq(100), state.next_cseq(7), state.next_cseq()] == [100, 101, 102]
    assert dialog(local_seq=5).next_cseq(100) == 6


@pytest.mark.parametrize("row", read_table(TABLE, "Target refresh"), ids=lambda row: row["Method"])
def test_every_row_of_the_target_refresh_holds(row: dict[str, str]) -> None:
    assert (row["Method"] in TARGET_REFRESH) is (row["Refreshes"] == "yes")


@pytest.mark.parametrize(
    ("contact", "target"),
    [
        ("<sip:new@192.0.2.10;ob>;expires=9", "sip:new@192.0.2.10;ob"),
        ("sip:new@192.0.2.10", "sip:new@192.0.2.10"),
        ("", "sip:bob@192.0.2.9"),
        ("*", "sip:bob@192.0.2.9"),
        ("<sip:new", "sip:bob@192.0.2.9"),
        ("<tel:+49301234>", "sip:bob@192.0.2.9"),
        ("<http://example.org/>", "sip:bob@192.0.2.9"),
    ],
)
def test_a_refresh_takes_a_sip_contact_and_ignores_anything_else(contact: str, target: str) -> None:
    state = dialog()
    state.refresh_target(invite(contact, ()))
    assert state.remote_target == target
    state.refresh_target(answer(invite(), contact="<sip:last@h>"))
    assert state.remote_target == "sip:last@h"


def test_a_refresh_leaves_the_route_set_alone() -> None:
    state = dialog(route_set=["<sip:p1;lr>"])
    state.refresh_target(invite())
    assert state.route_set == ("<sip:p1;lr>",)


TOKEN = st.from_regex(r"[A-Za-z0-9.\-]{1,12}", fullmatch=True)
TARGETS = st.builds("sip:{}@{}".format, TOKEN, st.sampled_from(["192.0.2.1", "pbx1:5070", "[2001:db8::1]:5060;transport=tcp"]))
STATES = st.builds(
    DialogState,
    call_id=TOKEN,
    local_tag=TOKEN,
    remote_tag=TOKEN | st.just(""),
    local_address=TARGETS.map("<{}>".format),
    remote_address=TARGETS.map('"ä \\" <b>" <{}>;x=y'.format),
    remote_target=TARGETS,
    route_set=st.lists(TARGETS.map("<{};lr>".format), max_size=4).map(tuple),
    local_seq=st.none() | st.integers(0, 2**31),
    remote_seq=st.none() | st.integers(0, 2**32 - 1),
    is_confirmed=st.booleans(),
)


@given(STATES)
def test_a_dialog_survives_being_written_down(state: DialogState) -> None:
    again = DialogState.from_plain(json.loads(json.dumps(state.to_plain())))
    assert again == state
    assert again.new_request("BYE", again.next_cseq()).encode() == state.new_request("BYE", state.next_cseq()).encode()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("call_id", None),
        ("local_tag", 5),
        ("remote_target", "bob"),
        ("route_set", "<sip:p1;lr>"),
        ("route_set", ["<sip:p1"]),
        ("local_seq", "5"),
        ("remote_seq", 1.5),
    ],
)
def test_plain_data_that_is_no_dialog_is_refused(name: str, value: object) -> None:
    with pytest.raises(ValueError, match="dialog"):
        DialogState.from_plain(dialog().to_plain() | {name: value})
    with pytest.raises(ValueError, match="dialog"):
        DialogState.from_plain({})


LINE = st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), max_size=60)


@given(LINE, LINE, st.sampled_from([180, 200]))
def test_nothing_that_a_peer_sends_makes_a_dialog_that_cannot_send(contact: str, record_route: str, status: int) -> None:
    sent = invite(contact, (record_route,))
    made: list[DialogState] = []
    with contextlib.suppress(ParseError):
        made.append(DialogState.from_uas(sent, "t"))
    with contextlib.suppress(ParseError):
        made.append(DialogState.from_uac(sent, answer(sent, status, contact, (record_route,))))
    for state in made:
        state.refresh_target(sent)
        state.new_request("BYE", 1).encode()


def test_only_a_strict_router_makes_a_request_strictly_routed() -> None:
    """RFC 3261 §12.2.1.1: the next hop is then the Request-URI even where a loose router follows."""
    state = DialogState("c", "l", "r", "<sip:a@a>", "<sip:b@b>", "sip:b@b", local_seq=1)
    assert not state.new_request("BYE", 2).is_strictly_routed
    state.route_set = ("<sip:p;lr>", "<sip:q>")
    assert not state.new_request("BYE", 2).is_strictly_routed
    state.route_set = ("<sip:p>", "<sip:q;lr>")
    request = state.new_request("BYE", 2)
    assert request.is_strictly_routed
    assert (request.uri, request.headers.lines("Route")) == ("sip:p", ["<sip:q;lr>", "<sip:b@b>"])
