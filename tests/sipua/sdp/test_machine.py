"""The offer/answer machine against docs/spec/offer-answer.md, and its rules over several exchanges (RFC 3264)."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipua.errors import CallError
from sipua.sdp import (
    Answered,
    Direction,
    Negotiated,
    OfferAnswer,
    OfferAnswerState,
    Refusal,
    SessionDescription,
    parse_sdp,
    serialize_sdp,
)
from tests.support.descriptions import OFFERS, answered, audio, lines_of, machine, sdp, settled
from tests.support.tables import SPEC, read_table

TABLE = SPEC / "offer-answer.md"


GOOD, BAD = audio("a=sendonly", port=20100), audio(port=0)


INPUTS: dict[str, Callable[[OfferAnswer], object]] = {
    "make_offer": lambda made: made.make_offer(),
    "hold": lambda made: made.hold(),
    "resume": lambda made: made.resume(),
    "receive_offer good": lambda made: made.receive_offer(GOOD),
    "receive_offer bad": lambda made: made.receive_offer(BAD),
    "make_answer": lambda made: made.make_answer(),
    "receive_answer good": lambda made: made.receive_answer(GOOD),
    "receive_answer bad": lambda made: made.receive_answer(BAD),
    "rollback": lambda made: made.rollback(),
}


TRANSITIONS = read_table(TABLE, "Transitions")


def in_state(state: str) -> OfferAnswer:
    made = settled()
    if state == "have_local_offer":
        made.make_offer()
    elif state == "have_remote_offer":
        assert made.receive_offer(audio(port=20200)) is None
    assert made.state == state
    return made


def test_the_table_has_a_row_for_each_state_and_input() -> None:
    rows = {(row["State"], row["Input"]) for row in TRANSITIONS}
    assert rows == {(state.value, name) for state in OfferAnswerState for name in INPUTS}
    assert {row["State"] for row in read_table(TABLE, "States")} == set(OfferAnswerState)


@pytest.mark.parametrize("row", TRANSITIONS, ids=lambda row: f"{row['State']}-{row['Input']}")
def test_each_transition_is_as_the_table_says(row: dict[str, str]) -> None:
    made = in_state(row["State"])
    before = made.current
    result: object
    try:
        result = INPUTS[row["Input"]](made)
    except CallError:
        result = "misuse"
    assert made.state == row["Next"]
    match row["Result"].split():
        case ["misuse"]:
            assert result == "misuse"
        case ["none"]:
            assert result is None
        case ["description"]:
            assert isinstance(result, SessionDescription)
        case ["negotiated"]:
            assert isinstance(result, Negotiated)
            assert result is made.current
        case ["answered"]:
            assert isinstance(result, Answered)
            assert result.negotiated is made.current
        case ["in", "force"]:
            assert result is before
        case ["refusal", status]:
            assert isinstance(result, Refusal)
            assert result.status == int(status)
            assert result.retry_after is (status == "500")
        case _:
            pytest.fail(f"unknown result {row['Result']}")
    assert (made.current == before) is (row["Session"] == "unchanged")


def test_a_refresh_is_the_same_text_with_the_same_version() -> None:
    """RFC 4028 §7.4."""
    made = machine()
    first = answered(made, audio("a=sendonly")).description
    assert made.make_offer() == first
    made.receive_answer(audio("a=sendonly"))
    assert made.make_offer() == first


def test_hold_and_resume_change_direction_and_version_only() -> None:
    made = settled()
    held = made.hold()
    assert (held.media[0].direction, held.origin.version) == (Direction.SENDONLY, "5")
    assert not made.is_on_hold
    agreed = made.receive_answer(audio("a=recvonly"))
    assert isinstance(agreed, Negotiated)
    assert (agreed.local_direction, made.is_on_hold) == (Direction.SENDONLY, True)
    resumed = made.resume()
    assert (resumed.media[0].direction, resumed.origin.version) == (Direction.SENDRECV, "6")
    agreed = made.receive_answer(audio())
    assert isinstance(agreed, Negotiated)
    assert (agreed.local_direction, made.is_on_hold) == (Direction.SENDRECV, False)


def test_our_hold_outlives_an_offer_of_the_peer() -> None:
    made = settled()
    made.hold()
    made.receive_answer(audio("a=recvonly"))
    assert answered(made, audio()).negotiated.local_direction is Direction.SENDONLY
    assert answered(made, audio(), Direction.SENDRECV).negotiated.local_direction is Direction.SENDRECV
    assert not made.is_on_hold


def test_a_refused_hold_leaves_the_session_and_the_wish_as_they_were() -> None:
    made = settled()
    before = made.current
    made.hold()
    made.rollback()
    assert (made.current, made.is_on_hold) == (before, False)
    refresh = made.make_offer()
    assert refresh.media[0].direction is Direction.SENDRECV
    assert refresh.origin.version == "6"


def test_a_full_offer_lets_the_peer_end_its_hold() -> None:
    """RFC 6337 §5.3: a re-INVITE without SDP on a held call must not be offered the mirrored hold."""
    made = machine()
    answered(made, audio("a=sendonly", formats="8 96"))
    offer = made.make_offer(full=True)
    assert offer.media[0].formats == ("8", "0", "101")
    assert offer.media[0].direction is Direction.SENDRECV


def test_our_offers_keep_the_refused_sections() -> None:
    made = machine()
    answered(made, sdp("m=video 5000 RTP/AVP 31", "m=audio 4000 RTP/AVP 0"))
    offer = made.hold()
    assert [(item.media, item.port) for item in offer.media] == [("video", 0), ("audio", 30000)]
    agreed = made.receive_answer(sdp("m=video 0 RTP/AVP 31", "m=audio 4100 RTP/AVP 0"))
    assert isinstance(agreed, Negotiated)
    assert agreed.remote_port == 4100


def test_a_moved_address_keeps_the_origin_and_changes_the_version() -> None:
    made = settled()
    made.relocate("192.0.2.8", 30002)
    lines = lines_of(made.make_offer())
    assert lines[1] == "o=- 77 5 IN IP4 192.0.2.7"
    assert lines[3] == "c=IN IP4 192.0.2.8"
    assert lines[5].startswith("m=audio 30002 ")


def test_an_offer_with_fewer_sections_than_before_is_taken() -> None:
    made = machine()
    answered(made, sdp("m=audio 4000 RTP/AVP 0", "m=video 5000 RTP/AVP 31"))
    assert len(answered(made, audio()).description.media) == 1


def test_an_answer_before_any_offer_is_refused() -> None:
    refusal = machine().receive_answer(audio())
    assert isinstance(refusal, Refusal)
    assert refusal.status == 400


def test_a_fork_answers_for_itself() -> None:
    """RFC 3261 §13.2.2.4: each early dialog of one INVITE may bring an answer of its own."""
    made = machine()
    offer = made.make_offer()
    made.receive_answer(audio(port=4000))
    twin = made.fork()
    agreed = twin.receive_answer(audio(port=5000))
    assert isinstance(agreed, Negotiated)
    assert made.current is not None
    assert (made.current.remote_port, agreed.remote_port) == (4000, 5000)
    assert twin.make_offer() == offer
    with pytest.raises(CallError):
        settled().fork()


DESCRIPTIONS = st.sampled_from(
    [
        audio(),
        GOOD,
        BAD,
        audio(formats="8"),
        audio("a=inactive"),
        audio(connection="0.0.0.0"),
        *OFFERS.values(),
        sdp("m=video 1 RTP/AVP 31", "m=audio 9 RTP/AVP 8 0"),
    ]
)


STEPS = st.lists(st.tuples(st.sampled_from(sorted(INPUTS)), DESCRIPTIONS), max_size=25)


@given(STEPS)
def test_whatever_happens_the_rules_hold(steps: list[tuple[str, SessionDescription]]) -> None:
    made = machine()
    sent: dict[str, SessionDescription] = {}
    versions: list[int] = []
    for name, description in steps:
        state, before = made.state, made.current
        try:
            match name.split()[0]:
                case "receive_offer":
                    result: object = made.receive_offer(description)
                case "receive_answer":
                    result = made.receive_answer(description)
                case _:
                    result = INPUTS[name](made)
        except CallError:
            assert (made.state, made.current) == (state, before)
            assert not name.startswith("receive")
            continue
        shown = result.description if isinstance(result, Answered) else result
        if isinstance(shown, SessionDescription):
            assert parse_sdp(serialize_sdp(shown)) == shown
            assert sent.setdefault(shown.origin.version, shown) == shown, "one version, one text"
            versions.append(int(shown.origin.version))
            assert made.local_description is None or shown.origin.session_id == "77"
        if isinstance(result, Answered):
            assert made.remote_description is not None
            assert len(result.description.media) == len(made.remote_description.media)
        if isinstance(result, Refusal):
            assert made.current is before
        if made.current is not None:
            assert made.current.codecs
            assert not (made.current.local_direction.sends and made.current.is_held_by_peer)
    assert versions == sorted(versions)
