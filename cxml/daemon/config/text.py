"""Pure. Writes ``etc/cxmld.toml`` and ``docs/reference/config.md`` from the settings themselves."""

import json
from collections.abc import Iterator
from inspect import getdoc
from typing import Final

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from cxml.daemon.config.model import Config
from cxml.daemon.config.peer import Peer
from cxml.daemon.config.sources import FLAGS, PREFIX, SECTIONS

_HEAD: Final = """\
# The settings of cxmld, each with its default. Remove the '#' before a setting to change it.
# The environment overrides this file (CXMLD_<SECTION>__<KEY>, such as CXMLD_VOICE__URL), flags override both.
# Check it with: cxmld config check --config cxmld.toml
"""

_REFERENCE_HEAD: Final = """\
# Configuration

<!-- Generated from cxml/daemon/config; edit the settings there. -->

Settings come from a TOML file, then from the environment, then from flags; the later source wins. `cxmld serve` and
`cxmld config check` read the file named by `--config`, or `cxmld.toml` in the current folder when there is one; no file
is needed. `cxmld config example` prints a file with every setting ([etc/cxmld.toml](../../etc/cxmld.toml)).

A variable of the environment is named `CXMLD_<SECTION>__<KEY>`, with two underscores between section and key; for a peer
`CXMLD_PEERS__<NAME>__<KEY>`, where everything in the name but letters and digits is written `_`. A name that the file does
not have makes a new peer. Lists are JSON (`["udp:0.0.0.0:5060", "tcp:0.0.0.0:5060"]`) or separated by commas. Secrets
belong into the environment or into a file that only the daemon can read; they are never printed.

Unknown settings and values that can't be right are errors: `cxmld config check` prints all of them at once, each with its
line, variable or flag. Times are in seconds. Spaces around a text do not count.
"""


def example_toml() -> str:
    """Return a configuration file with every setting commented out at its default."""
    parts = [_HEAD]
    for section, keys in SECTIONS.items():
        parts += ["\n", *_comment(_about(section)), _header(section) + "\n"]
        for key, info in keys.items():
            parts += [f"# {info.description}\n", f"#{key} = {toml_value(info)}\n"]
    return "".join(parts)


def reference_markdown() -> str:
    """Return the reference of all settings."""
    parts = [_REFERENCE_HEAD]
    flags = {place: flag for flag, place in FLAGS.items()}
    for section, keys in SECTIONS.items():
        title = "[[peers]]" if section == "peers" else f"[{section}]"
        parts += [f"\n## `{title}`\n\n{_about(section)}\n\n| Setting | Default | Meaning |\n|---|---|---|\n"]
        for key, info in keys.items():
            default = "–" if info.is_required() or info.default is None else f"`{toml_value(info)}`"
            flag = f" Flag `{flags[section, key]}`." if (section, key) in flags else ""
            example = f" Example: `{_toml(info.examples[0])}`." if info.examples else ""
            parts.append(f"| `{key}` | {_cell(default)} | {_cell(str(info.description) + example + flag)} |\n")
    return "".join(parts) + _PATTERNS


def toml_value(info: FieldInfo) -> str:
    """Return a setting's default in TOML; of one without a default its example."""
    if info.is_required():
        return _toml(info.examples[0] if info.examples else "")
    if info.default is None:
        return _toml(_general(_name_of(info)))
    return _toml(info.default)


def _general(name: str) -> object:
    """Return the default of the setting that stands in for the one *name* of a peer."""
    defaults = Config()
    return next(getattr(section, name) for section in (defaults.refer, defaults.sip, defaults.limits) if name in type(section).model_fields)


def _name_of(info: FieldInfo) -> str:
    return next(name for name, field in Peer.model_fields.items() if field is info)


def _toml(value: object) -> str:
    if isinstance(value, SecretStr):
        return '""'
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return f"{value:g}" if isinstance(value, float) else str(value)
    if isinstance(value, tuple) and value and all(isinstance(item, int) for item in value):
        return json.dumps("-".join(str(item) for item in value))
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    return json.dumps(str(value), ensure_ascii=False)


def _header(section: str) -> str:
    return "#[[peers]]" if section == "peers" else f"[{section}]"


def _about(section: str) -> str:
    model = Peer if section == "peers" else type(Config.model_fields[section].default)
    return (getdoc(model) or "").replace("``", "`")


def _comment(text: str) -> Iterator[str]:
    return (f"# {line}".rstrip().replace("`", "") + "\n" for line in text.splitlines())


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


_PATTERNS: Final = f"""
## Which transfers are allowed

`allow` is what keeps a document, or whoever can write one, from sending calls to expensive numbers. A pattern is compared with
`scheme:user@host` and `scheme:user@host:port` of the target, in any case of letters. `*` stands for any text, `?` for one character,
`[1-4]` for one of several. For a target that no pattern matches no REFER is sent, the verb ends as `invalid_target`, and the log has
`refer_target_refused`. Asterisk and FreeSWITCH look only at the user part: restrict that, by what it may be and not by what it may not be.

In a user part that is more than a `*` a wildcard never stands for what a dial plan could read as the end of a number or as an
instruction (`;`, `&`, `,`, `/`, `$`, escapes, anything but ASCII): write those that you need. A pattern without a port allows every
port of the host. A `maddr` must be allowed as if it stood in the place of the host; another `method` than INVITE, and headers other
than Replaces, User-to-User and X-…, are never allowed but by the pattern `*`. Other parameters are not compared. `sip:1*` names no
host and allows them all: write `sip:1*@pbx.example.com`.

## Variables for every setting

`{PREFIX}SIP__LISTEN`, `{PREFIX}VOICE__URL`, `{PREFIX}ACCOUNT__AUTH_TOKEN`, `{PREFIX}PEERS__PBX__PASSWORD` and so on: the section's
name and the key's name in capitals. Variables without the double underscore are not read.
"""
