"""The order of addresses (RFC 6724, RFC 7984 §4) and the hosts file."""

from collections.abc import Callable
from pathlib import Path

import pytest

from sipua.transport.locate.addresses import order, usable
from sipua.transport.locate.hosts import CHECK_SECONDS, HostsFile, parse_hosts


def sources(**known: str | None) -> Callable[[str], str | None]:
    """Give one source a family: *v4* and *v6*."""
    return lambda address: known["v6" if ":" in address else "v4"]


BOTH = sources(v4="192.0.2.1", v6="2001:db8::1")


@pytest.mark.parametrize(
    ("addresses", "source_for", "expected"),
    [
        ("192.0.2.5 2001:db8::5", BOTH, "2001:db8::5 192.0.2.5"),
        ("192.0.2.5 2001:db8::5", sources(v4="192.0.2.1", v6=None), "192.0.2.5 2001:db8::5"),
        ("2001:db8::5 192.0.2.5", sources(v4=None, v6="2001:db8::1"), "2001:db8::5 192.0.2.5"),
        ("192.0.2.5 192.0.2.6 2001:db8::5 2001:db8::6", BOTH, "2001:db8::5 192.0.2.5 2001:db8::6 192.0.2.6"),
        ("192.0.2.6 192.0.2.5", BOTH, "192.0.2.6 192.0.2.5"),
        ("fd00::5 192.0.2.5", BOTH, "192.0.2.5 fd00::5"),
        ("2002:c000:205::1 192.0.2.5 2001:db8::5", BOTH, "2001:db8::5 192.0.2.5 2002:c000:205::1"),
        ("2001:db8::5 192.0.2.5", sources(v4="192.0.2.1", v6="fe80::1%eth0"), "192.0.2.5 2001:db8::5"),
        ("127.0.0.1 ::1", sources(v4="127.0.0.1", v6="::1"), "::1 127.0.0.1"),
        ("", BOTH, ""),
    ],
)
def test_addresses_are_ordered(addresses: str, source_for: Callable[[str], str | None], expected: str) -> None:
    assert order(addresses.split(), source_for) == expected.split()


def test_only_addresses_of_one_machine_are_usable_each_once_and_mapped_ones_as_ipv4() -> None:
    texts = [
        "0.0.0.0",
        "255.255.255.255",
        "224.0.0.1",
        "ff02::1",
        "::",
        "x",
        "::ffff:192.0.2.1",
        "192.0.2.1",
        "2001:DB8:0::1",
        "2001:db8::1",
    ]
    assert usable(texts) == ["192.0.2.1", "2001:db8::1"]


def test_a_hosts_file_gives_names_their_addresses_and_its_odd_lines_nothing() -> None:
    text = "127.0.0.1 localhost\n# 10.0.0.9 no\n10.0.0.5 PBX pbx.example.com. # the PBX\n2001:db8::5 pbx\n\n"
    text += "nonsense pbx\n0.0.0.0 ads.example\n"
    assert parse_hosts(text) == {
        "localhost": ("127.0.0.1",),
        "pbx": ("10.0.0.5", "2001:db8::5"),
        "pbx.example.com": ("10.0.0.5",),
    }


def test_a_hosts_file_is_read_again_when_it_changed(tmp_path: Path) -> None:
    path = tmp_path / "hosts"
    hosts = HostsFile(path)
    assert hosts.find("pbx", 0.0) == ()
    path.write_text("10.0.0.5 pbx\n")
    assert hosts.find("pbx", CHECK_SECONDS / 2) == ()
    assert hosts.find("pbx", CHECK_SECONDS) == ("10.0.0.5",)
    path.write_text("10.0.0.66 pbx\n")
    assert hosts.find("pbx", 2 * CHECK_SECONDS) == ("10.0.0.66",)
    path.unlink()
    assert hosts.find("pbx", 3 * CHECK_SECONDS) == ()


def test_localhost_needs_no_hosts_file(tmp_path: Path) -> None:
    hosts = HostsFile(tmp_path / "none")
    assert hosts.find("localhost", 0.0) == ("127.0.0.1", "::1")
    assert hosts.find("pbx.localhost", 0.0) == ("127.0.0.1", "::1")
