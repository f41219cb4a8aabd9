"""Reads the sources of a configuration, file, environment and flags, and keeps where each value comes from."""

import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path as FilePath
from typing import Final

from pydantic.fields import FieldInfo

from cxml.daemon.config.model import Config
from cxml.daemon.config.peer import Peer
from cxml.daemon.config.toml import Path, find_lines, line_of
from sipua.errors import printable

PREFIX: Final = "CXMLD_"
MAX_FILE_BYTES: Final = 1_048_576
"""A configuration has some kilobytes; whatever is larger is another file."""

FLAGS: Final[Mapping[str, tuple[str, str]]] = {
    "--sip": ("sip", "listen"),
    "--http": ("http", "listen"),
    "--voice-url": ("voice", "url"),
    "--workers": ("workers", "count"),
}
"""The flags that set a value, and which one."""

_TOML_PLACE: Final = re.compile(r"\s*\(at line (\d+), column (\d+)\)$")


def keys_of(section: str) -> dict[str, FieldInfo]:
    """Return the settings of *section* by the names that they have outside."""
    model = Peer if section == "peers" else Config.model_fields[section].default.__class__
    return {info.alias or name: info for name, info in model.model_fields.items()}


SECTIONS: Final = {section: keys_of(section) for section in Config.model_fields}
"""Each section and its settings."""


@dataclass(slots=True)
class Sources:
    """What the sources say: raw values, the place of each, and the problems met on the way."""

    file: str = ""
    lines: dict[Path, int] = field(default_factory=dict)
    values: dict[str, dict[str, object]] = field(default_factory=lambda: {name: {} for name in SECTIONS if name != "peers"})
    peers: list[dict[str, object]] = field(default_factory=list)
    places: dict[Path, str] = field(default_factory=dict)
    new_peers: dict[int, str] = field(default_factory=dict)
    """Indexes of the peers that only the environment has, each with the first variable of it."""
    broken: set[Path] = field(default_factory=set)
    """Settings whose values are no good; they stand at their defaults, and no check compares them with others."""
    problems: list[tuple[int, str]] = field(default_factory=list)
    """(line in the file or 0, text)."""

    def complain(self, path: Path, message: str) -> None:
        """Note a problem with the value at *path*."""
        if path in self.places:
            self.problems.append((0, f"{self.places[path]}: {message}"))
            return
        variable = self.new_peers.get(int(path[1])) if path[:1] == ("peers",) and len(path) > 1 else None
        if variable is not None:
            where = " (a peer that the file doesn't have)" if self.file else ""
            self.problems.append((0, f"{variable}: {self._name(path)}{message}{where}"))
            return
        line = line_of(self.lines, path) or 0
        place = f"{self.file}:{line}: " if line else f"{self.file}: " if self.file else ""
        self.problems.append((line, f"{place}{self._name(path)}{message}"))

    def _name(self, path: Path) -> str:
        if not path:
            return ""
        section, *rest = path
        if section != "peers":
            return f"[{section}] {rest[0]}: " if rest else f"[{section}]: "
        index, *keys = [*rest, ""]
        label = "[[peers]]"
        if isinstance(index, int) and index < len(self.peers):
            name = self.peers[index].get("name")
            label += f" {printable(name, 63)!r}" if isinstance(name, str) and name else f" number {index + 1}"
        return f"{label} {keys[0]}: " if keys and keys[0] else f"{label}: "


def did_you_mean(name: str, known: Sequence[str]) -> str:
    """Return ``; did you mean …?`` if one of *known* resembles *name*, else the list of what there is."""
    close = get_close_matches(name.lower(), known, n=1, cutoff=0.6)
    return f"; did you mean {close[0]}?" if close else f"; there are {', '.join(known)}"


def read_file(sources: Sources, path: FilePath) -> None:
    """Read the TOML file *path*; whatever is wrong with it becomes a problem."""
    sources.file = printable(str(path))
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        sources.complain((), f"can't be read: {error.strerror or error}")
        return
    if len(data) > MAX_FILE_BYTES:
        sources.complain((), f"is larger than {MAX_FILE_BYTES} bytes: not a configuration")
        return
    try:
        text = data.decode("utf-8-sig").replace("\r\n", "\n")
        tables = tomllib.loads(text)
    except UnicodeDecodeError as error:
        sources.complain((), f"is not UTF-8 text (byte {error.start + 1})")
    except tomllib.TOMLDecodeError as error:
        _complain_of_toml(sources, str(error))
    except RecursionError:
        sources.complain((), "is nested too deeply: not a configuration")
    else:
        sources.lines = find_lines(text)
        _take_tables(sources, tables)


def _complain_of_toml(sources: Sources, message: str) -> None:
    match = _TOML_PLACE.search(message)
    line, column = (int(match[1]), int(match[2])) if match else (0, 0)
    place = f"{sources.file}:{line}:{column}" if match else sources.file
    sources.problems.append((line, f"{place}: is not TOML: {printable(_TOML_PLACE.sub('', message))}"))


def _take_tables(sources: Sources, tables: dict[str, object]) -> None:
    for section, table in tables.items():
        if section == "peers":
            _take_peers(sources, table)
        elif section not in SECTIONS:
            sources.complain((section,), "no such section" + did_you_mean(section, tuple(SECTIONS)))
        elif not isinstance(table, dict):
            sources.complain((section,), f"must be a table: write [{section}] on a line of its own")
        else:
            sources.values[section].update(_known_keys(sources, (section,), table))


def _take_peers(sources: Sources, tables: object) -> None:
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        sources.complain(("peers",), "must be an array of tables: write [[peers]], in double brackets, before each peer")
        return
    sources.peers.extend(dict(table) for table in tables)
    for index, table in enumerate(tables):
        sources.peers[index] = _known_keys(sources, ("peers", index), table)


def _known_keys(sources: Sources, path: Path, table: dict[str, object]) -> dict[str, object]:
    keys = SECTIONS[str(path[0])]
    for key in table.keys() - keys.keys():
        sources.complain((*path, printable(key, 60)), "no such setting" + did_you_mean(key, tuple(keys)))
    return {key: value for key, value in table.items() if key in keys}


def read_environment(sources: Sources, environ: Mapping[str, str]) -> None:
    """Take every ``CXMLD_<SECTION>__<KEY>`` and ``CXMLD_PEERS__<NAME>__<KEY>`` of *environ*.

    Variables without the double underscore are somebody else's, unless they are a setting's name but for that.
    """
    single = {f"{PREFIX}{section}_{key}".upper(): (section, key) for section, keys in SECTIONS.items() for key in keys}
    for variable in sorted(environ):
        if not variable.startswith(PREFIX):
            continue
        section, _, key = variable.removeprefix(PREFIX).lower().partition("__")
        if not key:
            if variable in single:
                meant = "__".join(single[variable]).upper()
                sources.problems.append((0, f"{variable}: has one underscore; did you mean {PREFIX}{meant}?"))
        elif section == "peers":
            _take_peer_variable(sources, variable, key, environ[variable])
        elif section not in SECTIONS:
            sources.problems.append((0, f"{variable}: no such section{did_you_mean(section, tuple(SECTIONS))}"))
        elif key not in SECTIONS[section]:
            sources.problems.append((0, f"{variable}: no such setting{did_you_mean(key, tuple(SECTIONS[section]))}"))
        else:
            _take_variable(sources, (section, key), variable, environ[variable], sources.values[section])


def _take_variable(sources: Sources, path: Path, variable: str, text: str, table: dict[str, object]) -> None:
    key = str(path[-1])
    sources.places[path] = variable
    try:
        table[key] = _list(text) if "tuple" in str(SECTIONS[str(path[0])][key].annotation) and key != "rtp_ports" else text
    except ValueError as error:
        table.pop(key, None)
        sources.broken.add(path)
        sources.problems.append((0, f"{variable}: is no JSON list: {error}"))


def _list(text: str) -> list[object]:
    """Return the items of a JSON list, or of a text with commas. Raises ValueError."""
    if text.lstrip().startswith('["') or text.strip() == "[]":
        parsed = json.loads(text)
        return list(parsed)
    return [item.strip() for item in text.split(",") if item.strip()]


def _variable_name(name: object) -> str:
    return re.sub(r"[^a-z0-9]", "_", str(name).lower())


def _take_peer_variable(sources: Sources, variable: str, rest: str, text: str) -> None:
    name, _, key = rest.rpartition("__")
    if not name or key not in SECTIONS["peers"] or key == "name":
        problem = f"no such setting{did_you_mean(key, tuple(SECTIONS['peers']))}" if name else f"write {PREFIX}PEERS__<NAME>__<KEY>"
        sources.problems.append((0, f"{variable}: {problem}"))
        return
    indexes = [index for index, peer in enumerate(sources.peers) if _variable_name(peer.get("name")) == name]
    if not indexes:
        indexes = [len(sources.peers)]
        sources.new_peers[indexes[0]] = variable
        sources.peers.append({"name": name.replace("_", "-")})
    _take_variable(sources, ("peers", indexes[0], key), variable, text, sources.peers[indexes[0]])


def take_flags(sources: Sources, flags: Mapping[str, str | Sequence[str] | None]) -> None:
    """Take the values of command-line *flags*, by the names of :data:`FLAGS`; those that are None or an empty list were not given."""
    for flag, (section, key) in FLAGS.items():
        value = flags.get(flag)
        if value is not None and value != []:
            sources.values[section][key] = value if isinstance(value, str) else list(value)
            sources.places[section, key] = flag
