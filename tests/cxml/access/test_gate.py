"""The gate: one door for every method, in which the peer is found first and then each limit is asked (docs/spec/access.md)."""

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from structlog.testing import capture_logs

from cxml.access.gate import Gate
from cxml.access.peers import Peer, Peers, Proof
from cxml.access.quiet import LOG_INTERVAL_S
from cxml.access.rules import AccessRules, Denial, Strangers, Visit
from cxml.access.sources import BanRules
from sipua.auth import Account
from sipua.auth.digest import Challenge, make_credentials
from sipua.message import Request
from sipua.transaction.admission import SILENCE, Refusal
from tests.support.loopback import Loopback, LoopbackChannel
from tests.support.messages import request
from tests.support.tables import SPEC, read_table

METHODS = ("INVITE", "OPTIONS", "REGISTER", "SUBSCRIBE", "NOTIFY", "REFER", "MESSAGE", "INFO", "BYE", "FROB")
BUSY = Denial("busy", Refusal(503, headers=(("Retry-After", "3"),)), "wait")
PBX = Peer("pbx", (ipaddress.ip_network("10.0.0.0/24"),))
BOTH = Peer("both", (ipaddress.ip_network("10.0.1.0/24"),), proof=Proof.BOTH, account=Account("bo", "th"))
ROAMING = Peer("roaming", (), proof=Proof.DIGEST, account=Account("ro", "aming"))
CERTIFIED = Peer("certified", (), certificates=("pbx.example.com",))
HOSTS = {"address": "10.0.0.7", "both": "10.0.1.7", "none": "192.0.2.1"}


@dataclass
class Counts:
    """Keeps what the gate reports."""

    refused: list[str] = field(default_factory=list)
    banned: int = 0

    def request_refused(self, reason: str, method: str) -> None:
        self.refused.append(reason)

    def source_banned(self) -> None:
        self.banned += 1


@dataclass
class Clock:
    """Time that tests set."""

    now: float = 100.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Door:
    """A gate, its clock and what it reports."""

    peers: tuple[Peer, ...] = (PBX, BOTH, ROAMING, CERTIFIED)
    rules: AccessRules = field(default_factory=AccessRules)
    clock: Clock = field(default_factory=Clock)
    counts: Counts = field(default_factory=Counts)

    def __post_init__(self) -> None:
        self.gate = Gate(Peers(self.peers), self.counts, self.clock, self.rules)
        self.net = Loopback()

    def channel(self, host: str, *, certificate: str = "") -> LoopbackChannel:
        channel = self.net.channel("UDP", host)
        channel.identity = (certificate,) if certificate else ()
        return channel

    def ask(self, host: str, method: str = "INVITE", *, certificate: str = "") -> Refusal | None:
        return self.gate.admit(request(method), self.channel(host, certificate=certificate))

    def answered(self, host: str, username: str, password: str, method: str = "INVITE", nc: int = 1) -> Request:
        """Make a request that answers a challenge of the gate's."""
        asked = self.gate._digest.challenge(host, self.clock.now)[0]
        challenge = Challenge.parse(asked)
        assert challenge is not None
        made = request(method)
        made.headers.add("Authorization", make_credentials(challenge, username, password, method, made.uri, b"", nc, "c0ffee"))
        return made

    def show(self, host: str, username: str, password: str, method: str = "INVITE") -> Refusal | None:
        return self.gate.admit(self.answered(host, username, password, method), self.channel(host))


def digest_only() -> Door:
    return Door((ROAMING,))


# -- who is it ---------------------------------------------------------------------------------------------------------------------------

CREDENTIALS = {"right": ("ro", "aming"), "wrong": ("ro", "aring"), "elsewhere": ("bo", "th"), "stale": ("ro", "aming"), "none": ("", "")}


def values(cell: str, every: tuple[str, ...]) -> tuple[str, ...]:
    return every if cell == "*" else (cell,)


def combinations() -> list[tuple[dict[str, str], str, str, str]]:
    return [
        (row, anywhere, credentials, strangers)
        for row in read_table(SPEC / "access.md", "Who is it")
        for anywhere in values(row["Anywhere"], ("no", "yes"))
        for credentials in values(row["Credentials"], tuple(CREDENTIALS))
        for strangers in values(row["strangers"], ("silent", "refuse"))
    ]


@pytest.mark.parametrize(("row", "anywhere", "credentials", "strangers"), combinations(), ids=lambda v: v if isinstance(v, str) else "")
@pytest.mark.parametrize("method", ["INVITE", "OPTIONS", "REGISTER"])
def test_every_row_of_the_table(row: dict[str, str], anywhere: str, credentials: str, strangers: str, method: str) -> None:
    peers = (PBX, BOTH, CERTIFIED, *([ROAMING] if anywhere == "yes" else []))
    door = Door(peers, AccessRules(strangers=Strangers(strangers)))
    host = HOSTS[row["Address"]]
    if row["Banned"] == "yes":
        for _ in range(5):
            door.gate._bans.failed(host, door.clock.now)
    username, password = ("bo", "th") if row["Address"] == "both" and credentials == "right" else CREDENTIALS[credentials]
    sent = door.answered(host, username, password, method) if username else request(method)
    if credentials == "stale":
        door.clock.now += 301
    refused = door.gate.admit(sent, door.channel(host, certificate="pbx.example.com" if row["Certificate"] == "peer" else ""))
    assert told(refused) == row["Answer"]
    failures = door.gate._bans._failures.find(host)
    assert (failures is not None and failures.count > 0) == (row["Counts as failure"] == "yes")
    assert (sent.sender != "") == (row["Answer"] == "in")


def told(refusal: Refusal | None) -> str:
    if refusal is None:
        return "in"
    is_stale = any(value.endswith("stale=true") for _, value in refusal.headers)
    return "nothing" if refusal.status == SILENCE else f"{refusal.status}{' stale' if is_stale else ''}"


DOORS = {"silent": Door((PBX,)), "refuse": Door((PBX,), AccessRules(strangers=Strangers.REFUSE)), "digest": Door()}


@pytest.mark.parametrize("door", DOORS.values(), ids=DOORS)
def test_a_stranger_gets_one_answer_whatever_it_asks_for(door: Door) -> None:
    answers = set()
    for method in METHODS:
        for extension in ("100", "900", "admin", "%00", "a" * 200):
            sent = request(method, uri=f"sip:{extension}@10.0.0.1")
            refusal = door.gate.admit(sent, door.channel(HOSTS["none"]))
            assert refusal is not None
            answers.add((refusal.status, refusal.reason, tuple(name for name, _ in refusal.headers)))
            door.clock.now += 1
    assert len(answers) == 1


@pytest.mark.parametrize("username", ["ro", "nobody", "RO", "admin", "100"])
def test_a_wrong_password_gets_what_an_unknown_user_gets(username: str) -> None:
    refusal = digest_only().show(HOSTS["none"], username, "guess")
    assert refusal is not None
    assert (refusal.status, refusal.reason, len(refusal.headers), told(refusal)) == (401, None, 2, "401")


@pytest.mark.parametrize("method", METHODS)
def test_a_request_that_is_let_in_bears_its_peers_name(method: str) -> None:
    door = Door()
    visits: list[Visit] = []

    def look(visit: Visit) -> None:
        visits.append(visit)

    door.gate.checks.append(look)
    wanted = request(method)
    assert door.gate.admit(wanted, door.channel("10.0.0.7")) is None
    assert wanted.sender == "pbx"
    assert [(visit.request, visit.peer) for visit in visits] == [(wanted, PBX)]


def test_the_user_of_a_peer_with_an_address_may_not_call_as_another_from_there() -> None:
    other = Peer("other", (ipaddress.ip_network("10.0.2.0/24"),), proof=Proof.BOTH, account=Account("ot", "her"))
    door = Door((BOTH, other))
    assert told(door.show("10.0.2.1", "ot", "her")) == "in"
    assert told(door.show("10.0.2.1", "bo", "th")) == "401"
    assert told(door.show("10.0.1.7", "bo", "th")) == "in"


def test_a_certificate_tells_the_peer_before_the_address_does() -> None:
    door, sent = Door(), request("INVITE")
    assert door.gate.admit(sent, door.channel(HOSTS["address"], certificate="pbx.example.com")) is None
    assert sent.sender == "certified"
    assert door.gate.admit(sent, door.channel(HOSTS["address"], certificate="other.example.com")) is None
    assert sent.sender == "pbx"


def test_a_certificate_is_compared_without_regard_to_case_and_must_be_a_peers() -> None:
    door = Door((CERTIFIED,))
    assert door.ask(HOSTS["none"], certificate="PBX.Example.com") is None
    assert told(door.ask(HOSTS["none"], certificate="other.example.com")) == "nothing"


@pytest.mark.parametrize(("door", "answer"), [(digest_only(), "481"), (Door((PBX,)), "nothing")], ids=["digest", "silent"])
def test_cancel_is_never_challenged(door: Door, answer: str) -> None:
    """RFC 3261 §22.1."""
    assert told(door.ask(HOSTS["none"], "CANCEL")) == answer
    assert door.ask("10.0.0.7", "CANCEL") is None or PBX not in door.peers


# -- bans and answers ----------------------------------------------------------------------------------------------------------------------


def test_wrong_passwords_ban_a_source_for_a_while() -> None:
    door = digest_only()
    answers = [told(door.show(HOSTS["none"], "ro", f"guess{number}")) for number in range(7)]
    assert answers == ["401"] * 4 + ["nothing"] * 3
    assert (door.counts.banned, door.gate.banned_count()) == (1, 1)
    assert told(door.show(HOSTS["none"], "ro", "aming")) == "nothing"
    assert told(door.show("192.0.2.2", "ro", "aming")) == "in"
    door.clock.now += 3601
    assert told(door.show(HOSTS["none"], "ro", "aming")) == "in"
    assert door.gate.banned_count() == 0


def test_a_banned_source_is_a_stranger_again_though_it_has_shown_a_password() -> None:
    door = digest_only()
    assert told(door.show(HOSTS["none"], "ro", "aming")) == "in"
    assert door.gate.is_known(HOSTS["none"])
    for number in range(5):
        door.show(HOSTS["none"], "ro", f"guess{number}")
    assert door.gate.banned_count() == 1
    assert not door.gate.is_known(HOSTS["none"])
    assert not door.gate.may_answer(door.channel(HOSTS["none"]))


def test_nobody_can_have_somebody_else_banned() -> None:
    """Who sends in the name of another never reads the nonce that goes there: no answer of theirs is looked at, none counts."""
    door = digest_only()
    for number in range(50):
        forged = door.answered("198.51.100.9", "ro", f"guess{number}")  # a nonce that the attacker got at its own address
        assert told(door.gate.admit(forged, door.channel(HOSTS["none"]))) in ("401 stale", "nothing")
        door.clock.now += 0.1
    assert told(door.show(HOSTS["none"], "ro", "aming")) == "in"
    assert door.counts.banned == 0


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "10.0.1.7"])
def test_loopback_and_the_addresses_of_peers_are_never_banned(host: str) -> None:
    door = Door()
    for _ in range(20):
        door.show(host, "ro", "guess")
        door.clock.now += 0.1
    assert door.counts.banned == 0


def test_another_address_of_the_same_ipv6_subnet_is_banned_with_it() -> None:
    door = digest_only()
    for number in range(5):
        door.show(f"2001:db8::{number + 1}", "ro", "guess")
    assert told(door.ask("2001:db8::ffff")) == "nothing"
    assert told(door.ask("2001:db8:0:1::1")) == "401"


def test_answers_to_one_unknown_source_are_limited() -> None:
    door = Door((ROAMING,), AccessRules(max_answers_per_s=5))
    answers = [told(door.ask(HOSTS["none"])) for _ in range(100)]
    assert answers == ["401"] * 10 + ["nothing"] * 90
    door.clock.now += 1
    assert [told(door.ask(HOSTS["none"])) for _ in range(6)] == ["401"] * 5 + ["nothing"]
    assert told(door.ask("192.0.2.2")) == "401"


def test_a_source_that_has_shown_a_password_gets_every_answer() -> None:
    door = Door((ROAMING,), AccessRules(max_answers_per_s=1))
    assert told(door.show(HOSTS["none"], "ro", "aming")) == "in"
    assert [told(door.ask(HOSTS["none"])) for _ in range(50)] == ["401"] * 50


def test_who_gets_an_answer_to_a_broken_message() -> None:
    door = Door(rules=AccessRules(bans=BanRules(max_failures=1)))
    assert door.gate.may_answer(door.channel("10.0.0.7"))
    assert door.gate.may_answer(door.channel(HOSTS["none"], certificate="pbx.example.com"))
    assert not door.gate.may_answer(door.channel(HOSTS["none"]))
    door.show(HOSTS["none"], "ro", "aming")
    assert door.gate.may_answer(door.channel(HOSTS["none"]))
    refusing = Door((PBX, ROAMING), AccessRules(Strangers.REFUSE, bans=BanRules(max_failures=1), max_answers_per_s=1))
    assert [refusing.gate.may_answer(refusing.channel(HOSTS["none"])) for _ in range(3)] == [True, True, False]
    refusing.show("192.0.2.2", "ro", "guess")
    assert not refusing.gate.may_answer(refusing.channel("192.0.2.2"))


# -- the other limits, and what is told ----------------------------------------------------------------------------------------------


def test_the_first_denial_counts_and_strangers_are_asked_for_nothing() -> None:
    door = Door()
    asked: list[str] = []

    def check(name: str, denial: Denial | None) -> Callable[[Visit], Denial | None]:
        def ask(visit: Visit) -> Denial | None:
            asked.append(name)
            return denial

        return ask

    door.gate.checks += [check("one", None), check("two", BUSY), check("three", None)]
    assert door.ask("10.0.0.7") == BUSY.refusal
    door.ask(HOSTS["none"])
    assert asked == ["one", "two"]


@pytest.mark.parametrize("sent", [request("CANCEL"), request("BYE", to_tag="gone"), request("INVITE", to_tag="gone")])
def test_what_opens_nothing_passes_no_limit(sent: Request) -> None:
    door = Door()
    door.gate.checks.append(lambda _visit: BUSY)
    assert door.gate.admit(sent, door.channel("10.0.0.7")) is None


def test_refusals_are_logged_once_an_interval_by_reason_and_peer() -> None:
    door = Door((PBX,))
    door.gate.checks.append(lambda _visit: BUSY)
    with capture_logs() as logs:
        for host in ("192.0.2.1", "192.0.2.2", "10.0.0.7", "10.0.0.8", "192.0.2.3"):
            door.ask(host)
        door.clock.now += LOG_INTERVAL_S
        door.ask("192.0.2.4", "OPTIONS")
    assert {line["event"] for line in logs} == {"request_refused"}
    assert [(line["reason"], line["peer"], line["source"], line["method"], line["held_back"]) for line in logs] == [
        ("stranger", "", "udp:192.0.2.1:5060", "INVITE", 0),
        ("busy", "pbx", "udp:10.0.0.7:5060", "INVITE", 0),
        ("stranger", "", "udp:192.0.2.4:5060", "OPTIONS", 2),
    ]
    assert door.counts.refused == ["stranger", "stranger", "busy", "busy", "stranger", "stranger"]


def test_a_ban_is_told_once_and_what_a_peer_is_asked_again_is_not_told() -> None:
    door = digest_only()
    with capture_logs() as logs:
        door.show("192.0.2.9", "ro", "aming")
        door.ask("192.0.2.9")
        for _ in range(20):
            door.show(HOSTS["none"], "ro", "guess")
    assert [(line["event"], line.get("reason", ""), line["source"]) for line in logs] == [
        ("request_refused", "wrong_password", "udp:192.0.2.1:5060"),
        ("source_banned", "", "192.0.2.1"),
        ("request_refused", "banned", "udp:192.0.2.1:5060"),
    ]
    assert "guess" not in str(logs)


# -- several processes ---------------------------------------------------------------------------------------------------------------------


def test_wrong_passwords_count_in_all_processes_and_a_ban_is_told_once() -> None:
    doors = [Door(rules=AccessRules(bans=BanRules(max_failures=4))) for _ in range(2)]
    for door, other in zip(doors, reversed(doors), strict=True):
        door.gate.on_failure = other.gate.heard_failure
    for number in range(4):
        door = doors[number % 2]
        channel = door.channel("192.0.2.1")
        assert (door.gate.admit(door.answered("192.0.2.1", "ro", f"guess{number}"), channel) or Refusal(200)).status == (
            401 if number < 3 else 0
        )
    assert [door.ask("192.0.2.1", "OPTIONS") for door in doors] == [Refusal(SILENCE)] * 2
    assert [door.counts.banned for door in doors] == [0, 1]
    assert [door.gate.banned_count() for door in doors] == [1, 1]


def test_a_source_that_has_shown_a_password_to_one_process_is_known_to_all_until_it_is_banned() -> None:
    here, there = Door(rules=AccessRules(bans=BanRules(max_failures=1))), Door(rules=AccessRules(bans=BanRules(max_failures=1)))
    told: list[str] = []

    def tell(host: str) -> None:
        told.append(host)
        there.gate.heard_proven(host)

    here.gate.on_proven = tell
    for nc in (1, 2):
        assert here.gate.admit(here.answered("192.0.2.1", "ro", "aming", nc=nc), here.channel("192.0.2.1")) is None
    assert told == ["192.0.2.1"]
    assert there.gate.is_known("192.0.2.1")
    there.gate.heard_failure("192.0.2.1")
    assert not there.gate.is_known("192.0.2.1")
