"""Lines of keys in a TOML text."""

import tomllib

from hypothesis import example, given
from hypothesis import strategies as st

from cxml.daemon.config.toml import Path, find_lines, line_of

TEXT = '''# [not] = a table
top = 1

[sip]  # comment
listen = [
  "a", # ]
  'b]',
]
"quoted key" = """
[no]
table = 1
"""
literal = \'\'\'
also = 'not'\'\'\'
inline = { a = 1, b = [2] }
[a.b]
c.d = 1
[[peers]]
name = "x"
[[peers]]
name = "y"
[peers.more]
key = 1
'''


def test_every_key_has_its_line() -> None:
    lines = find_lines(TEXT)
    assert lines == {
        ("top",): 2,
        ("sip",): 4,
        ("sip", "listen"): 5,
        ("sip", "quoted key"): 9,
        ("sip", "literal"): 13,
        ("sip", "inline"): 15,
        ("a", "b"): 16,
        ("a", "b", "c", "d"): 17,
        ("peers", 0): 18,
        ("peers", 0, "name"): 19,
        ("peers", 1): 20,
        ("peers", 1, "name"): 21,
        ("peers", 1, "more"): 22,
        ("peers", 1, "more", "key"): 23,
    }
    tomllib.loads(TEXT)


def test_the_nearest_thing_around_stands_in_for_what_has_no_line() -> None:
    lines = find_lines(TEXT)
    assert line_of(lines, ("sip", "inline", "a")) == 15
    assert line_of(lines, ("sip", "none")) == 4
    assert line_of(lines, ("none",)) is None


@given(st.text(alphabet="[]{}=\"'#\\\n a.b", max_size=60))
@example('a = """')
@example("[[[")
def test_no_text_makes_it_raise_or_hang(text: str) -> None:
    assert all(1 <= line <= text.count("\n") + 1 for line in find_lines(text).values())


VALUE = st.sampled_from(['"x"', "'#'", "1", "[1,\n 2]", "'''a\nb = 1\n'''", '"""\n[t]\n\\""""', "{a = 1}", "true # [c]", "[\n# ]\n]"])


@given(st.lists(st.tuples(st.sampled_from(["key", "table", "array"]), VALUE), max_size=12))
def test_keys_of_a_valid_text_are_found_where_they_were_written(parts: list[tuple[str, str]]) -> None:
    text, count = "", 0
    wanted: dict[Path, int] = {}
    table: Path = ()
    for number, (kind, value) in enumerate(parts):
        line = text.count("\n") + 1
        if kind == "key":
            wanted[*table, f"k{number}"] = line
            text += f"k{number} = {value}\n"
        elif kind == "table":
            table = (f"t{number}",)
            wanted[table] = line
            text += f"[t{number}]\n"
        else:
            table = ("many", count)
            count += 1
            wanted[table] = line
            text += "[[many]]\n"
    tomllib.loads(text)
    assert find_lines(text) == wanted
