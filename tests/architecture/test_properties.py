"""Every parser and every machine has a test by Hypothesis: examples show what we thought of, properties what nobody did."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.tree import python_files, relative

FILES = python_files("sipua", "cxml")
TESTS = {relative(path): path.read_text(encoding="utf-8") for path in python_files("tests") if "@given" in path.read_text(encoding="utf-8")}
ELSEWHERE = {
    "AckWait": "is a part of ReinviteAck and IncomingInvite",
    "parse_endpoint": "reads the settings of the operator",
    "parse_hosts": "reads a file of the system",
    "parse_http_listen": "reads the settings of the operator",
    "parse_server": "reads the settings of the operator",
    "Advertised.parse": "reads the settings of the operator",
    "parse_xml": "is the first half of cxml.document.parse",
    "parse_head": "is the first half of parse_message",
}
"""What has no property of its own, and why."""


def parsers() -> Iterator[tuple[str, str]]:
    """Yield what reads text or octets: public functions ``parse…`` and class methods ``parse`` and ``parse_list``."""
    for path in FILES:
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("parse") and node.name not in ELSEWHERE:
                yield relative(path), node.name
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                names = [item.name for item in node.body if isinstance(item, ast.FunctionDef)]
                yield from (
                    (relative(path), f"{node.name}.{name}")
                    for name in ("parse", "parse_list")
                    if name in names and f"{node.name}.{name}" not in ELSEWHERE
                )


def machines() -> Iterator[tuple[str, str]]:
    """Yield the classes that take events and return effects: two public methods at least that return ``list[Effect]``."""
    for path in FILES:
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and _is_machine(node):
                yield relative(path), node.name


def _is_machine(node: ast.ClassDef) -> bool:
    methods = [item for item in node.body if isinstance(item, ast.FunctionDef) and not item.name.startswith("_")]
    returning = [item for item in methods if item.returns is not None and ast.unparse(item.returns) == "list[Effect]"]
    bases = {ast.unparse(base) for base in node.bases}
    return (
        len(returning) >= 2
        and not node.name.startswith("_")
        and node.name not in ELSEWHERE
        and not any("Protocol" in base for base in bases)
    )


PARSERS, MACHINES = list(parsers()), list(machines())


@pytest.mark.parametrize(("path", "name"), [*PARSERS, *MACHINES], ids=[name for _, name in [*PARSERS, *MACHINES]])
def test_a_property_covers_it(path: str, name: str) -> None:
    module = Path(path).with_suffix("").as_posix().replace("/", ".")
    covering = [test for test, text in TESTS.items() if name in text]
    assert covering, f"no test with @given names {name} of {module}; what no peer can reach may stand in ELSEWHERE, with the reason"


def test_the_scan_finds_what_is_known() -> None:
    assert {"Uri.parse", "Via.parse", "parse_message", "parse_sdp", "parse_sipfrag", "parse_packet"} <= {name for _, name in PARSERS}
    assert {"InviteClient", "Subscription", "IncomingInvite", "RegistrationMachine"} <= {name for _, name in MACHINES}
