"""The common checks and what error answers end, against docs/spec/dialog.md."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipua.dialog.checks import ALLOW, SERVED, destroys, refuse
from sipua.message import Request
from tests.support.messages import request
from tests.support.tables import SPEC, read_table

TABLE = SPEC / "dialog.md"
ENDS = read_table(TABLE, "What a response ends")
CHECKS = read_table(TABLE, "Common checks")


def wrong_in(what: str) -> Request:
    kind, _, value = what.partition(" ")
    if kind == "method":
        return request(value)
    message = request("INVITE")
    if kind == "Request-URI":
        message.uri = value
    else:
        name, _, text = value.partition(": ")
        message.headers.add(name, text)
        message.body = b"v=0\r\n"
    return message


@pytest.mark.parametrize("row", CHECKS, ids=lambda row: row["Request"])
def test_every_row_of_the_common_checks_holds(row: dict[str, str]) -> None:
    response = refuse(wrong_in(row["Request"]), "ours")
    if row["Answer"] == "–":
        assert response is None
        return
    assert response is not None
    assert response.status == int(row["Answer"])
    assert response.to.tag == "ours"
    if row["Header"] != "–":
        name, _, value = row["Header"].partition(": ")
        assert response.headers.get(name) == (value or ALLOW)


def test_the_checks_stand_in_the_order_of_the_table() -> None:
    message = request("INVITE")
    message.headers.add("Content-Encoding", "gzip")
    message.body = b"x"
    seen = []
    for method, uri, require in [("FROBNICATE", "tel:1", "x"), ("INVITE", "tel:1", "x"), ("INVITE", "sip:a", "x"), ("INVITE", "sip:a", "")]:
        message.method, message.uri = method, uri
        message.headers.set("Require", require)
        response = refuse(message, "t")
        seen.append(response.status if response else 0)
    assert seen == [501, 416, 420, 415]


@pytest.mark.parametrize("method", sorted(SERVED))
def test_a_sound_request_passes(method: str) -> None:
    assert refuse(request(method), "t") is None


def test_an_encoding_of_no_body_is_no_fault() -> None:
    message = request("INVITE")
    message.headers.add("Content-Encoding", "gzip")
    assert refuse(message, "t") is None


def rows_for(method: str) -> dict[str, str]:
    """By status as text, with "any other"."""
    found: dict[str, str] = {}
    for row in ENDS:
        if method in row["Method"].split(", "):
            found |= dict.fromkeys(row["Status"].split(", "), row["Ends"])
    return found


METHODS = sorted({method for row in ENDS for method in row["Method"].split(", ")})


@pytest.mark.parametrize("method", METHODS)
def test_every_status_ends_what_the_table_says(method: str) -> None:
    rows = rows_for(method)
    for status in range(300, 700):
        assert destroys(status, method).value == rows.get(str(status), rows["any other"]), status


@given(st.integers(300, 699), st.text(max_size=20))
def test_an_unknown_method_is_one_that_belongs_to_its_usage(status: int, method: str) -> None:
    if method not in METHODS:
        assert destroys(status, method) is destroys(status, "INVITE")
