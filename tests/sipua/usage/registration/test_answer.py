"""What a registrar's responses mean, against docs/spec/registration.md, "Answers"."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipua.message import Headers, Response, Uri
from sipua.usage.registration.answer import Answer, Verdict, read_answer
from tests.support.tables import SPEC, read_table

CONTACT = Uri.parse("sip:cxmld@192.0.2.7:5060")
ROWS = read_table(SPEC / "registration.md", "Answers")


def response(status: int, contact: str = "–", expires: str = "–", other: str = "–") -> Response:
    headers = Headers()
    for name, value in (("Contact", contact), ("Expires", expires)):
        if value != "–":
            headers.add(name, value)
    if other != "–":
        name, _, value = other.partition(": ")
        headers.add(name, value)
    return Response(status, None, headers)


def spell(answer: Answer) -> str:
    return " ".join(
        [answer.verdict, *([] if answer.seconds is None else [str(answer.seconds)]), *([answer.target] if answer.target else [])]
    )


@pytest.mark.parametrize("row", ROWS, ids=lambda row: " ".join(row.values()))
def test_every_row_of_the_table_holds(row: dict[str, str]) -> None:
    made = response(int(row["Status"]), row["Contact"], row["Expires"], row["Other"])
    answer = read_answer(made, CONTACT, 300)
    assert spell(answer) == row["Verdict"]
    assert answer.status == made.status


def test_a_secure_contact_is_not_sent_to_an_insecure_registrar() -> None:
    secure = Uri.parse("sips:cxmld@192.0.2.7:5061")
    assert read_answer(response(302, "<sip:other.example>"), secure, 300).verdict is Verdict.REFUSED
    assert read_answer(response(302, "<sip:other.example>, <sips:better.example>"), secure, 300).target == "sips:better.example"


@given(st.integers(200, 699), st.text(max_size=80), st.text(max_size=20), st.text(max_size=20), st.integers(1, 86400))
def test_no_response_makes_it_raise(status: int, contact: str, expires: str, other: str, asked: int) -> None:
    lines = [("Contact", contact), ("Expires", expires), ("Min-Expires", other), ("Retry-After", other)]
    answer = read_answer(Response(status, None, Headers(lines)), CONTACT, asked)
    assert answer.status == status
    if answer.verdict is Verdict.BOUND:
        assert 0 < (answer.seconds or 0) <= asked


@given(
    st.lists(st.tuples(st.sampled_from(["cxmld@192.0.2.7:5060", "cxmld@198.51.100.1", "a@192.0.2.9"]), st.integers(0, 9999)), max_size=5)
)
def test_a_granted_expiry_is_one_that_the_registrar_named(bindings: list[tuple[str, int]]) -> None:
    made = response(200, ", ".join(f"<sip:{uri}>;expires={seconds}" for uri, seconds in bindings) or "–", "77")
    answer = read_answer(made, CONTACT, 300)
    allowed = {min(seconds, 300) for _, seconds in bindings} | {77}
    assert (answer.seconds or 0) in allowed
