"""Which transaction a message belongs to (RFC 3261 §17.1.3, §17.2.3, §8.2.2.2)."""

from sipua.message import make_ack, make_cancel
from sipua.transaction.key import CANCELABLE, client_key, is_legacy, merge_key, server_key
from tests.support.messages import request, response

VIA = "SIP/2.0/UDP 192.0.2.1:5060"


def test_a_response_matches_by_branch_and_cseq_method() -> None:
    invite = request("INVITE")
    assert client_key(response(invite, 180)) == client_key(invite)
    assert client_key(response(make_cancel(invite), 200)) != client_key(invite)
    assert client_key(response(request("INVITE", branch="z9hG4bKb2"), 180)) != client_key(invite)


def test_a_request_matches_by_branch_sent_by_and_method() -> None:
    key = server_key(request("INVITE"))
    assert server_key(request("INVITE", cseq=7, call_id="other")) == key
    assert server_key(request("INVITE", branch="z9hG4bKb2")) != key
    assert server_key(request("INVITE", via="SIP/2.0/UDP 192.0.2.9:5060")) != key
    assert server_key(request("INVITE", via="SIP/2.0/UDP 192.0.2.1:5062")) != key
    assert server_key(request("INVITE", via="SIP/2.0/UDP 192.0.2.1")) != key
    assert server_key(request("REFER")) != key
    assert not is_legacy(key)


def test_the_case_of_the_sent_by_host_does_not_matter() -> None:
    assert server_key(request(via="SIP/2.0/UDP PBX1:5060")) == server_key(request(via="SIP/2.0/UDP pbx1:5060"))


def test_an_ack_matches_its_invite_and_a_cancel_finds_its_target() -> None:
    invite = request("INVITE")
    assert server_key(make_ack(invite, response(invite, 486))) == server_key(invite)
    assert server_key(make_cancel(invite)) != server_key(invite)
    assert server_key(make_cancel(invite), "INVITE") == server_key(invite)
    assert CANCELABLE[0] == "INVITE"


def test_without_the_cookie_the_fields_of_rfc_2543_decide() -> None:
    for branch in ("", "1"):
        invite = request("INVITE", branch=branch)
        key = server_key(invite)
        assert is_legacy(key)
        assert server_key(request("INVITE", branch=branch)) == key
        for other in (
            request("INVITE", branch=branch, call_id="other"),
            request("INVITE", branch=branch, cseq=2),
            request("INVITE", branch=branch, from_tag="other"),
            request("INVITE", branch=branch, uri="sip:carol@192.0.2.2"),
            request("INVITE", branch=branch + "2"),
            request("REFER", branch=branch),
        ):
            assert server_key(other) != key
        assert server_key(make_ack(invite, response(invite, 486))) == key
        assert server_key(make_cancel(invite), "INVITE") == key


def test_only_requests_outside_dialogs_can_be_merged() -> None:
    assert merge_key(request("INVITE")) == merge_key(request("INVITE", branch="z9hG4bKb2"))
    assert merge_key(request("INVITE")) != merge_key(request("INVITE", cseq=2))
    assert merge_key(request("INVITE")) != merge_key(request("OPTIONS"))
    assert merge_key(request("INVITE", to_tag="b1")) is None
