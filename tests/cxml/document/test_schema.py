import dataclasses
import os
import typing

from cxml.document import diagnostics, nodes, schema
from cxml.document.reference import verbs_markdown
from tests.support.tables import ROOT, read_table

REFERENCE = ROOT / "docs" / "reference" / "verbs.md"

DIALECT = """
    Connect Denoise Dial Echo Enqueue Gather Hangup Leave Pause Pay Play Record Redirect Refer Reject Say Sms Start Stop
"""


def test_the_reference_is_generated_from_the_schema() -> None:
    if os.environ.get("UPDATE_GOLDEN") == "1":
        REFERENCE.write_text(verbs_markdown(), encoding="utf-8")
    assert REFERENCE.read_text(encoding="utf-8") == verbs_markdown(), "run this test with UPDATE_GOLDEN=1"


def test_the_reference_lists_every_rule() -> None:
    rows = read_table(REFERENCE, "Diagnostics")
    assert [row["Name"] for row in rows] == [rule.slug for rule in diagnostics.RULES]


def test_every_verb_of_the_dialect_is_known_by_name() -> None:
    assert set(DIALECT.split()) == schema.VERB_NAMES


def test_every_noun_of_the_dialect_is_known_by_name() -> None:
    assert {"Number", "Conference", "Queue", "Verto", "Room", "Stream", "Parameter", "VirtualAgent"} <= set(schema.KNOWN_NOUNS)
    assert schema.KNOWN_NOUNS["Stream"] == ("Connect", "Start", "Stop")


def test_no_name_is_in_two_tables() -> None:
    tables = [set(schema.VERBS), set(schema.KNOWN_VERBS), set(schema.FOREIGN), set(schema.KNOWN_NOUNS) - {"Sip"}]
    assert sum(map(len, tables)) == len(set().union(*tables))


def test_every_supported_verb_has_a_node_with_its_attributes_and_defaults() -> None:
    node_names = {"Refer": {}, "Hangup": {}, "Redirect": {}, "Reject": {}, "Pause": {"length": "length_s"}}
    assert {cls.__name__ for cls in typing.get_args(nodes.Verb)} == set(schema.VERBS) == set(node_names)
    for name, element in schema.VERBS.items():
        fields = {field.name: field for field in dataclasses.fields(getattr(nodes, name))}
        for attribute in element.attributes:
            field = fields[node_names[name].get(attribute.name, attribute.name)]
            assert (None if field.default is None else str(field.default)) == attribute.default


def test_rules_have_different_names_and_only_errors_are_fatal() -> None:
    assert len({rule.slug for rule in diagnostics.RULES}) == len(diagnostics.RULES)
    assert all(rule.level is diagnostics.Level.ERROR for rule in diagnostics.RULES if rule.fatal)
    declared = {value for value in vars(diagnostics).values() if isinstance(value, diagnostics.Rule)}
    assert declared == set(diagnostics.RULES)


def test_the_verbs_that_answer_are_those_of_the_engine() -> None:
    assert {name for name, element in schema.VERBS.items() if element.answers} == {"Refer", "Hangup"}


def test_what_can_not_be_transferred_to_is_an_error_and_the_document_runs() -> None:
    rules = (diagnostics.TARGET_MISSING, diagnostics.TARGET, diagnostics.TEL_TARGET)
    assert {(rule.level, rule.fatal) for rule in rules} == {(diagnostics.Level.ERROR, False)}
