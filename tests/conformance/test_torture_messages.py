"""Torture messages against a running daemon on real sockets, over UDP and over TCP: those of RFC 4475 and RFC 5118, and our own.

The messages of the RFCs are not part of the project; see tests/support/torture.py for where they are looked for. Our own, one at least
for each rule of the two RFCs, are in tests/conformance/messages. Every message has a daemon of its own: many share a Via branch and would
count as retransmissions of each other.
"""

import logging
import os
from pathlib import Path

import pytest

from cxml.daemon.config import Peer
from tests.support.daemon import daemon_under_test
from tests.support.torture import Torture, allowed_statuses, corpora, read_index, require_corpus, wrong_over_tcp, wrong_over_udp

RFCS = ("rfc4475", "rfc5118")
OWN = Path(__file__).parent / "messages"
SENDER = f"127.75.{os.getpid() % 250 + 1}.{os.getpid() // 250 % 250 + 1}"  # an address of loopback of its own: port 5060 is free there
SECTIONS = {
    "rfc4475": {
        *(f"3.1.1.{number}" for number in range(1, 14)),
        *(f"3.1.2.{number}" for number in range(1, 20)),
        "3.2.1",
        *(f"3.3.{number}" for number in range(1, 16)),
        "3.4.1",
    },
    "rfc5118": {f"4.{number}" for number in range(1, 11)},
}
"""The sections of the RFCs that describe a message."""


def found(folder: Path) -> list[Torture]:
    return [message for rfc in RFCS if (folder / rfc / "index.tsv").is_file() for message in read_index(folder / rfc)]


ABSENT = pytest.param(
    None, marks=pytest.mark.skip(reason="no messages of the RFCs in SIP_CORPORA (default ../shared): ours cover their rules")
)


def name(message: Torture | None) -> str:
    return "absent" if message is None else f"{message.rfc}-{message.section}-{message.file}"


pytestmark = pytest.mark.xdist_group("torture")  # the sender's address is one


async def treat(message: Torture, transport: str, caplog: pytest.LogCaptureFixture) -> None:
    """Send *message* to a daemon and check that it is treated by its index, and that the daemon is as before."""
    async with daemon_under_test(peers=(Peer(name="sender", match=("127.0.0.0/8",)),)) as under_test:
        under_test.app.otherwise = "<Reject/>"
        send = wrong_over_udp if transport == "udp" else wrong_over_tcp
        wrong = await send(message, SENDER, ("127.0.0.1", under_test.port))
        agent = under_test.daemon.agent
        assert wrong == []
        assert agent.transports.counters["user_errors"] == 0
        assert agent.transactions.statistics.user_faults == 0
        assert not agent.calls
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == []


@pytest.mark.parametrize("transport", ["udp", "tcp"])
@pytest.mark.parametrize("message", found(OWN), ids=name)
async def test_our_own_messages_are_treated_as_their_index_says(message: Torture, transport: str, caplog: pytest.LogCaptureFixture) -> None:
    await treat(message, transport, caplog)


@pytest.mark.parametrize("transport", ["udp", "tcp"])
@pytest.mark.parametrize("message", found(corpora()) or [ABSENT], ids=name)
async def test_the_messages_of_the_rfcs_are_treated_as_their_index_says(
    message: Torture, transport: str, caplog: pytest.LogCaptureFixture
) -> None:
    await treat(message, transport, caplog)


@pytest.mark.parametrize("rfc", RFCS)
def test_the_messages_of_the_rfcs_are_complete_where_they_are_found(rfc: str) -> None:
    assert {message.section for message in require_corpus(rfc)} == SECTIONS[rfc]


@pytest.mark.parametrize("rfc", RFCS)
def test_each_rule_of_the_rfcs_has_a_message_of_ours(rfc: str) -> None:
    assert {message.section for message in read_index(OWN / rfc)} == SECTIONS[rfc]


@pytest.mark.parametrize("rfc", RFCS)
def test_our_folders_hold_what_their_index_names_and_no_copies(rfc: str) -> None:
    ours = read_index(OWN / rfc)
    assert {message.file for message in ours} == {path.name for path in (OWN / rfc).iterdir()} - {"index.tsv"}
    theirs = {message.data for message in found(corpora())}
    assert [message.file for message in ours if message.data in theirs] == []


@pytest.mark.parametrize(
    ("behaviour", "statuses"),
    [
        ("drop (no matching transaction)", set()),
        ("405 (registrar: 200)", {405}),
        ("405 (registrar: 200 or 401)", {405}),
        ("405 or 400", {405, 400}),
        ("501 (405 also tolerable)", {501, 405}),
        ("501 (400 also acceptable)", {501, 400}),
        ("accept", {603}),
        ("accept (or 513 above an own, larger limit)", {603, 513}),
        ("accept, ignore Date (400 tolerable)", {603, 400}),
        ("400 (lenient: accept, ignore the header part)", {400, 603}),
        ("400 (or RFC 2543 matching, then 200)", {400, 200}),
    ],
)
def test_the_column_of_an_index_is_read(behaviour: str, statuses: set[int]) -> None:
    assert allowed_statuses(behaviour) == statuses


def test_a_treatment_that_says_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match="no treatment"):
        allowed_statuses("be nice")
