"""Which domains a certificate stands for (RFC 5922 §7)."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipua.transport.certificates import TlsSettings, read_certificate
from sipua.transport.identity import MAX_NAMES, canonical, identities, shown_names
from tests.support.certificates import self_signed


def certificate(*alternatives: tuple[str, str], common_name: str = "") -> dict[str, object]:
    found: dict[str, object] = {"subjectAltName": alternatives} if alternatives else {}
    return {**found, "subject": ((("commonName", common_name),),)} if common_name else found


@pytest.mark.parametrize(
    ("shown", "names"),
    [
        (certificate(("DNS", "PBX.Example.com")), ("pbx.example.com",)),
        (certificate(("URI", "sip:Example.com"), ("URI", "SIP:b.example")), ("example.com", "b.example")),
        # §7.1: a DNS name counts only when no sip URI does
        (certificate(("URI", "sip:example.com"), ("DNS", "other.example")), ("example.com",)),
        (certificate(("URI", "sip:alice@example.com"), ("DNS", "other.example")), ("other.example",)),
        (certificate(("URI", "sips:example.com"), ("URI", "https://example.com"), ("URI", "sip:")), ()),
        # §7.2: no wildcards in any form
        (certificate(("DNS", "*.example.com"), ("DNS", ".example.com"), ("DNS", "s*.example.com")), ()),
        (certificate(("IP Address", "192.0.2.1"), ("IP Address", "2001:DB8:0:0:0:0:0:1\n")), ("192.0.2.1", "2001:db8::1")),
        (certificate(("DNS", "192.0.2.1")), ()),
        (certificate(("DNS", "good.example\0.evil.example"), ("DNS", "a b"), ("DNS", "")), ()),
        (certificate(("email", "a@example.com")), ()),
        # the common name counts only without any subjectAltName
        (certificate(("DNS", "a.example"), common_name="b.example"), ("a.example",)),
        (certificate(("email", "a@b.example"), common_name="b.example"), ()),
        (certificate(common_name="b.example"), ("b.example",)),
        (certificate(common_name="192.0.2.1"), ("192.0.2.1",)),
        (certificate(common_name="*.example"), ()),
        ({}, ()),
    ],
)
def test_names_of_a_certificate(shown: dict[str, object], names: tuple[str, ...]) -> None:
    assert identities(shown) == names


def test_a_certificate_with_thousands_of_names_costs_no_more_than_a_hundred() -> None:
    assert len(identities(certificate(*(("DNS", f"n{index}.example") for index in range(5000))))) == MAX_NAMES


@pytest.mark.parametrize(
    ("written", "spelled"),
    [("PBX.example.", "pbx.example"), ("[2001:DB8:0::1]", "2001:db8::1"), ("192.0.2.1", "192.0.2.1"), ("", "")],
)
def test_names_have_one_spelling(written: str, spelled: str) -> None:
    assert canonical(written) == spelled


@given(st.lists(st.tuples(st.sampled_from(["DNS", "URI", "IP Address", "x"]), st.text())), st.text())
def test_whatever_a_certificate_says_gives_plain_names(alternatives: list[tuple[str, str]], common_name: str) -> None:
    shown = certificate(*alternatives, common_name=common_name)
    for name in identities(shown):
        assert name == canonical(name)
        assert not set(name) - set("abcdefghijklmnopqrstuvwxyz0123456789.-_:")
    assert shown_names(shown).isprintable()


def test_names_are_read_from_real_certificates(tmp_path: Path) -> None:
    pair = self_signed(tmp_path, "/CN=cn.example", "URI:sip:example.com,URI:sip:bob@example.net,DNS:*.example.org,IP:192.0.2.7")
    assert read_certificate(TlsSettings(*pair)).names == ("example.com", "192.0.2.7")
    assert read_certificate(TlsSettings(*self_signed(tmp_path, "/CN=cn.example"))).names == ("cn.example",)
