"""What is agreed, and what is refused, by one offer and one answer: docs/spec/offer-answer.md (RFC 3264 §6)."""

import pytest

from sipua.sdp import (
    AgreedCodec,
    Codec,
    Direction,
    LocalMedia,
    Negotiated,
    OfferAnswer,
    OfferAnswerState,
    Refusal,
    SessionDescription,
    WarningCode,
    parse_sdp,
)
from tests.support.descriptions import OFFERS, answered, audio, lines_of, machine, sdp, settled
from tests.support.tables import SPEC, read_table

TABLE = SPEC / "offer-answer.md"


@pytest.mark.parametrize("row", read_table(TABLE, "Refusals"), ids=lambda row: row["Offer"])
def test_each_refusal_has_the_warning_of_the_table(row: dict[str, str]) -> None:
    refusal = machine().receive_offer(OFFERS[row["Offer"]])
    assert isinstance(refusal, Refusal)
    assert (refusal.status, refusal.warning) == (488, WarningCode(int(row["Warning"])))


@pytest.mark.parametrize("row", read_table(TABLE, "Directions"), ids=lambda row: f"{row['Offer']}-{row['Wish']}")
def test_each_direction_is_answered_as_the_table_says(row: dict[str, str]) -> None:
    offer = audio(connection="0.0.0.0") if "=" in row["Offer"] else audio(f"a={row['Offer']}")
    answer = answered(machine(Direction(row["Wish"])), offer)
    assert answer.description.media[0].direction == row["Answer"] == answer.negotiated.local_direction


def test_the_answer_to_a_pbx_has_both_codecs_and_its_event_number() -> None:
    answer = answered(
        machine(),
        sdp("m=audio 20000 RTP/AVP 8 3 0 96 100", "a=rtpmap:96 telephone-event/8000", "a=rtpmap:100 telephone-event/48000", "a=ptime:30"),
    )
    assert lines_of(answer.description) == [
        "v=0",
        "o=- 77 4 IN IP4 192.0.2.7",
        "s=-",
        "c=IN IP4 192.0.2.7",
        "t=0 0",
        "m=audio 30000 RTP/AVP 8 0 96",
        "a=rtpmap:8 PCMA/8000",
        "a=rtpmap:0 PCMU/8000",
        "a=rtpmap:96 telephone-event/8000",
        "a=fmtp:96 0-15",
        "a=ptime:20",
        "a=sendrecv",
    ]
    assert answer.negotiated == Negotiated(
        "192.0.2.20",
        20000,
        (AgreedCodec(Codec.PCMA, 8, 8), AgreedCodec(Codec.PCMU, 0, 0)),
        Direction.SENDRECV,
        Direction.SENDRECV,
        96,
        96,
        30,
    )
    assert answer.negotiated.receive_payload_types == {0, 8, 96}


def test_other_sections_are_refused_in_place_with_protocol_and_formats() -> None:
    offer = sdp(
        "m=video 5000 UDP/TLS/RTP/SAVPF 96 97",
        "m=audio 4000 RTP/SAVP 0",
        "m=audio 4002 rtp/avpf 0",
        "m=image 6000 udptl t38",
        "m=audio 4004 RTP/AVP 0",
        "m=text 1 X",
    )
    answer = answered(machine(), offer)
    shown = [(item.media, item.port, item.protocol, item.formats) for item in answer.description.media]
    assert shown == [
        ("video", 0, "UDP/TLS/RTP/SAVPF", ("96", "97")),
        ("audio", 0, "RTP/SAVP", ("0",)),
        ("audio", 30000, "rtp/avpf", ("0",)),
        ("image", 0, "udptl", ("t38",)),
        ("audio", 0, "RTP/AVP", ("0",)),
        ("text", 0, "X", ("0",)),
    ]
    assert answer.negotiated.remote_port == 4002


def test_audio_beside_an_unknown_format_is_answered() -> None:
    """The offer of RFC 4475 §3.1.1.12 lists an unassigned static payload type."""
    answer = answered(machine(), sdp("m=audio 49217 RTP/AVP 0 12", "m=video 3227 RTP/AVP 31", "a=rtpmap:31 LPC"))
    assert [(item.port, item.formats) for item in answer.description.media] == [(30000, ("0",)), (0, ("31",))]


def test_the_times_of_the_offer_are_repeated() -> None:
    """RFC 3264 §6."""
    offer = parse_sdp(b"v=0\r\no=- 1 1 IN IP4 h\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=3338481189 3370017201\r\nm=audio 1 RTP/AVP 0")
    assert answered(machine(), offer).description.timings == ("3338481189 3370017201",)


def test_ipv6_is_answered_with_ipv6() -> None:
    made = OfferAnswer(LocalMedia("2001:db8::7", 30000), session_id=1)
    answer = answered(made, audio(connection="2001:db8::1"))
    assert lines_of(answer.description)[1] == "o=- 1 1 IN IP6 2001:db8::7"
    assert lines_of(answer.description)[3] == "c=IN IP6 2001:db8::7"


def test_our_first_offer_has_all_that_we_speak_and_follows_the_answers_numbers() -> None:
    made = machine()
    assert made.make_offer().media[0].formats == ("0", "8", "101")
    agreed = made.receive_answer(sdp("m=audio 4000 RTP/AVP 97 98", "a=rtpmap:97 pcma/8000", "a=rtpmap:98 Telephone-Event/8000"))
    assert isinstance(agreed, Negotiated)
    assert agreed.codecs == (AgreedCodec(Codec.PCMA, 97, 8),)
    assert (agreed.dtmf_payload_type, agreed.dtmf_receive_payload_type) == (98, 101)
    assert agreed.receive_payload_types == {8, 101}


def test_no_telephone_event_unless_both_have_it() -> None:
    agreed = answered(machine(), audio(formats="0")).negotiated
    assert (agreed.dtmf_payload_type, agreed.receive_payload_types) == (None, frozenset({0}))
    silent = OfferAnswer(LocalMedia("192.0.2.7", 30000, dtmf=False), session_id=1)
    assert answered(silent, audio()).negotiated.dtmf_payload_type is None


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([], 20),
        (["a=ptime:40"], 40),
        (["a=ptime:40", "a=maxptime:30"], 30),
        (["a=ptime:0"], 20),
        (["a=ptime:500"], 20),
        (["a=ptime:x"], 20),
    ],
)
def test_packet_time_is_the_peers_wish_within_reason(lines: list[str], expected: int) -> None:
    assert answered(machine(), audio(*lines)).negotiated.ptime == expected


def test_a_full_offer_avoids_numbers_that_are_taken() -> None:
    made = machine()
    answered(made, sdp("m=audio 4000 RTP/AVP 101", "a=rtpmap:101 PCMU/8000"))
    assert made.make_offer(full=True).media[0].formats == ("101", "8", "96")


def test_the_old_form_of_hold_stops_our_sending() -> None:
    agreed = answered(settled(), audio(connection="0.0.0.0")).negotiated
    assert not agreed.local_direction.sends
    assert agreed.is_held_by_peer


@pytest.mark.parametrize(
    ("answer", "warning"),
    [
        (sdp(), 304),
        (audio(port=0), 304),
        (sdp("m=video 4000 RTP/AVP 0"), 304),
        (sdp("m=audio 4000 RTP/SAVP 0"), 302),
        (audio(connection=""), 301),
        (audio(formats="18"), 305),
    ],
)
def test_an_unusable_answer_is_refused(answer: SessionDescription, warning: int) -> None:
    made = machine()
    made.make_offer()
    refusal = made.receive_answer(answer)
    assert isinstance(refusal, Refusal)
    assert refusal.warning == warning
    assert (made.state, made.current) == (OfferAnswerState.STABLE, None)


def test_an_answer_with_a_codec_that_was_not_offered_is_refused() -> None:
    made = machine()
    answered(made, audio(formats="0"))
    made.make_offer()
    refusal = made.receive_answer(audio(formats="8"))
    assert isinstance(refusal, Refusal)
    assert refusal.warning is WarningCode.MEDIA_FORMAT


def test_an_answer_can_not_give_more_than_was_offered() -> None:
    made = machine(Direction.SENDONLY)
    made.make_offer()
    agreed = made.receive_answer(audio("a=sendrecv"))
    assert isinstance(agreed, Negotiated)
    assert agreed.local_direction is Direction.SENDONLY
