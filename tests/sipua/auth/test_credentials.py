"""Which challenge is answered, how often, and when we give up (RFC 3261 §22, RFC 8760 §2.4)."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipua.auth import Attempt, Authenticator, Credential
from sipua.auth.credentials import MAX_REALMS, MAX_TRIES
from sipua.auth.digest import parse_auth
from sipua.message import Headers, Request, Response
from sipua.message.via import CSeq
from tests.support.messages import request

BOB = Credential("bob", "zanzibar")


def authenticator(*credentials: Credential) -> Authenticator:
    counter = itertools.count(1)
    return Authenticator(credentials or (BOB,), lambda: f"c{next(counter)}")


def challenge(*values: str, status: int = 401) -> Response:
    name = "WWW-Authenticate" if status == 401 else "Proxy-Authenticate"
    return Response(status, None, Headers([(name, value) for value in values]))


def digest(nonce: str = "n1", realm: str = "pbx", *, more: str = ', qop="auth"', stale: bool = False) -> str:
    return f'Digest realm="{realm}", nonce="{nonce}"{more}{", stale=true" if stale else ""}'


def given_in(message: Request, name: str = "Authorization") -> list[dict[str, str]]:
    return [parse_auth(value)[1] for value in message.headers.lines(name)]


class Peer:
    """Follows one attempt, with a CSeq of its own for each try."""

    def __init__(self, known: Authenticator | None, method: str = "REGISTER") -> None:
        self.cseq = itertools.count(2)
        self.attempt = Attempt(known, request(method))

    def answer(self, response: Response) -> Request | None:
        if not self.attempt.retry(response):
            return None
        return self.attempt.renew(CSeq(next(self.cseq), self.attempt.request.method))


def test_the_first_request_carries_no_credentials_and_the_second_answers_the_challenge() -> None:
    peer = Peer(authenticator())
    first = peer.attempt.request
    second = peer.answer(challenge(digest()))
    assert second is not None
    assert given_in(first) == []
    [got] = given_in(second)
    assert (got["username"], got["nonce"], got["nc"], got["cnonce"], got["uri"]) == ("bob", "n1", "00000001", "c1", "sip:bob@192.0.2.2")
    assert second.cseq == (2, "REGISTER")
    assert (second.call_id, second.from_.tag) == (first.call_id, first.from_.tag)
    assert "Via" not in second.headers


def test_407_is_answered_in_proxy_authorization() -> None:
    sent = Peer(authenticator()).answer(challenge(digest(), status=407))
    assert sent is not None
    assert len(given_in(sent, "Proxy-Authorization")) == 1
    assert given_in(sent) == []


@pytest.mark.parametrize("method", ["REGISTER", "INVITE", "REFER", "BYE", "UPDATE"])
def test_the_digest_is_for_the_method_of_the_request(method: str) -> None:
    sent = Peer(authenticator(), method).answer(challenge(digest(more="")))
    register = Peer(authenticator(), "OPTIONS").answer(challenge(digest(more="")))
    assert sent is not None
    assert register is not None
    assert given_in(sent)[0]["response"] != given_in(register)[0]["response"]


def test_a_wrong_password_gives_up_after_one_answer_and_is_not_sent_again_unasked() -> None:
    known = authenticator()
    peer = Peer(known)
    assert peer.answer(challenge(digest("n1"))) is not None
    assert peer.answer(challenge(digest("n2"))) is None
    assert given_in(Attempt(known, request()).request) == []


def test_the_same_nonce_again_gives_up_even_when_it_is_called_stale() -> None:
    peer = Peer(authenticator())
    assert peer.answer(challenge(digest("n1"))) is not None
    assert peer.answer(challenge(digest("n1", stale=True))) is None


def test_a_stale_nonce_is_replaced_once_more() -> None:
    peer = Peer(authenticator())
    assert peer.answer(challenge(digest("n1"))) is not None
    sent = peer.answer(challenge(digest("n2", stale=True)))
    assert sent is not None
    assert [(got["nonce"], got["nc"]) for got in given_in(sent)] == [("n2", "00000001")]
    assert peer.answer(challenge(digest("n3", stale=True))) is None


def test_later_requests_carry_credentials_unasked_and_count_on() -> None:
    known = authenticator()
    Peer(known).answer(challenge(digest()))
    for count in (2, 3):
        [got] = given_in(Attempt(known, request("REFER")).request)
        assert (got["nonce"], int(got["nc"], 16), got["cnonce"]) == ("n1", count, f"c{count}")


def test_an_expired_nonce_of_unasked_credentials_is_replaced_whether_or_not_it_is_called_stale() -> None:
    for stale in (True, False):
        known = authenticator()
        Peer(known).answer(challenge(digest("n1")))
        later = Peer(known)
        sent = later.answer(challenge(digest("n2", stale=stale)))
        assert sent is not None
        assert [got["nonce"] for got in given_in(sent)] == ["n2"]


@pytest.mark.parametrize("stale", [False, True])
def test_unasked_credentials_that_are_refused_with_their_own_nonce_are_not_sent_again(stale: bool) -> None:
    known = authenticator()
    Peer(known).answer(challenge(digest("n1")))
    assert Peer(known).answer(challenge(digest("n1", stale=stale))) is None
    # the next request may try anew: it is asked first
    assert Peer(known).answer(challenge(digest("n1"))) is not None


def test_two_requests_challenged_with_one_nonce_never_use_a_count_twice() -> None:
    known = authenticator()
    first, second = Peer(known), Peer(known)
    sent = [first.answer(challenge(digest("n1"))), second.answer(challenge(digest("n1")))]
    assert [given_in(message)[0]["nc"] for message in sent if message] == ["00000001", "00000002"]


def test_a_session_key_keeps_its_cnonce_until_there_is_a_new_challenge() -> None:
    known = authenticator()
    sent = Peer(known).answer(challenge(digest("n1", more=', qop="auth", algorithm=MD5-sess')))
    assert sent is not None
    later = Attempt(known, request()).request
    again = Peer(known).answer(challenge(digest("n2", more=', qop="auth", algorithm=MD5-sess', stale=True)))
    assert again is not None
    assert [given_in(message)[0]["cnonce"] for message in (sent, later, again)] == ["c1", "c1", "c2"]
    assert given_in(later)[0]["nc"] == "00000002"


def test_of_several_challenges_for_one_realm_the_topmost_that_we_speak_counts() -> None:
    values = [
        'Digest realm="pbx", nonce="n0", algorithm=SHA-1',
        digest("n1", more=", algorithm=SHA-256"),
        digest("n2", more=", algorithm=MD5"),
    ]
    sent = Peer(authenticator()).answer(challenge('Basic realm="pbx"', "rubbish", *values))
    assert sent is not None
    assert [(got["nonce"], got["algorithm"]) for got in given_in(sent)] == [("n1", "SHA-256")]


def test_every_realm_is_answered_with_its_own_password_and_others_are_left_alone() -> None:
    known = authenticator(Credential("a", "1", "one"), Credential("b", "2", "two"))
    sent = Peer(known).answer(challenge(digest("n1", "one"), digest("n2", "two"), digest("n3", "three")))
    assert sent is not None
    assert [(got["realm"], got["username"]) for got in given_in(sent)] == [("one", "a"), ("two", "b")]


def test_a_realm_without_a_password_is_not_answered() -> None:
    assert Peer(authenticator(Credential("a", "1", "one"))).answer(challenge(digest())) is None
    assert Peer(None).answer(challenge(digest())) is None


def test_a_proxy_and_the_server_behind_it_may_both_ask() -> None:
    peer = Peer(authenticator())
    assert peer.answer(challenge(digest("n1", "proxy"), status=407)) is not None
    sent = peer.answer(challenge(digest("n2", "pbx")))
    assert sent is not None
    assert [got["nonce"] for got in given_in(sent)] == ["n2"]
    assert [got["nonce"] for got in given_in(sent, "Proxy-Authorization")] == ["n1"]


def test_responses_that_are_no_challenge_end_the_attempt() -> None:
    for status in (200, 202, 403, 404, 486, 503, 603):
        assert Peer(authenticator()).answer(Response(status)) is None


@pytest.mark.parametrize("values", [(), ("",), ("Digest",), ('Digest realm="r"',), ('Basic realm="r"',)], ids=repr)
def test_a_challenge_that_cannot_be_used_ends_the_attempt(values: tuple[str, ...]) -> None:
    assert Peer(authenticator()).answer(challenge(*values)) is None


def test_nextnonce_is_used_from_then_on() -> None:
    known = authenticator()
    peer = Peer(known)
    peer.answer(challenge(digest("n1")))
    ok = Response(200, None, Headers([("Authentication-Info", 'qop=auth, rspauth="x", nextnonce="n2", nc=00000001')]))
    assert peer.answer(ok) is None
    [got] = given_in(Attempt(known, request()).request)
    assert (got["nonce"], got["nc"]) == ("n2", "00000001")


@pytest.mark.parametrize("text", ["", "rubbish", "nextnonce", 'nextnonce=""', 'nextnonce="n2'])
def test_a_broken_authentication_info_changes_nothing(text: str) -> None:
    known = authenticator()
    peer = Peer(known)
    peer.answer(challenge(digest("n1")))
    peer.answer(Response(200, None, Headers([("Authentication-Info", text)])))
    [got] = given_in(Attempt(known, request()).request)
    assert (got["nonce"], got["nc"]) == ("n1", "00000002")


def test_credentials_that_a_request_has_already_are_replaced() -> None:
    message = request()
    message.headers.add("Authorization", "Digest old=1")
    assert given_in(Attempt(authenticator(), message).request) == []


def test_a_password_is_never_shown() -> None:
    assert "zanzibar" not in repr(BOB)


def test_a_peer_that_invents_realms_does_not_make_requests_grow() -> None:
    known = authenticator()
    for number in range(100):
        Peer(known).answer(challenge(*(digest("n", f"r{number}-{n}") for n in range(50))))
    assert len(Attempt(known, request()).request.headers.lines("Authorization")) <= MAX_REALMS


NONCES = st.sampled_from(["n1", "n2", "n3"])
CHALLENGES = st.builds(
    lambda status, parts: challenge(*(digest(nonce, realm, stale=stale) for nonce, realm, stale in parts), status=status),
    st.sampled_from([401, 407]),
    st.lists(st.tuples(NONCES, st.sampled_from(["a", "b"]), st.booleans()), max_size=3),
)


@given(st.lists(CHALLENGES, min_size=20, max_size=40), st.integers(0, 3))
def test_no_sequence_of_challenges_is_answered_more_often_than_the_limit(answers: list[Response], before: int) -> None:
    known = authenticator()
    for response in answers[:before]:
        Peer(known).answer(response)
    peer = Peer(known)
    tries, seen = 1, set()
    for response in answers:
        sent = peer.answer(response)
        if sent is None:
            break
        tries += 1
        for name in ("Authorization", "Proxy-Authorization"):
            for got in given_in(sent, name):
                assert (got["realm"], got["nonce"], got["nc"], name) not in seen
                seen.add((got["realm"], got["nonce"], got["nc"], name))
    assert tries <= MAX_TRIES


LINES = st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), max_size=120)


@given(LINES, LINES, st.sampled_from([401, 407, 200, 403]))
def test_arbitrary_header_text_never_raises(asked: str, info: str, status: int) -> None:
    known = authenticator()
    peer = Peer(known)
    peer.answer(challenge(digest("n1")))
    lines = [("WWW-Authenticate", asked), ("Proxy-Authenticate", asked), ("Authentication-Info", info)]
    peer.answer(Response(status, None, Headers(lines)))
    Attempt(known, request()).request.encode()
