"""The report: text, table, JSON, exit status; no secrets and no control characters."""

import io
import json

import pytest
from rich.console import Console

from cxml.daemon.redaction import Redactor
from cxml.doctor.findings import finding
from cxml.doctor.pbx import PbxKind
from cxml.doctor.report import NOT_TESTED, Report, ladder, lines_of
from tests.support.pbx_ladders import read_ladder

SECRET = "open-sesame"
FAULT = finding("transfer_forbidden", PbxKind.ASTERISK, "< SIP/2.0 603 Decline", f"x {SECRET} [bold]\x1b[31m")
NOTE = finding("notify_without_id", PbxKind.ASTERISK, "Event: refer")


def shown(report: Report, *, is_terminal: bool = False) -> str:
    out = io.StringIO()
    report.show(Console(file=out, force_terminal=is_terminal, width=160, highlight=False, color_system=None), Redactor([SECRET]))
    return out.getvalue()


@pytest.mark.parametrize(
    ("findings", "fault", "status"), [((), "", 0), ((NOTE,), "", 0), ((NOTE, FAULT), "", 1), ((FAULT,), "interrupted", 2)]
)
def test_the_exit_status_says_whether_there_is_something_to_mend(findings: tuple[object, ...], fault: str, status: int) -> None:
    assert Report("pbx", "sip:x", findings=findings, fault=fault).status == status  # type: ignore[arg-type]


@pytest.mark.parametrize("is_terminal", [True, False])
def test_finding_evidence_and_remedy_are_shown_without_secrets_and_control_characters(is_terminal: bool) -> None:
    text = shown(Report("pbx", "sip:x", findings=(FAULT,)), is_terminal=is_terminal)
    for word in ("transfer_forbidden", "603 Decline", "allow_transfer=yes", "[bold]", "1 finding."):
        assert word in text
    assert SECRET not in text
    assert "\x1b" not in text


def test_without_a_terminal_each_finding_is_a_line_with_its_evidence_below() -> None:
    assert lines_of(NOTE)[0].startswith("note notify_without_id: ")
    assert lines_of(NOTE)[1] == "    seen: Event: refer"
    assert shown(Report("pbx", "sip:x")) == f"All well.\n{NOT_TESTED}\n"


def test_json_has_everything() -> None:
    report = Report("pbx", "sip:x", "Asterisk", [("way", "udp")], (FAULT,))
    told = json.loads(report.as_json(Redactor([SECRET])))
    assert (told["peer"], told["pbx"], told["status"], told["steps"]) == ("pbx", "Asterisk", 1, [{"name": "way", "result": "udp"}])
    (item,) = told["findings"]
    assert (item["code"], item["severity"]) == ("transfer_forbidden", "error")
    assert SECRET not in json.dumps(told)


def test_the_ladder_has_every_message_with_its_direction() -> None:
    lines = ladder(read_ladder("> REFER [Refer-To: <sip:a@b>] ; < 202 REFER ; < NOTIFY 180 active"))
    assert [line.strip()[-1] for line in lines[1:]] == ["|"] * 3
    assert "REFER <sip:a@b>" in lines[1]
    assert "NOTIFY 180" in lines[3]


def test_a_password_that_is_a_word_of_ours_takes_nothing_out_of_our_own_texts() -> None:
    redactor = Redactor(["wrong", "password"])
    report = Report("pbx", "sip:x", findings=(finding("wrong_password", PbxKind.ASTERISK, "x wrong"),))
    out = io.StringIO()
    report.show(Console(file=out, width=160, highlight=False, color_system=None), redactor)
    assert out.getvalue().startswith("error wrong_password: ")
    assert "    seen: x ***\n" in out.getvalue()
    (item,) = json.loads(report.as_json(redactor))["findings"]
    assert (item["code"], item["evidence"]) == ("wrong_password", ["x ***"])
