"""Reads the configuration: defaults, then the TOML file, then ``CXMLD_<SECTION>__<KEY>`` of the environment, then flags.

:func:`load_config` reads and checks all of it and reports every problem at once, each with the place where to mend it. What
settings there are stands in :mod:`cxml.daemon.config.model`.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, SecretStr, ValidationError
from pydantic_core import ErrorDetails

from cxml.daemon.config.checks import CHECKS, NAMELESS
from cxml.daemon.config.model import Config
from cxml.daemon.config.peer import Peer
from cxml.daemon.config.sources import SECTIONS, Sources, read_environment, read_file, take_flags
from cxml.errors import ConfigError
from sipua.errors import printable

_MESSAGES: Final[Mapping[str, str]] = {
    "greater_than": "must be above {gt:g}",
    "greater_than_equal": "must be at least {ge:g}",
    "less_than_equal": "must be at most {le:g}",
    "finite_number": "must be a finite number",
    "string_type": "must be text, in quotes",
    "string_too_long": "must have at most {max_length} characters",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "int_parsing_size": "is far too large",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "tuple_type": "must be a list",
    "too_short": "must not be empty",
    "enum": "must be one of {expected}",
    "missing": "is missing",
    "value_error": "{error}",
}


def load_config(path: Path | None, environ: Mapping[str, str], flags: Mapping[str, str | Sequence[str] | None] | None = None) -> Config:
    """Return the configuration of the file *path* (None: no file), the environment and the *flags* (names as in :data:`FLAGS`).
    Raises :class:`cxml.errors.ConfigError` with every problem, one a line.
    """
    sources = Sources()
    if path is not None:
        read_file(sources, path)
    if sources.problems and not sources.lines:
        raise ConfigError(_report(sources))  # an unreadable file: what it would have set is not worth guessing
    read_environment(sources, environ)
    take_flags(sources, flags or {})
    config = _validate(sources)
    if sources.problems:
        raise ConfigError(_report(sources))
    return config


def _report(sources: Sources) -> str:
    texts = [text for _, text in sorted(sources.problems, key=lambda problem: (problem[0] == 0, problem[0]))]
    return "\n".join(dict.fromkeys(texts))


def _validate(sources: Sources) -> Config:
    """Check setting by setting, so that a fault in one hides none in another; what is broken is left at its default."""
    sections: dict[str, Any] = {}
    for name, values in sources.values.items():
        model = type(Config.model_fields[name].default)
        sections[name] = _section(sources, model, values, (name,))
    sections["peers"] = tuple(_section(sources, Peer, values, ("peers", index)) for index, values in enumerate(sources.peers))
    config = Config.model_construct(**sections)
    for check in CHECKS:
        for path, message in check(config, sources.broken):
            sources.complain(path, message)
    return config


def _section(sources: Sources, model: type[BaseModel], values: dict[str, object], path: tuple[str | int, ...]) -> BaseModel:
    """Return the section of *values*, without those that are broken: :attr:`Sources.broken` gets their paths."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        for details in error.errors(include_url=False):
            key = details["loc"][0]
            sources.complain((*path, key), _message(details, str(path[0]), str(key)))
            sources.broken.add((*path, key))
    good = {key: value for key, value in values.items() if (*path, key) not in sources.broken}
    if model is Peer and (*path, "name") in sources.broken:
        good["name"] = NAMELESS  # the one setting without a default
    return model.model_validate(good)


def _message(details: ErrorDetails, section: str, key: str) -> str:
    """Return what is wrong, the value where that helps and is no secret, and the default where there is one."""
    template = _MESSAGES.get(details["type"], details["msg"])
    message = template.format(**details.get("ctx", {})) if details["type"] in _MESSAGES else template
    value = details.get("input")
    info = SECTIONS[section][key]
    if isinstance(value, int | float | str) and details["type"] not in {"value_error", "missing"} and info.annotation is not SecretStr:
        message += f", not {printable(repr(value), 60)}"
    if details["type"] != "value_error" and isinstance(info.default, int | float | str) and str(info.default):
        default = f"{info.default:g}" if isinstance(info.default, float) else str(info.default)
        message += f"; the default is {default}"
    return message
