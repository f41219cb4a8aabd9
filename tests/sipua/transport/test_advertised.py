"""What peers are told in place of our local address, by family."""

import pytest

from sipua.transport.advertised import LOCAL, Advertised


@pytest.mark.parametrize(
    ("text", "for_ipv4", "for_ipv6"),
    [
        ("", ("", ""), ("", "")),
        ("pbx.example.com", ("pbx.example.com", ""), ("pbx.example.com", "")),
        ("198.51.100.7", ("198.51.100.7", "198.51.100.7"), ("", "")),
        ("2001:db8::7", ("", ""), ("2001:db8::7", "2001:db8::7")),
        ("[2001:db8::7]", ("", ""), ("2001:db8::7", "2001:db8::7")),
        ("198.51.100.7, 2001:db8::7", ("198.51.100.7", "198.51.100.7"), ("2001:db8::7", "2001:db8::7")),
    ],
)
def test_each_family_has_its_own_host_and_address(text: str, for_ipv4: tuple[str, str], for_ipv6: tuple[str, str]) -> None:
    advertised = Advertised.parse(text)
    for local, expected in (("10.0.0.1", for_ipv4), ("fd00::1", for_ipv6)):
        assert (advertised.host_for(local), advertised.address_for(local)) == expected


@pytest.mark.parametrize("text", ["a, b", "10.0.0.1, 10.0.0.2", "::1, ::2", "10.0.0.1, name", "name, 10.0.0.1"])
def test_two_of_a_kind_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="neither a name nor an address"):
        Advertised.parse(text)


def test_a_name_has_the_first_address_of_each_family() -> None:
    advertised = Advertised.parse("pbx.example.com")
    for address in ("198.51.100.7", "2001:db8::7", "198.51.100.8"):
        advertised = advertised.with_address(address)
    assert advertised.host_for("::1") == "pbx.example.com"
    assert (advertised.address_for("10.0.0.1"), advertised.address_for("::1")) == ("198.51.100.7", "2001:db8::7")
    assert LOCAL.any_host == ""
