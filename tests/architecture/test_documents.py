"""What the documents promise exists."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.support.tables import read_table
from tests.support.tree import ROOT, project_files, python_files, relative

DOCUMENTS = [path for path in project_files() if path.suffix == ".md"]
RFC_TABLES = ("Support by section", "Torture messages of RFC 4475", "Torture messages for IPv6 of RFC 5118")
STATUS = {"implemented", "partial", "not yet", "not planned"}

_CODE = re.compile(r"```.*?```|`[^`\n]+`|^ {4}\S.*$", re.DOTALL | re.MULTILINE)
_MAKE = re.compile(r"\bmake ([a-z][a-z-]*)\b")
_LINK = re.compile(r"\[[^\]]*\]\(([^)#\s]+)(?:#[^)]*)?\)")


def make_targets() -> set[str]:
    """Return the names that ``make NAME`` knows."""
    return set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))


@pytest.mark.parametrize("path", DOCUMENTS, ids=relative)
def test_make_commands_in_documents_exist(path: Path) -> None:
    code = "\n".join(_CODE.findall(path.read_text(encoding="utf-8")))
    assert set(_MAKE.findall(code)) - make_targets() == set()


@pytest.mark.parametrize("path", DOCUMENTS, ids=relative)
def test_links_between_documents_lead_somewhere(path: Path) -> None:
    links = [link for link in _LINK.findall(path.read_text(encoding="utf-8")) if "://" not in link and not link.startswith("mailto:")]
    assert [link for link in links if not (path.parent / link).exists()] == []


def test_the_readme_has_the_two_commands() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert {"demo", "test"} <= set(_MAKE.findall(text))


def test_make_without_a_target_lists_every_command() -> None:
    listed = subprocess.run(["make", "--no-print-directory", "-C", str(ROOT)], capture_output=True, text=True, check=True).stdout
    assert make_targets() - {line.split()[0] for line in listed.splitlines()} == set()


def rfc_rows() -> list[dict[str, str]]:
    """Return the rows of docs/rfc-support.md."""
    return [row for title in RFC_TABLES for row in read_table(ROOT / "docs" / "rfc-support.md", title)]


def test_the_rfc_table_names_files_that_exist() -> None:
    wrong = []
    for row in rfc_rows():
        if row["status"] not in STATUS:
            wrong.append(f"RFC {row['RFC']} {row['section']}: unknown status {row['status']!r}")
        cited = [name for column in ("file", "test") for name in re.split(r"[,\s]+", row[column]) if name not in ("", "-")]
        wrong += [f"RFC {row['RFC']} {row['section']}: no file {name}" for name in cited if not (ROOT / name.partition("::")[0]).exists()]
        if row["status"] in ("implemented", "partial") and "-" in (row["file"], row["test"]):
            wrong.append(f"RFC {row['RFC']} {row['section']}: {row['status']} needs a file and a test")
    assert wrong == []


def test_the_rfc_table_names_tests_that_exist() -> None:
    cited = [name for row in rfc_rows() for name in re.split(r"[,\s]+", row["test"]) if "::" in name]
    missing = []
    for name in cited:
        path, _, test = name.partition("::")
        if f"def {test.split('[')[0]}(" not in (ROOT / path).read_text(encoding="utf-8"):
            missing.append(name)
    assert missing == []


NOT_WALKED = {
    "doctor.md": {"Findings"},
    "offer-answer.md": {"Calls without a socket"},
    "refer-outcomes.md": {"Vocabulary of *sip events*"},
    "refer.md": {"Inputs", "Timers"},
    "registration.md": {"Times"},
    "replaces.md": {"What happens"},
    "session-timer.md": {"How we refresh"},
    "subscription.md": {"The subscriber", "The notifier"},
    "transactions.md": {"The layer around them"},
}
"""Tables that say what words, inputs and timers mean, or in prose what ladders show: no test reads them row by row."""


def spec_tables() -> list[tuple[str, str]]:
    """Return file and heading of every table in docs/spec."""
    found: list[tuple[str, str]] = []
    for path in sorted((ROOT / "docs" / "spec").glob("*.md")):
        heading = ""
        for line in path.read_text(encoding="utf-8").splitlines():
            if line.startswith("#"):
                heading = line.lstrip("#").strip()
            elif line.startswith("|") and (path.name, heading) not in found:
                found.append((path.name, heading))
    return found


@pytest.mark.parametrize(("name", "heading"), spec_tables())
def test_each_normative_table_is_walked_by_a_test(name: str, heading: str) -> None:
    texts = [path.read_text(encoding="utf-8") for path in python_files("tests") if path != Path(__file__)]
    is_walked = any(f'"{heading}"' in text and name in text for text in texts)
    assert is_walked != (heading in NOT_WALKED.get(name, set()))


def compose() -> dict[str, dict[str, dict[str, object]]]:
    """Return docker-compose.yml."""
    parsed = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
    assert isinstance(parsed, dict)
    return parsed


def test_docker_compose_has_the_services_and_its_files_exist() -> None:
    services = compose()["services"]
    assert {"cxmld", "app", "asterisk", "freeswitch"} <= set(services)
    assert services["freeswitch"]["profiles"] == ["freeswitch"]
    for name, service in services.items():
        build = service.get("build")
        if isinstance(build, str):
            assert (ROOT / build / "Dockerfile").is_file(), name
        elif isinstance(build, dict):
            assert (ROOT / build["context"] / build.get("dockerfile", "Dockerfile")).is_file(), name
        volumes = service.get("volumes", [])
        assert isinstance(volumes, list)
        for volume in volumes:
            source = str(volume).partition(":")[0]
            assert not source.startswith(".") or (ROOT / source).exists(), f"{name}: {source}"


@pytest.mark.parametrize("path", [p for p in project_files() if p.name == "Dockerfile"], ids=relative)
def test_dockerfiles_copy_only_what_exists(path: Path) -> None:
    """Every build has the project's root as its context."""
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("COPY ") and "--from" not in line:
            *sources, _ = [word for word in line.split()[1:] if not word.startswith("--")]
            assert [source for source in sources if not (ROOT / source).exists()] == []


def test_constraints_are_names_and_versions_only() -> None:
    lines = [line for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]
    assert [line for line in lines if not re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][\w.!+]*(?: ; [^/@]+)?", line)] == []
    names = [line.partition("==")[0].lower().replace("_", "-") for line in lines]
    assert names == sorted(names)
