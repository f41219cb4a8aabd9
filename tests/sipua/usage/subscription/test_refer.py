"""What the tables don't say of a transfer: matching, retry, real notifiers' messages, and random courses of events."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipua.message import Request, parse_message
from sipua.timers import Timing
from sipua.usage.subscription.machine import AnswerNotify
from sipua.usage.subscription.outcome import Doubt, TransferKind, TransferOutcome
from sipua.usage.subscription.package import NotifyInfo
from sipua.usage.subscription.refer import Concluded, Progress, ReferSettings, ReferState, ReferTransfer
from tests.support.transfers import START, TransferWalk, make_notify


def outcome_of(run: TransferWalk) -> TransferOutcome:
    assert len(run.outcomes) == 1
    return run.outcomes[0]


def sent(*cseqs: int) -> ReferTransfer:
    transfer = ReferTransfer()
    for cseq in cseqs:
        transfer.sent(cseq, START)
    return transfer


class TestMatching:
    def test_any_cseq_number_of_the_refer_is_its_id(self) -> None:
        """A challenge raises the CSeq; peers use the one or the other."""
        transfer = sent(5, 6)
        assert [transfer.matches(event_id) for event_id in ("5", "6", "7", "05", "")] == [
            True,
            True,
            False,
            False,
            False,
        ]

    def test_notify_without_id_belongs_to_the_only_open_transfer(self) -> None:
        assert sent(5).matches(None)

    def test_form_without_id_is_demanded_once_it_was_used(self) -> None:
        transfer = sent(5)
        transfer.notify(make_notify(2, "100", "active"), START)
        assert transfer.matches(None)
        assert not transfer.matches("5")

    def test_form_with_id_is_demanded_once_it_was_used(self) -> None:
        transfer = sent(5)
        transfer.notify(NotifyInfo(2, "5", "active", 60, None, "message/sipfrag", b"SIP/2.0 100 Trying"), START)
        assert transfer.matches("5")
        assert not transfer.matches(None)

    def test_transfer_with_final_status_leaves_a_notify_without_id_to_the_next(self) -> None:
        """A peer that writes no ids said 486 but not terminated; then the next REFER was sent."""
        both = first, second = TransferWalk().run("REFER 202; NOTIFY 486 active").transfer, sent(9)
        assert first.is_subscribed
        assert not first.matches(None, both)
        assert second.matches(None, both)

    def test_transfer_that_timed_out_keeps_the_notifys_without_id(self) -> None:
        """Its late result must not pass for that of the next transfer, which may use ids."""
        first = TransferWalk().run("REFER 202; NOTIFY 180 active expires=60; timer verb").transfer
        both = first, second = first, sent(9)
        assert first.outcome is not None
        assert first.matches(None, both)
        assert not second.matches(None, both)
        assert second.matches("9", both)
        first.notify(make_notify(99, "200", "terminated"), START + 70)
        assert second.matches(None, both)

    def test_notify_without_id_passes_over_a_transfer_whose_notifys_have_one(self) -> None:
        first, second = sent(5), sent(9)
        first.notify(NotifyInfo(2, "5", "active", 60, None, "message/sipfrag", b"SIP/2.0 100 Trying"), START)
        assert second.matches(None, (first, second))

    def test_oldest_takes_a_notify_without_id_when_all_have_their_final_status(self) -> None:
        walks = [TransferWalk().run("REFER 202; NOTIFY 486 active") for _ in range(2)]
        first, second = transfers = [walk.transfer for walk in walks]
        assert first.matches(None, transfers)
        assert not second.matches(None, transfers)

    def test_nothing_matches_before_sending_or_after_the_end(self) -> None:
        transfer = ReferTransfer()
        assert not transfer.matches(None)
        transfer.sent(5, START)
        transfer.refer_response(603, START)
        assert not transfer.matches("5")

    def test_transfer_that_is_reported_still_matches_while_subscribed(self) -> None:
        run = TransferWalk().run("REFER 202; NOTIFY 180 active expires=60; BYE out")
        assert run.outcomes
        assert run.transfer.matches(None)

    @pytest.mark.parametrize("end", ["BYE out", "BYE in; linger", "NOTIFY 486 active", "timer verb"])
    def test_reports_that_never_end_do_not_keep_a_transfer_that_is_reported(self, end: str) -> None:
        run = TransferWalk().run(f"REFER 202; NOTIFY 180 active expires=600; {end}")
        (reported_at,) = run.concluded_at
        while run.ended_at is None:
            assert run.now < reported_at + 200
            run.run("NOTIFY 180 active expires=600; wait 10")
        assert round(run.ended_at - reported_at, 3) == (32 if "486" in end else 180)


class TestRetryAdvice:
    """Asterisk: 202 and NOTIFY 400 when the REFER comes before its bridge is up."""

    @staticmethod
    def advised(events: str, call_age: float | None = 0.1) -> bool:
        walk = TransferWalk(step=0.0, confirmed_at=None if call_age is None else START - call_age)
        return outcome_of(walk.run(events)).retry_advised

    def test_refused_soon_after_the_ack_advises_to_try_again(self) -> None:
        assert self.advised("REFER 202; NOTIFY 100 active expires=600; NOTIFY 400 terminated")

    def test_advice_does_not_depend_on_when_the_response_comes(self) -> None:
        assert self.advised("NOTIFY 400 terminated; wait 3; REFER 202")

    def test_advice_does_not_depend_on_when_the_notify_comes(self) -> None:
        """It may have been lost twice."""
        assert self.advised("REFER 202; wait 1.5; NOTIFY 400 terminated")

    @pytest.mark.parametrize("call_age", [1.0, 600.0, None])
    def test_older_call_is_not_too_young(self, call_age: float | None) -> None:
        assert not self.advised("REFER 202; NOTIFY 400 terminated", call_age)

    @pytest.mark.parametrize(
        "events",
        [
            "REFER 202; NOTIFY 404 terminated",
            "REFER 202; NOTIFY 400 active",
            "REFER 202; NOTIFY 180 active; NOTIFY 400 terminated",
            "REFER 202; BYE in; NOTIFY 400 terminated",
            "REFER 400",
            "NOTIFY 400 terminated; REFER 403",
        ],
    )
    def test_other_failures_do_not(self, events: str) -> None:
        assert not self.advised(events)

    def test_age_of_the_call_counts_at_the_last_sending(self) -> None:
        assert not self.advised("wait 5; REFER 407; retry; REFER 202; NOTIFY 400 terminated")
        assert self.advised("wait 0.2; REFER 407; retry; REFER 202; NOTIFY 400 terminated")


class TestOrder:
    def test_older_notify_is_refused_and_ignored(self) -> None:
        """RFC 3261 §12.2.2. The dialog refuses it already; this is the second lock."""
        transfer = sent(5)
        transfer.refer_response(202, START)
        transfer.notify(make_notify(12, "180", "active"), START)
        assert transfer.notify(make_notify(11, "200", "terminated"), START) == [AnswerNotify(500)]
        assert transfer.state is ReferState.ACCEPTED

    def test_late_provisional_status_does_not_replace_a_newer_one(self) -> None:
        run = TransferWalk(step=0.0).run("REFER 202; NOTIFY 180 active expires=60; BYE in; late NOTIFY 100 active; wait 2")
        assert outcome_of(run).notify_code == 180
        assert run.progress == [180]

    def test_late_provisional_status_counts_when_none_is_known(self) -> None:
        run = TransferWalk(step=0.0).run("REFER 202; BYE in; late NOTIFY 100 active; wait 2")
        assert (outcome_of(run).notify_code, outcome_of(run).notified) == (100, True)

    def test_late_result_does_not_replace_a_result(self) -> None:
        run = TransferWalk(step=0.0).run("REFER 202; NOTIFY 486 active; BYE in; late NOTIFY 200 terminated")
        assert outcome_of(run).kind is TransferKind.BUSY

    def test_answer_comes_first_then_progress_then_outcome_then_end(self) -> None:
        transfer = sent(5)
        transfer.refer_response(202, START)
        assert transfer.notify(make_notify(2, "180", "active"), START) == [AnswerNotify(200), Progress(180)]
        names = [type(effect).__name__ for effect in transfer.notify(make_notify(3, "200", "terminated"), START)]
        assert names == ["AnswerNotify", "Concluded", "Terminated"]

    def test_no_progress_is_told_after_the_outcome(self) -> None:
        run = TransferWalk().run("REFER 202; NOTIFY 200 active; NOTIFY 180 active")
        assert run.progress == []

    def test_response_that_comes_during_the_linger_still_counts(self) -> None:
        run = TransferWalk(step=0.0).run("NOTIFY 100 active; BYE in; wait 5; REFER 202; wait 2")
        assert outcome_of(run).refer_code == 202

    def test_refusal_that_comes_after_the_outcome_ends_the_subscription(self) -> None:
        run = TransferWalk(step=0.0).run("NOTIFY 200 active; wait 5; REFER 403")
        assert outcome_of(run).kind is TransferKind.TRANSFERRED
        assert run.ended_at is not None


def test_415_names_what_is_accepted() -> None:
    transfer = sent(5)
    assert transfer.notify(make_notify(2, "picture", "active"), START) == [AnswerNotify(415, (("Accept", "message/sipfrag;version=2.0"),))]


@pytest.mark.parametrize(
    ("events", "detail"),
    [
        ("REFER 403", "REFER 403"),
        ("REFER 202; NOTIFY 486 terminated", "NOTIFY 486 Whatever"),
        ("NOTIFY 180 active; REFER 603", "REFER 603"),
        ("transport error", "the REFER could not be sent"),
        ("REFER 202; NOTIFY 100 terminated", "the peer ended the subscription without a result"),
    ],
)
def test_detail_says_what_decided(events: str, detail: str) -> None:
    assert outcome_of(TransferWalk().run(events)).detail == detail


def test_detail_has_the_notifiers_own_reason() -> None:
    transfer = sent(5)
    transfer.refer_response(202, START)
    effects = transfer.notify(NotifyInfo(2, None, "terminated", None, "giveup"), START)
    outcome = next(effect.outcome for effect in effects if isinstance(effect, Concluded))
    assert outcome.detail == "the peer ended the subscription without a result (giveup)"


@pytest.mark.parametrize("reason", ["deactivated", "probation", "rejected", "timeout", "giveup", "noresource", "invariant", None])
def test_no_reason_of_a_terminated_subscription_makes_up_a_result(reason: str | None) -> None:
    transfer = sent(5)
    transfer.refer_response(202, START)
    transfer.notify(NotifyInfo(2, None, "terminated", None, reason, "message/sipfrag", b"SIP/2.0 100 Trying"), START)
    assert transfer.outcome is not None
    assert transfer.outcome.kind is TransferKind.UNKNOWN


@pytest.mark.parametrize("settings", [{"notify_timeout_s": 0}, {"bye_grace_s": -1}, {"bye_grace_s": 33}])
def test_settings_out_of_range_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="notify_timeout_s"):
        ReferSettings(**settings)


def test_shorter_timers_shorten_the_wait() -> None:
    transfer = ReferTransfer(timing=Timing(t1=0.01, t2=0.1, t4=0.1))
    transfer.sent(1, 0.0)
    transfer.refer_response(202, 0.0)
    assert transfer.timers.next_deadline == pytest.approx(0.64)


ASTERISK = (
    b"NOTIFY sip:agent@127.0.0.1:25260 SIP/2.0\r\n"
    b"Via: SIP/2.0/UDP 127.0.0.1:25270;rport;branch=z9hG4bKPja61f5d74\r\n"
    b'From: "Anonymous" <sip:anonymous@anonymous.invalid>;tag=f3da42e0\r\n'
    b"To: <sip:1000@127.0.0.1>;tag=agent1313\r\n"
    b"Call-ID: bb2ccbb1\r\n"
    b"CSeq: %d NOTIFY\r\n"
    b"Event: refer\r\n"
    b"Subscription-State: %s\r\n"
    b"Allow-Events: refer\r\n"
    b"Content-Type: message/sipfrag;version=2.0\r\n"
    b"Content-Length: %d\r\n\r\n%s"
)


def real_notify(template: bytes, cseq: int, state: bytes, body: bytes) -> NotifyInfo:
    request = parse_message(template % (cseq, state, len(body), body))
    assert isinstance(request, Request)
    return NotifyInfo.from_request(request)


@pytest.mark.parametrize(
    ("codes", "kind"),
    [
        ([100, 180, 200], TransferKind.TRANSFERRED),
        ([100, 486], TransferKind.BUSY),
        ([100, 503], TransferKind.FAILED),
        ([404], TransferKind.FAILED),
    ],
)
def test_notifies_as_asterisk_sends_them(codes: list[int], kind: TransferKind) -> None:
    """No id, active;expires=599, then terminated;reason=noresource with the result."""
    transfer = sent(5)
    transfer.refer_response(202, START, expires=600)
    for cseq, code in enumerate(codes, 23987):
        state = b"active;expires=599" if code < 200 else b"terminated;reason=noresource"
        info = real_notify(ASTERISK, cseq, state, b"SIP/2.0 %d Reason\r\n" % code)
        assert transfer.matches(info.event_id)
        transfer.notify(info, START + 1.5)
    doubt = Doubt.CUT_SHORT if codes == [100, 180, 200] else Doubt.NONE
    assert transfer.outcome == TransferOutcome(kind, 202, codes[-1], notified=True, detail=f"NOTIFY {codes[-1]} Reason", doubt=doubt)
    assert transfer.state is ReferState.TERMINATED


def test_notify_as_freeswitch_sends_it() -> None:
    """One NOTIFY with id, terminated at once, the code in place of the phrase."""
    transfer = sent(101)
    transfer.refer_response(202, START, expires=60)
    template = ASTERISK.replace(b"Event: refer\r\n", b"Event: refer;id=101\r\n")
    info = real_notify(template, 8, b"terminated;reason=noresource", b"SIP/2.0 486 486\r\n")
    assert transfer.matches(info.event_id)
    transfer.notify(info, START + 3)
    assert transfer.outcome is not None
    assert (transfer.outcome.kind, transfer.outcome.detail) == (TransferKind.BUSY, "NOTIFY 486 486")


BODIES = st.sampled_from(["100", "180", "183", "200", "202", "302", "400", "404", "486", "487", "603", "700", "empty", "junk", "picture"])
STATES = st.sampled_from(["active", "pending", "terminated", "none", "weird"])
EXPIRES = st.sampled_from(["", " expires=0", " expires=5", " expires=60", " expires=4294967295"])
EVENTS = st.one_of(
    st.sampled_from(["BYE in", "BYE out", "call lost", "retry", "timer F", "transport error", "REFER 100", "REFER 202 Refer-Sub=false"]),
    st.sampled_from([200, 202, 302, 401, 403, 407, 481, 491, 500, 603]).map(lambda code: f"REFER {code}"),
    st.sampled_from([0.0, 0.4, 1.0, 2.0, 5.0, 32.0, 64.0, 200.0]).map(lambda delay: f"wait {delay}"),
    st.builds(
        lambda late, what, state, expires: f"{late}NOTIFY {what} {state}{expires}",
        st.sampled_from(["", "", "late "]),
        BODIES,
        STATES,
        EXPIRES,
    ),
)
SETTINGS = st.builds(ReferSettings, st.sampled_from([1.0, 30.0, 180.0, 3600.0]), st.sampled_from([0.0, 2.0, 32.0]))


@given(SETTINGS, st.lists(EVENTS, max_size=14))
def test_whatever_happens_there_is_one_outcome_and_an_end(settings: ReferSettings, events: list[str]) -> None:
    """Every NOTIFY is answered once, nothing comes after the end, no timer is left (the walk checks the first two)."""
    run = TransferWalk(settings, step=0.01).run(";".join(events))
    notifies = sum(event.startswith("NOTIFY") for event in events)
    unmatched_late = len(run.answers) - notifies
    assert 0 <= unmatched_late <= sum(event.startswith("late") for event in events)
    run.wait(run.now + 10_000)
    outcome = outcome_of(run)
    assert run.ended_at is not None
    assert run.concluded_at[0] <= run.ended_at
    assert run.transfer.state is ReferState.TERMINATED
    assert len(run.transfer.timers) == 0
    assert outcome.call_lost is (outcome.kind is TransferKind.CALL_LOST)
    assert not outcome.is_success or 200 <= outcome.notify_code < 300
    assert outcome.detail


@given(st.lists(EVENTS, max_size=10))
def test_outcome_comes_within_the_bounds_of_the_settings(events: list[str]) -> None:
    """No more than Timer N, the wait for a NOTIFY or the linger and T4 pass after the last event of the network."""
    run = TransferWalk(step=0.01).run(";".join(event for event in events if not event.startswith("wait")))
    last = run.now
    run.wait(last + 10_000)
    assert run.concluded_at[0] <= last + 180 + 5 + 2
