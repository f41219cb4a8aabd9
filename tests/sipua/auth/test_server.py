"""The digest server: what it asks, what it believes, and what an attacker can do to it (RFC 3261 §22, RFC 7616, RFC 8760)."""

import functools
import hashlib
import hmac
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipua.auth import server as module
from sipua.auth.credentials import Authenticator, Credential
from sipua.auth.digest import ALGORITHMS, Challenge, digest_response, make_credentials
from sipua.auth.server import MAX_CNONCE, WINDOW, Account, DigestServer, Result
from sipua.message import Request, make_response
from tests.support.messages import request

KEY = b"k" * 32
SOURCE = "192.0.2.7"
LIFETIME_S = 300.0
URI = "sip:bob@192.0.2.2"
ALICE = Account("alice", "wonderland")


def server(*accounts: Account, algorithms: tuple[str, ...] = ("SHA-256", "MD5"), key: bytes = KEY) -> DigestServer:
    return DigestServer(accounts or (ALICE,), "cxmld", key, algorithms, LIFETIME_S)


def challenges(asking: DigestServer, source: str = SOURCE, now: float = 0.0) -> list[Challenge]:
    found = [Challenge.parse(text) for text in asking.challenge(source, now)]
    return [challenge for challenge in found if challenge is not None]


def answered(
    challenge: Challenge,
    *,
    method: str = "INVITE",
    username: str = "alice",
    password: str = "wonderland",
    uri: str = URI,
    nc: int = 1,
    change: tuple[str, str] = ("", ""),
) -> Request:
    """Make a request with credentials; *change* replaces a piece of their text."""
    made = request(method, uri=URI)
    value = make_credentials(challenge, username, password, method, uri, b"", nc, "c0ffee")
    made.headers.add("Authorization", value.replace(*change) if change[0] else value)
    return made


def result(asking: DigestServer, sent: Request, source: str = SOURCE, now: float = 1.0) -> Result:
    return asking.check(sent, source, now).result


def test_a_challenge_has_one_value_for_each_algorithm_the_strongest_first() -> None:
    """RFC 8760 §2.3: a header of its own for each, in the order of preference."""
    first, second = server().challenge(SOURCE, 0.0)
    assert first.startswith('Digest realm="cxmld", nonce="')
    assert first.endswith(', algorithm=SHA-256, qop="auth"')
    assert second.endswith(', algorithm=MD5, qop="auth"')
    assert server().challenge(SOURCE, 0.0, is_stale=True)[0].endswith(", stale=true")


@pytest.mark.parametrize("algorithm", ["MD5", "SHA-256", "SHA-512-256"])
def test_our_own_client_gets_in(algorithm: str) -> None:
    asking = server(algorithms=(algorithm,))
    client = Authenticator([Credential("alice", "wonderland")], lambda: "c0ffee")
    response = make_response(request("INVITE"), 401)
    for value in asking.challenge(SOURCE, 0.0):
        response.headers.add("WWW-Authenticate", value)
    client.learn(response)
    for second in range(5):
        sent = request("INVITE")
        client.authorize(sent)
        assert asking.check(sent, SOURCE, float(second)) == module.Verdict(Result.ACCEPTED, "alice")


def test_the_vector_of_rfc_7616_is_computed_as_a_server_does() -> None:
    """RFC 7616 §3.9.1."""
    a1 = hashlib.sha256(b"Mufasa:http-auth@example.org:Circle of Life").hexdigest()
    middle = "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v:00000001:f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ:auth"
    expected = "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"
    assert digest_response("SHA-256", a1, middle, "GET:/dir/index.html") == expected


@pytest.mark.parametrize("algorithm", ["MD5", "SHA-256"])
def test_a_stored_hash_serves_as_well_as_a_password(algorithm: str) -> None:
    name = algorithm.lower().replace("-", "")
    stored = hashlib.new(name, b"alice:cxmld:wonderland").hexdigest().upper()
    asking = server(Account("alice", hashes={algorithm: stored}))
    verdicts = [result(asking, answered(challenge)) for challenge in challenges(asking)]
    assert verdicts.count(Result.ACCEPTED) == 1


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        pytest.param({"password": "wonderlanD"}, Result.WRONG, id="password"),
        pytest.param({"password": ""}, Result.WRONG, id="no password"),
        pytest.param({"username": "Alice"}, Result.WRONG, id="user in another case"),
        pytest.param({"username": "bob"}, Result.WRONG, id="unknown user"),
        pytest.param({"uri": "sip:900@192.0.2.2"}, Result.WRONG, id="another user of ours"),
        pytest.param({"uri": "tel:+15550100"}, Result.WRONG, id="another scheme"),
        pytest.param({"uri": "sip:%62ob@proxy.example.com"}, Result.ACCEPTED, id="the same user behind a proxy"),
        pytest.param({"change": ("qop=auth", "qop=auth-int")}, Result.MISSING, id="qop that was not offered"),
        pytest.param({"change": ("qop=auth, ", "")}, Result.MISSING, id="no qop"),
        pytest.param({"change": ("nc=00000001", "nc=1")}, Result.MISSING, id="short count"),
        pytest.param({"change": ("nc=00000001", "nc=0000000g")}, Result.MISSING, id="count that is none"),
        pytest.param({"change": ("nc=00000001", "nc=00000000")}, Result.MISSING, id="count of nothing"),
        pytest.param({"change": ("c0ffee", "")}, Result.MISSING, id="empty cnonce"),
        pytest.param({"change": ("c0ffee", "c" * (MAX_CNONCE + 1))}, Result.MISSING, id="long cnonce"),
        pytest.param({"change": ("SHA-256", "SHA-512-256")}, Result.MISSING, id="algorithm that was not offered"),
        pytest.param({"change": ("SHA-256", "SHA-256-sess")}, Result.MISSING, id="session algorithm"),
        pytest.param({"change": ("SHA-256", "MD5")}, Result.WRONG, id="hash of another algorithm"),
        pytest.param({"change": ('realm="cxmld"', 'realm="other"')}, Result.MISSING, id="another realm"),
        pytest.param({"change": ("Digest ", "Basic ")}, Result.MISSING, id="basic"),
        pytest.param({"change": ('nonce="', 'nonce="0')}, Result.STALE, id="nonce of somebody else"),
        pytest.param({"change": ('response="', 'response="é')}, Result.WRONG, id="response that is no hash"),
    ],
)
def test_only_a_whole_and_right_answer_gets_in(change: dict[str, object], expected: Result) -> None:
    asking = server()
    assert result(asking, answered(challenges(asking)[0], **change)) is expected  # type: ignore[arg-type]


def test_credentials_of_one_method_do_not_serve_another() -> None:
    asking = server()
    sent = answered(challenges(asking)[0], method="OPTIONS")
    sent.method = "INVITE"
    assert result(asking, sent) is Result.WRONG


def test_an_old_nonce_is_stale_and_its_password_not_looked_at() -> None:
    asking = server()
    for password in ("wonderland", "wrong"):
        sent = answered(challenges(asking)[0], password=password)
        assert result(asking, sent, now=LIFETIME_S + 0.5) is Result.STALE


@pytest.mark.parametrize("password", ["wonderland", "wrong"])
def test_a_nonce_of_another_source_or_another_daemon_is_stale_whatever_the_password(password: str) -> None:
    """Otherwise whoever makes nonces up could tell right passwords from wrong ones without being counted."""
    asking = server()
    sent = answered(challenges(asking)[0], password=password)
    assert result(asking, sent, source="192.0.2.8") is Result.STALE
    assert result(server(key=b"x" * 32), sent) is Result.STALE


def test_a_host_may_change_its_address_within_its_ipv6_subnet() -> None:
    asking = server()
    sent = answered(challenges(asking, "2001:db8::1")[0])
    assert result(asking, sent, "2001:db8:0:1::1") is Result.STALE
    assert result(asking, sent, "2001:db8::dead:beef") is Result.ACCEPTED


@pytest.mark.parametrize(
    ("source", "subnet"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8::1:2:3:4", "2001:db8::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("nonsense", "nonsense"),
    ],
)
def test_what_counts_as_one_host(source: str, subnet: str) -> None:
    assert module.subnet_of(source) == subnet


# -- replay ------------------------------------------------------------------------------------------------------------------------------


def test_a_count_serves_once() -> None:
    asking = server()
    challenge = challenges(asking)[0]
    assert result(asking, answered(challenge, nc=1)) is Result.ACCEPTED
    assert result(asking, answered(challenge, nc=1)) is Result.REPLAYED
    assert result(asking, answered(challenge, nc=2)) is Result.ACCEPTED


def test_a_wrong_password_uses_no_count_up() -> None:
    asking = server()
    challenge = challenges(asking)[0]
    assert result(asking, answered(challenge, nc=7, password="wrong")) is Result.WRONG
    assert result(asking, answered(challenge, nc=7)) is Result.ACCEPTED


@given(st.lists(st.integers(1, 3 * WINDOW), max_size=80))
def test_requests_may_overtake_each_other_but_none_comes_twice(counts: list[int]) -> None:
    asking = server(algorithms=("MD5",))
    challenge = challenges(asking)[0]
    seen: set[int] = set()
    for count in counts:
        found = result(asking, answered(challenge, nc=count))
        highest = max(seen, default=0)
        may_come = count not in seen and count > highest - WINDOW
        assert found is (Result.ACCEPTED if may_come else Result.REPLAYED)
        if may_come:
            seen.add(count)


def test_memory_is_bounded_and_what_is_forgotten_serves_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_SEEN", 10)
    asking = server(algorithms=("MD5",))
    given_out = [(number, challenges(asking, now=number / 10)[0]) for number in range(50)]
    for _, challenge in given_out:
        assert result(asking, answered(challenge), now=5.0) is Result.ACCEPTED
    assert len(asking._seen) == 10
    replayed = [result(asking, answered(challenge), now=6.0) for _, challenge in given_out]
    assert replayed == [Result.STALE] * 40 + [Result.REPLAYED] * 10
    assert result(asking, answered(challenges(asking, now=6.0)[0]), now=6.0) is Result.ACCEPTED


def test_nonces_are_forgotten_when_their_time_is_over() -> None:
    asking = server()
    for hour in range(10):
        now = hour * 3600.0
        assert result(asking, answered(challenges(asking, now=now)[0]), now=now) is Result.ACCEPTED
    assert len(asking._seen) == 1


def test_challenges_cost_no_memory() -> None:
    asking = server()
    nonces = {challenges(asking)[0].nonce for _ in range(1000)}
    assert (len(nonces), len(asking._seen)) == (1000, 0)


# -- hostile -----------------------------------------------------------------------------------------------------------------------------


LINES = st.text(st.characters(exclude_characters="\r\n"), max_size=300)


@given(LINES)
def test_no_header_raises_and_none_gets_in(text: str) -> None:
    sent = request("INVITE")
    sent.headers.add("Authorization", text)
    assert result(server(), sent) in (Result.MISSING, Result.STALE)


PIECES = [*("username", "nonce", "realm", "nc", "uri", "response", "=", '"', "\\", ",", " ", "cxmld", "00000001", "é", "\udcff", "\x00")]


@given(st.lists(st.sampled_from(PIECES), max_size=60).map("".join))
def test_no_broken_credentials_raise_and_none_get_in(text: str) -> None:
    sent = request("INVITE")
    sent.headers.add("Authorization", "Digest " + text)
    assert result(server(), sent) in (Result.MISSING, Result.STALE)


@given(st.integers(0, 400), st.characters(exclude_characters="\r\n"))
def test_changed_credentials_never_make_another_user(place: int, character: str) -> None:
    asking = server()
    sent = answered(challenges(asking)[0])
    value = sent.headers.get("Authorization") or ""
    place %= len(value)
    changed = value[:place] + character + value[place + 1 :]
    forged = request("INVITE", uri=URI)
    forged.headers.add("Authorization", changed)
    verdict = asking.check(forged, SOURCE, 1.0)
    assert verdict.result is not Result.ACCEPTED or verdict.username == "alice"


def test_only_some_headers_are_looked_at() -> None:
    asking = server()
    good = answered(challenges(asking)[0]).headers.get("Authorization") or ""
    sent = request("INVITE", uri=URI)
    for _ in range(module.MAX_HEADERS):
        sent.headers.add("Authorization", 'Digest realm="other"')
    sent.headers.add("Authorization", good)
    assert result(asking, sent) is Result.MISSING


@pytest.mark.parametrize("algorithm", ["SHA-256", "MD5"])
def test_an_unknown_user_costs_the_same_work_as_a_wrong_password(algorithm: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same hashes over texts as long, and the same comparison; a clock would say as much of the machine's other work."""
    asking = server(Account("alice", "secret"), Account("hashed", hashes={name: ALGORITHMS[name](b"stored") for name in ALGORITHMS}))
    challenge = next(each for each in challenges(asking) if each.algorithm == algorithm)
    sent = {name: answered(challenge, username=name, password="wrong") for name in ("alice", "hashed", "nobody")}
    work: list[tuple[str, int]] = []

    def counted(name: str, hashed: Callable[[bytes], str], data: bytes) -> str:
        work.append((name, len(data)))
        return hashed(data)

    def compared(expected: bytes, given: bytes) -> bool:
        work.append(("compare", len(given)))
        return expected == given

    for name, hashed in list(ALGORITHMS.items()):
        monkeypatch.setitem(ALGORITHMS, name, functools.partial(counted, name, hashed))
    monkeypatch.setattr(hmac, "compare_digest", compared)
    done = {}
    for name, each in sent.items():
        work.clear()
        assert result(asking, each) is Result.WRONG
        done[name] = list(work)
    assert [what for what, _ in done["nobody"]] == ["compare", algorithm, algorithm, "compare"]  # of the nonce, H(A2), the digest
    assert done["alice"] == done["hashed"] == done["nobody"]


def test_secrets_do_not_show() -> None:
    assert "wonderland" not in repr(ALICE)
    assert "0123" not in repr(Account("a", hashes={"MD5": "0123"}))
