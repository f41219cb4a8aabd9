"""The current document and the cursor in it."""

from hypothesis import given
from hypothesis import strategies as st

from cxml.document.nodes import Document, Hangup, Pause, Verb
from cxml.interpreter.program import Program

SOURCE = ("http://app.test/a", b"<Response/>")


def program_with(*verbs: Verb) -> Program:
    program = Program()
    program.replace(*SOURCE, Document(verbs))
    return program


def test_a_new_program_has_no_verb() -> None:
    program = Program()
    assert (program.current, program.cursor, program.documents, program.url) == (None, 0, 0, "")


def test_the_cursor_walks_the_verbs_in_order_and_stays_at_the_end() -> None:
    program = program_with(Pause(1), Pause(2))
    seen = []
    while (verb := program.current) is not None:
        seen.append(verb)
        program.advance()
    program.advance()
    assert seen == [Pause(1), Pause(2)]
    assert (program.cursor, program.performed) == (2, 2)


def test_replacing_drops_the_rest_and_starts_anew() -> None:
    program = program_with(Pause(1), Pause(2), Pause(3))
    program.advance()
    program.replace("http://app.test/b", b"", Document((Hangup(),)))
    assert (program.current, program.cursor, program.url) == (Hangup(), 0, "http://app.test/b")
    assert (program.documents, program.performed) == (2, 2)


def test_there_is_no_way_to_append() -> None:
    public = {name for name in dir(Program) if not name.startswith("_")}
    assert public == {"advance", "current", "cursor", "documents", "performed", "position", "replace", "url"}


def test_the_position_is_plain_data_of_its_own() -> None:
    program = program_with(Pause(1), Hangup())
    program.advance()
    pending = {"a": "b"}
    position = program.position("CA1", pending, {"cseq": 3})
    pending["a"] = "changed"
    assert (position.call_sid, position.document_url, position.document) == ("CA1", SOURCE[0], SOURCE[1])
    assert (position.cursor, position.pending, position.dialog) == (1, {"a": "b"}, {"cseq": 3})


@given(st.lists(st.integers(0, 4) | st.none(), max_size=30))
def test_the_cursor_never_leaves_its_document(steps: list[int | None]) -> None:
    program, length, documents = Program(), 0, 0
    for step in steps:
        if step is None:
            program.advance()
        else:
            program.replace(*SOURCE, Document((Pause(),) * step))
            length, documents = step, documents + 1
        assert 0 <= program.cursor <= length
        assert (program.current is None) == (program.cursor == length)
        assert program.documents == documents
