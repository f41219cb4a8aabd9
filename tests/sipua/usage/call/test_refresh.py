"""The session timer against docs/spec/session-timer.md: its machine row by row, what is agreed, and sequences of events."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipua.effects import Effect
from sipua.message import Headers, Message, Request, Response
from sipua.usage.call.machine.interval import (
    MAX_INTERVAL_S,
    Interval,
    Terms,
    TimerSettings,
    agreed_terms,
    answer_terms,
    is_too_small,
    must_require,
    next_min_se,
    read_interval,
    read_min_se,
    request_interval,
    response_interval,
    supports_timer,
)
from sipua.usage.call.machine.refresh import MAX_MARGIN_S, MAX_RETRIES, Expired, RefreshState, SendRefresh, SessionTimer
from tests.support.tables import SPEC, read_table

TABLE = SPEC / "session-timer.md"
ROWS = read_table(TABLE, "The timer of a confirmed call")
ANSWERS = read_table(TABLE, "What is agreed")
NOW = 1000.0
INTERVAL_S = 1800
TERMS = {"us": Terms(INTERVAL_S, is_ours=True), "peer": Terms(INTERVAL_S, is_ours=False), "off": None}
WAYS: dict[str, tuple[str, ...]] = {
    "off": (),
    "ours": ("agreed us",),
    "refreshing": ("agreed us", "timer refresh"),
    "theirs": ("agreed peer",),
    "ended": ("agreed us", "stop"),
}
EVENTS = ("agreed us", "agreed peer", "agreed off", "done", "refused", "refused 3", "refused 9999", "stop", "tick")


def play(made: SessionTimer, event: str, now: float) -> list[Effect]:
    name, _, value = event.partition(" ")
    match name:
        case "agreed":
            return made.agreed(TERMS[value], now)
        case "done":
            return made.finished(now)
        case "refused":
            return made.finished(now, float(value) if value else None)
        case "stop":
            return made.stop()
        case "timer":
            deadline = made.timers.deadline(value)
            return [] if deadline is None else made.tick(deadline)
        case "tick":
            return made.tick(now)
    raise AssertionError(event)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row['State']}-{row['Event']}")
def test_every_row_of_the_session_timer_holds(row: dict[str, str]) -> None:
    made = SessionTimer()
    for event in WAYS[row["State"]]:
        play(made, event, NOW)
    assert made.state.value == row["State"]
    effects = [effect for event in row["Event"].split(", ") for effect in play(made, event, NOW + 100)]
    assert (", ".join(type(effect).__name__ for effect in effects) or "–") == row["Effects"]
    assert made.state.value == row["Next state"]
    assert (", ".join(name for name in ("refresh", "expiry") if name in made.timers) or "–") == row["Timers"]


def test_every_state_has_rows() -> None:
    assert {row["State"] for row in ROWS} == {state.value for state in RefreshState} == set(WAYS)


@pytest.mark.parametrize(("interval_s", "refresh_s", "expiry_s"), [(1800, 900, 1768), (96, 48, 64), (90, 45, 60), (3, 1.5, 2)])
def test_refresh_and_expiry_are_due_when_the_rfc_says(interval_s: int, refresh_s: float, expiry_s: float) -> None:
    made = SessionTimer()
    made.agreed(Terms(interval_s, is_ours=True), NOW)
    assert made.timers.deadline("refresh") == NOW + refresh_s
    assert made.expires_at == NOW + expiry_s


def test_refused_refreshes_come_closer_together_and_end() -> None:
    made = SessionTimer()
    made.agreed(TERMS["us"], NOW)
    times = []
    while (deadline := made.timers.deadline("refresh")) is not None:
        times.append(deadline - NOW)
        assert made.tick(deadline) == [SendRefresh()]
        made.finished(deadline)
    assert times == [900, 1334, 1551, 1659.5, 1713.75]
    assert len(times) == 1 + MAX_RETRIES
    assert made.expires_at == NOW + INTERVAL_S - MAX_MARGIN_S
    assert made.tick(made.expires_at or 0) == [Expired()]


def test_an_accepted_refresh_counts_from_its_answer_not_from_its_end() -> None:
    made = SessionTimer()
    made.agreed(TERMS["us"], NOW)
    made.tick(NOW + 900)
    made.agreed(TERMS["us"], NOW + 901)
    made.finished(NOW + 905)
    assert made.timers.deadline("refresh") == NOW + 901 + 900


@given(st.lists(st.tuples(st.floats(0, 2000), st.sampled_from(EVENTS)), max_size=60))
def test_no_sequence_of_events_breaks_the_rules_of_the_session_timer(steps: list[tuple[float, str]]) -> None:
    made = SessionTimer()
    now, is_out, is_over = NOW, False, False
    for wait, event in steps:
        now += wait
        effects = play(made, event, now)
        if event.startswith(("done", "refused")):
            is_out = False
        for effect in effects:
            assert not is_over, "nothing after the end"
            if effect == SendRefresh():
                assert not is_out, "two refreshes under way"
                is_out = True
            if effect == Expired():
                is_over = True
        is_over = is_over or event == "stop"
        assert (made.state is RefreshState.ENDED) is is_over
        assert (made.state is RefreshState.REFRESHING) <= is_out
        if is_over or made.terms is None:
            assert not len(made.timers)
        else:
            # it always comes to an end: somebody refreshes, or the session expires
            assert "expiry" in made.timers
            assert (made.expires_at or 0) <= now + INTERVAL_S
        if made.state is not RefreshState.OURS:
            assert "refresh" not in made.timers
        if event == "tick":
            assert (made.timers.next_deadline or now + 1) > now


# -- what is agreed -------------------------------------------------------------------------------------------------------------------


def message(session_expires: str = "–", min_se: str = "–", *, timer: bool = True) -> Message:
    headers = Headers()
    for name, value in (("Session-Expires", session_expires), ("Min-SE", min_se), ("Supported", "path, timer" if timer else "path")):
        if value != "–":
            headers.add(name, value)
    return Request("INVITE", "sip:a@b", headers)


@pytest.mark.parametrize("row", ANSWERS, ids=lambda row: f"{row['Session-Expires']}-{row['Min-SE']}-{row['timer']}")
def test_every_row_of_the_answers_holds(row: dict[str, str]) -> None:
    request = message(row["Session-Expires"], row["Min-SE"], timer=row["timer"] == "yes")
    settings = TimerSettings()
    if is_too_small(request, settings):
        assert (row["Answer"], row["Require"]) == ("422, Min-SE 90", "–")
        return
    terms = answer_terms(request, settings, None)
    if terms is None:
        assert (row["Answer"], row["Require"]) == ("no timer", "–")
        return
    assert str(response_interval(terms)) == row["Answer"]
    assert ("timer" if must_require(request, terms) else "–") == row["Require"]


@pytest.mark.parametrize("is_ours", [True, False])
@pytest.mark.parametrize("asked", ["–", "1800"])
def test_a_request_that_names_no_refresher_leaves_the_role_where_it_is(asked: str, is_ours: bool) -> None:
    assert answer_terms(message(asked), TimerSettings(), Terms(1800, is_ours)) == Terms(1800, is_ours)


def test_without_an_interval_of_our_own_the_peers_is_taken_as_it_is() -> None:
    settings = TimerSettings(expires_s=0)
    assert answer_terms(message("7200;refresher=uac"), settings, None) == Terms(7200, is_ours=False)
    assert answer_terms(message(), settings, None) is None
    assert request_interval(settings, None, 0, is_first=True) is None


@pytest.mark.parametrize("line", ["Supported: TIMER", "k: 100rel,timer ", "Require: timer"])
def test_the_option_is_found_in_whatever_form(line: str) -> None:
    name, _, value = line.partition(": ")
    headers = Headers()
    headers.add(name, value)
    assert supports_timer(Request("INVITE", "sip:a@b", headers))


def test_the_compact_form_and_the_first_of_several_lines_count() -> None:
    headers = Headers()
    headers.add("x", "600 ; Refresher = UAC;foo=bar")
    headers.add("Session-Expires", "90")
    assert read_interval(Request("INVITE", "sip:a@b", headers)) == Interval(600, "uac")


@pytest.mark.parametrize(
    ("said", "terms"),
    [
        ("–", None),
        ("rubbish", None),
        ("1800;refresher=uac", Terms(1800, is_ours=True)),
        ("1800;refresher=uas", Terms(1800, is_ours=False)),
        ("1800", Terms(1800, is_ours=True)),
        ("1;refresher=uac", Terms(90, is_ours=True)),
        ("0;refresher=uas", Terms(90, is_ours=False)),
        ("99999999999", Terms(MAX_INTERVAL_S, is_ours=True)),
    ],
)
def test_a_2xx_sets_the_terms(said: str, terms: Terms | None) -> None:
    assert agreed_terms(Response(200, None, message(said).headers), TimerSettings()) == terms


def test_what_we_ask_for_keeps_interval_and_roles() -> None:
    settings = TimerSettings()
    assert str(request_interval(settings, None, 0, is_first=True)) == "1800"
    assert str(request_interval(settings, None, 3600, is_first=True)) == "3600"
    assert str(request_interval(settings, Terms(600, is_ours=True), 0, is_first=False)) == "600;refresher=uac"
    assert str(request_interval(settings, Terms(600, is_ours=False), 700, is_first=False)) == "700;refresher=uas"
    assert request_interval(settings, None, 0, is_first=False) is None
    assert TimerSettings(expires_s=60, min_se_s=90).asked_s == 90


@pytest.mark.parametrize(
    ("wanted", "seen_s", "least"), [("3600", 0, 3600), ("3600", 7200, 7200), ("1800", 0, None), ("–", 0, None), ("x", 0, None)]
)
def test_a_422_is_of_use_only_when_it_asks_for_more(wanted: str, seen_s: int, least: int | None) -> None:
    refusal = Response(422, None, message(min_se=wanted).headers)
    assert next_min_se(refusal, Interval(1800), seen_s) == least
    assert next_min_se(refusal, None, seen_s) is None


VALUES = st.one_of(
    st.text(st.characters(exclude_characters="\r\n"), max_size=40),
    st.builds(
        "{}{}".format, st.integers(-10, 10**11), st.sampled_from(["", ";refresher=uac", ";refresher=uas", ";refresher", ";;", ",90"])
    ),
)


@given(VALUES, VALUES, st.sampled_from(["timer", "", "path, timer", ",,;"]), st.booleans())
def test_no_value_raises_or_makes_us_refresh_faster_than_our_minimum(
    session_expires: str, min_se: str, supported: str, is_ours: bool
) -> None:
    headers = Headers()
    for name, value in (("Session-Expires", session_expires), ("Min-SE", min_se), ("Supported", supported)):
        headers.add(name, value)
    request = Request("INVITE", "sip:a@b", headers)
    settings = TimerSettings()
    read_min_se(request)
    if not is_too_small(request, settings):
        terms = answer_terms(request, settings, Terms(100, is_ours))
        assert terms is None or settings.min_se_s <= terms.expires_s <= MAX_INTERVAL_S
    agreed = agreed_terms(Response(200, None, headers), settings)
    assert agreed is None or settings.min_se_s <= agreed.expires_s <= MAX_INTERVAL_S
