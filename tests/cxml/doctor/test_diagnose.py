"""Walks ``docs/spec/doctor.md``."""

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxml.doctor.catalogue import CATALOGUE
from cxml.doctor.diagnose import diagnose
from cxml.doctor.findings import Finding, Severity, finding
from cxml.doctor.pbx import PbxKind, kind_of
from cxml.doctor.seen import CallSeen, MediaSeen, Messages, Observed, Purpose, Seen, TransferSeen
from cxml.doctor.transfers import reported
from sipua.message import Request, Response
from sipua.message.headers import Headers
from sipua.usage.subscription.confidence import Witness
from sipua.usage.subscription.outcome import TransferKind, kind_of_notify
from tests.support.pbx_ladders import read_ladder
from tests.support.tables import SPEC, read_table

FILE = SPEC / "doctor.md"
ROWS = read_table(FILE, "Diagnosis")
PRODUCTS = {"asterisk": "Asterisk PBX 22.10.1", "freeswitch": "FreeSWITCH-mod_sofia/1.11.1"}


def transfer_of(messages: Messages) -> TransferSeen | None:
    """Judge the transfer in *messages* as the daemon would."""
    if not any(isinstance(seen.message, Request) and seen.message.method == "REFER" for seen in messages):
        return None
    witness, kind, code, refer_code = Witness(), TransferKind.NOTIFY_TIMEOUT, 0, 0
    for seen in messages:
        if isinstance(seen.message, Response) and seen.method == "REFER":
            refer_code = seen.message.status
            witness.accepted(seen.at_s)
        elif seen.method == "NOTIFY" and kind is TransferKind.NOTIFY_TIMEOUT:
            code = reported(seen)
            witness.reported(code, seen.at_s)
            if code >= 200:
                kind = kind_of_notify(code)
            elif "terminated" in seen.header("Subscription-State"):
                kind = TransferKind.UNKNOWN
    return TransferSeen("sip:target@192.0.2.1", kind.value, witness.doubt(kind, refer_code, code).value)


def observed_of(row: dict[str, str]) -> Observed:
    """Build what a row describes."""
    facts, fault = row["facts"], ""
    if facts.startswith("fault="):
        facts, fault = "", facts.removeprefix("fault=")
    words = facts.split()
    text, _, media = row["messages"].partition(" media=")
    messages = read_ladder(text)
    for name, product in PRODUCTS.items():
        if name in words:
            for seen in messages:
                if not seen.is_ours:
                    seen.message.headers.add("Server" if isinstance(seen.message, Response) else "User-Agent", product)
    base = Observed(
        "sip:192.0.2.1",
        address="9.9.9.10" if "public" in words else "10.0.0.2",
        fault=fault,
        is_unresolved=row["step"] == "name",
        has_password="password" in words,
        wants_binding="register" in words,
    )
    match row["step"]:
        case "name" | "way":
            return base
        case "options":
            return replace(base, options=messages)
        case "register":
            return replace(base, register=messages)
    counts = [int(number) for number in media.split("/")] if media else []
    received, unexpected, sent, errors = counts or (1, 0, 1, 0)
    call = CallSeen(
        Purpose(row["step"]),
        "100",
        messages,
        media=MediaSeen(3, received, unexpected, sent, errors),
        transfer=transfer_of(messages),
    )
    return replace(base, calls=(call,))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["row"])
def test_row_gives_its_findings(row: dict[str, str]) -> None:
    expected = [] if row["findings"] == "–" else row["findings"].split(", ")
    assert [item.code for item in diagnose(observed_of(row))] == expected


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["row"])
def test_every_finding_has_evidence_fit_for_a_terminal(row: dict[str, str]) -> None:
    for item in diagnose(observed_of(row)):
        assert item.evidence
        assert all(line and line.isprintable() for line in item.evidence)


def test_every_finding_has_a_row() -> None:
    assert {code for row in ROWS for code in row["findings"].split(", ") if code != "–"} == set(CATALOGUE)


def findings_table() -> str:
    """Return the table of findings as it stands in the document."""
    rows = ["| finding | severity | what is wrong | what to do | Asterisk | FreeSWITCH |", "|---|---|---|---|---|---|"]
    for code, advice in CATALOGUE.items():
        cells = [code, advice.severity, advice.text, advice.remedy, advice.asterisk, advice.freeswitch]
        rows.append("| " + " | ".join(cell.replace("|", "\\|") or "–" for cell in cells) + " |")
    return "\n".join(rows) + "\n"


def test_the_document_has_the_catalogue() -> None:
    assert findings_table() in FILE.read_text(encoding="utf-8")


@pytest.mark.parametrize("code", CATALOGUE)
@pytest.mark.parametrize("kind", PbxKind)
def test_a_fault_says_what_to_do_at_every_pbx(code: str, kind: PbxKind) -> None:
    item = finding(code, kind, "x")
    assert not item.is_fault or item.remedy


def test_the_remedy_is_that_of_the_pbx() -> None:
    assert "allow_transfer=yes" in finding("transfer_forbidden", PbxKind.ASTERISK).remedy
    assert "sofia" not in finding("no_answer", PbxKind.ASTERISK).remedy
    assert "confirm_blind_transfer=true" in finding("false_success", PbxKind.FREESWITCH).remedy
    both = finding("false_success", PbxKind.OTHER).remedy
    assert "Asterisk: " in both
    assert "FreeSWITCH: " in both


@pytest.mark.parametrize(
    ("product", "kind"),
    [
        ("Asterisk PBX 22.10.1+dfsg", PbxKind.ASTERISK),
        ("FPBX-16.0.33(18.12.1)", PbxKind.ASTERISK),
        ("FreeSWITCH-mod_sofia/1.11.1+git", PbxKind.FREESWITCH),
        ("Kamailio", PbxKind.OTHER),
        ("", PbxKind.OTHER),
    ],
)
def test_a_pbx_is_known_by_its_name(product: str, kind: PbxKind) -> None:
    assert kind_of(product) is kind


def test_a_call_that_was_cut_off_says_nothing() -> None:
    cut = CallSeen(Purpose.CALL, "100", read_ladder("> INVITE ; < 180 INVITE ; < 487 INVITE"), is_cut_off=True)
    assert diagnose(Observed("sip:192.0.2.1", calls=(cut,))) == ()


def test_suspicion_and_certainty_of_one_kind_are_told_once() -> None:
    row = next(row for row in ROWS if row["row"] == "F1")
    suspicion = observed_of(row).calls[0]
    certainty = replace(suspicion, purpose=Purpose.UNANSWERED)
    found = diagnose(Observed("sip:192.0.2.1", calls=(suspicion, certainty)))
    assert [item.code for item in found] == ["false_success_ringing"]


HEADERS = ["CSeq", "Contact", "Via", "Event", "Subscription-State", "Allow", "Require", "Refer-Sub", "Server", "Content-Type"]


ONE_LINE = st.text(st.characters(exclude_characters="\r\n"), max_size=20)


@st.composite
def anything(draw: st.DrawFn) -> Seen:
    """Draw a message with broken headers and bodies."""
    headers = Headers()
    method = draw(st.sampled_from(["OPTIONS", "REGISTER", "INVITE", "ACK", "BYE", "REFER", "NOTIFY"]))
    headers.add("CSeq", draw(st.sampled_from([f"1 {method}", "junk", f"99999999999 {method}"])))
    for name in draw(st.lists(st.sampled_from(HEADERS[1:]), unique=True)):
        headers.add(name, draw(ONE_LINE))
    body = draw(st.binary(max_size=40))
    message = (
        Response(draw(st.integers(100, 699)), headers=headers, body=body)
        if draw(st.booleans())
        else Request(method, draw(st.text(max_size=10)), headers, body)
    )
    return Seen(draw(st.floats(0, 100)), draw(st.booleans()), message)


@given(
    st.lists(anything(), max_size=8),
    st.sampled_from(Purpose),
    st.sampled_from(TransferKind),
    st.booleans(),
    st.sampled_from(["", "9.9.9.9", "10.0.0.1", "junk"]),
)
def test_whatever_is_seen_gives_findings_fit_for_a_terminal(
    messages: list[Seen], purpose: Purpose, kind: TransferKind, has_password: bool, address: str
) -> None:
    call = CallSeen(purpose, "100", messages, media=MediaSeen(3), transfer=TransferSeen("sip:t@x", kind.value))
    seen = tuple(messages)
    observed = Observed("sip:x", address, has_password=has_password, wants_binding=True, options=seen, register=seen, calls=(call,))
    for item in diagnose(observed):
        assert isinstance(item, Finding)
        assert item.severity in Severity
        assert all(line.isprintable() for line in item.evidence)
        assert not re.search(r"[\r\n]", item.text + item.remedy)
