"""What is read from a NOTIFY's headers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipua.message import Headers, Request
from sipua.usage.subscription.package import EventPackage, NotifyInfo
from sipua.usage.subscription.refer_package import ReferPackage
from sipua.usage.subscription.sipfrag import Sipfrag


def info(*lines: tuple[str, str], body: bytes = b"") -> NotifyInfo:
    return NotifyInfo.from_request(Request("NOTIFY", "sip:a@b", Headers([("CSeq", "9 NOTIFY"), *lines]), body))


def test_all_parts_are_read() -> None:
    read = info(
        ("Event", "refer;id=93809823"),
        ("Subscription-State", "Active;Expires=60;Reason=GiveUp"),
        ("Content-Type", "message/sipfrag"),
        body=b"SIP/2.0 100 Trying",
    )
    assert read == NotifyInfo(9, "93809823", "active", 60, "giveup", "message/sipfrag", b"SIP/2.0 100 Trying")
    assert not read.is_terminated


@pytest.mark.parametrize(
    ("text", "state", "expires"),
    [
        ("terminated;reason=noresource", "terminated", None),
        ("TERMINATED ; reason", "terminated", None),
        ("active;expires=soon", "active", None),
        ("active;expires=-1", "active", None),
        ("active;expires=99999999999999", "active", 2**32 - 1),
        ('terminated;reason="', "terminated", None),
        ("terminated timeout", "terminated", None),
        (";expires=3", None, None),
        ("", None, None),
    ],
)
def test_broken_state_is_read_as_far_as_it_goes(text: str, state: str | None, expires: int | None) -> None:
    read = info(("Subscription-State", text))
    assert (read.state, read.expires) == (state, expires)


@given(st.text(st.characters(blacklist_characters="\r\n"), max_size=40), st.text(st.characters(blacklist_characters="\r\n"), max_size=40))
def test_noise_never_raises(event: str, state: str) -> None:
    info(("Event", event), ("Subscription-State", state))


def test_refer_is_a_package() -> None:
    package: EventPackage[Sipfrag] = ReferPackage()
    assert package.event == "refer"
    assert package.read("message/sipfrag", b"SIP/2.0 200 OK").payload == Sipfrag(200, "OK")
