"""What README, tutorial and how-tos show works: documents, configurations, programs, commands, and the table of outcomes."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest
from lxml import etree

import sipua
from cxml.daemon.config import load_config
from cxml.daemon.config.sources import SECTIONS
from cxml.document import Level, lint
from cxml.errors import ConfigError
from sipua.usage.subscription.outcome import TransferKind
from tests.support.tables import read_table
from tests.support.tree import ROOT, python_files, relative

DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("tutorial/*.md")), *sorted((ROOT / "docs").glob("howto/*.md"))]
USER_TEXTS = [*DOCUMENTS, *sorted((ROOT / "docs" / "discussion").glob("*.md")), *sorted((ROOT / "examples").glob("*/README.md"))]
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_COMMAND = re.compile(r"^(?: {4}|\|?\s*`)(?:[A-Z_]+=\S+ )*(?:\S*/)?cxmld ((?:[a-z]+ ?)+)", re.MULTILINE)


def blocks(language: str) -> list[tuple[Path, str]]:
    """Return the code blocks in *language* of all user documents."""
    found = [(path, *match) for path in DOCUMENTS for match in _BLOCK.findall(path.read_text(encoding="utf-8"))]
    return [(path, text) for path, kind, text in found if kind == language]


def named(cases: list[tuple[Path, str]]) -> list[str]:
    return [f"{relative(path)}-{number}" for number, (path, _) in enumerate(cases, 1)]


# their blocks need certificates and each other: tests/architecture/test_tls_howto.py and test_public_address_howto.py
OWN_TESTS = {"beside-asterisk-tls.md", "public-address.md"}

XML, PYTHON = blocks("xml"), blocks("python")
TOML, INI = ([(path, text) for path, text in blocks(language) if path.name not in OWN_TESTS] for language in ("toml", "ini"))


def test_there_are_blocks_of_every_language() -> None:
    assert all([XML, TOML, PYTHON, INI])


@pytest.mark.parametrize(("path", "text"), XML, ids=named(XML))
def test_xml_is_well_formed_and_documents_pass_lint(path: Path, text: str) -> None:
    root = etree.fromstring(text.encode())
    if root.tag == "Response":
        assert [str(finding) for finding in lint(text.encode()) if finding.level is Level.ERROR] == []


@pytest.mark.parametrize(("path", "text"), TOML, ids=named(TOML))
def test_configurations_are_valid(path: Path, text: str, tmp_path: Path) -> None:
    file = tmp_path / "cxmld.toml"
    file.write_text(text, encoding="utf-8")
    environment = {} if "[voice]" in text else {"CXMLD_VOICE__URL": "http://127.0.0.1:8000/voice"}
    if "register = true" in text:
        environment["CXMLD_PEERS__ASTERISK__PASSWORD"] = "secret"
    try:
        load_config(file, environment)
    except ConfigError as error:
        pytest.fail(str(error))


@pytest.mark.parametrize(("path", "text"), PYTHON, ids=named(PYTHON))
def test_programs_compile_and_import_what_exists(path: Path, text: str) -> None:
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "sipua":
            assert [alias.name for alias in node.names if alias.name not in sipua.__all__] == []


def test_the_commands_exist() -> None:
    """``cxmld config check`` and the like; what follows the command's name is not looked at."""
    shown = {match.strip() for path in DOCUMENTS for match in _COMMAND.findall(path.read_text(encoding="utf-8"))}
    commands = {name for text in shown for name in [" ".join(text.split()[: 2 if text.startswith("config") else 1])]}
    assert {"lint", "serve", "config check"} <= commands
    for command in sorted(commands):
        done = subprocess.run([sys.executable, "-m", "cxml", *command.split(), "--help"], capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"cxmld {command}: {done.stderr}"


def test_the_table_of_outcomes_in_the_readme_agrees_with_the_specification() -> None:
    """Each word stands with the ReferCallStatus values that it has in the normative table, and none is missing."""
    expected: dict[str, set[str]] = {}
    for row in read_table(ROOT / "docs" / "spec" / "refer-outcomes.md", "Outcomes"):
        expected.setdefault(row["kind"], set()).add(row["ReferCallStatus"])
    expected[TransferKind.NO_SUBSCRIPTION] = {"–"}
    shown: dict[str, set[str]] = {}
    for row in read_table(ROOT / "README.md", "What the action request says"):
        statuses = set(re.findall(r"in-progress|busy|no-answer|failed|canceled|left out", row["ReferCallStatus"]))
        for kind in row["CxmldReferOutcome"].split(", "):
            shown[kind] = {"–" if status == "left out" else status for status in statuses}
    never = {"not_sip", "daemon_restarted"}  # no call of this version can end so
    assert shown == {kind: statuses for kind, statuses in expected.items() if kind not in never}
    assert set(shown) | never == set(TransferKind)


def test_the_asterisk_settings_are_those_that_the_tests_run_with() -> None:
    """Every key and value of the how-to, names and addresses apart, also stands in the tested configuration."""
    folder = ROOT / "tests" / "interop" / "asterisk" / "config"
    texts = [(folder / f"{name}.conf").read_text(encoding="utf-8") for name in ("pjsip", "indications")]
    tested = {line.partition(";")[0].strip() for text in texts for line in text.splitlines()}
    defaults = {"refer_blind_progress = yes", "allow_transfer = yes"}  # written down because everything depends on them
    own = ("context", "aors", "auth = ", "endpoint", "contact", "match", "username", "password", "max_contacts", "[")
    for _, text in INI:
        lines = {line.strip() for line in text.splitlines() if line.strip() and "=>" not in line}
        assert {line for line in lines - defaults - tested if not line.startswith(own)} == set()


@pytest.mark.parametrize("path", [ROOT / "README.md", ROOT / "docs" / "howto" / "beside-freeswitch.md"], ids=relative)
def test_freeswitch_is_told_to_confirm_transfers(path: Path) -> None:
    """Without it every transfer looks like a success."""
    assert 'data="{confirm_blind_transfer=true}sofia/' in path.read_text(encoding="utf-8")


def test_the_log_events_of_the_how_to_exist() -> None:
    text = (ROOT / "docs" / "howto" / "debug-a-call.md").read_text(encoding="utf-8").partition("## No call arrives")[0]
    events = {
        event for line in text.splitlines() if line.startswith("| `") for event in re.findall(r"`([a-z]+_[a-z_]+)`", line.split("|")[1])
    }
    code = "".join(path.read_text(encoding="utf-8") for path in python_files("cxml"))
    assert len(events) >= 9
    assert [event for event in events if f'"{event}"' not in code] == []


@pytest.mark.parametrize("path", USER_TEXTS, ids=relative)
def test_settings_that_documents_name_exist(path: Path) -> None:
    """Settings are written ``[section] key``."""
    named = set(re.findall(r"\[([a-z]+)\] ([a-z]+(?:_[a-z]+)*)(?= = |`)", path.read_text(encoding="utf-8")))
    assert [name for name in named if name[0] in SECTIONS and name[1] not in SECTIONS[name[0]]] == []
    assert [name for name in named if name[0] not in SECTIONS] == []


def test_the_changelog_has_every_fragment() -> None:
    unreleased = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8").partition("## Unreleased")[2].partition("\n## ")[0]
    fragments = [path for path in (ROOT / "changelog.d").iterdir() if path.name != "README.md"]
    assert [relative(path) for path in fragments if " ".join(path.read_text(encoding="utf-8").split()) not in unreleased] == []
    kinds = {"added", "changed", "deprecated", "removed", "fixed", "security"}
    assert [relative(path) for path in fragments if path.name.split(".")[1:2] not in [[kind] for kind in kinds]] == []


def test_every_decision_is_listed() -> None:
    index = (ROOT / "docs" / "adr" / "README.md").read_text(encoding="utf-8")
    assert [path.name for path in (ROOT / "docs" / "adr").glob("0*.md") if f"({path.name})" not in index] == []
