"""The commented configuration file and the reference are those of the code."""

import re
import tomllib
from pathlib import Path

from cxml.daemon.config import Config, Peer, Refer, load_config
from cxml.daemon.config.sources import SECTIONS
from cxml.daemon.config.text import example_toml, reference_markdown

ROOT = Path(__file__).parents[3]
REMEDY = "run: make docs"


def uncommented() -> str:
    """Return etc/cxmld.toml with every setting switched on."""
    text = (ROOT / "etc" / "cxmld.toml").read_text(encoding="utf-8")
    return re.sub(r"^#(?=\[|[a-z_]+ = )", "", text, flags=re.MULTILINE)


def test_the_commented_file_has_every_setting_and_no_other() -> None:
    tables = tomllib.loads(uncommented())
    assert {name: set(table) for name, table in tables.items() if name != "peers"} == {
        name: set(keys) for name, keys in SECTIONS.items() if name != "peers"
    }
    (peer,) = tables["peers"]
    assert set(peer) == set(SECTIONS["peers"])


def test_the_values_in_the_commented_file_are_the_defaults() -> None:
    tables = tomllib.loads(uncommented())
    (peer,) = tables.pop("peers")
    assert Config.model_validate(tables) == Config()
    refer = {key: peer.pop(key) for key in Refer.model_fields}
    assert refer == Config().refer.model_dump(mode="json")
    assert peer.pop("session_expires_s") == Config().sip.session_expires_s
    for limit in ("max_calls", "max_calls_per_s"):
        assert peer.pop(limit) == getattr(Config().limits, limit)
    assert Peer.model_validate(peer) == Peer(name="pbx")


def test_the_commented_file_is_a_configuration(tmp_path: Path) -> None:
    environ = {"CXMLD_VOICE__URL": "http://app/"}
    assert load_config(ROOT / "etc" / "cxmld.toml", environ) == load_config(None, environ)


def test_every_setting_has_one_line_of_explanation() -> None:
    for keys in SECTIONS.values():
        assert all(info.description and info.description.endswith(".") and "\n" not in info.description for info in keys.values())


def test_the_commented_file_is_up_to_date() -> None:
    assert (ROOT / "etc" / "cxmld.toml").read_text(encoding="utf-8") == example_toml(), REMEDY


def test_the_reference_is_up_to_date() -> None:
    assert (ROOT / "docs" / "reference" / "config.md").read_text(encoding="utf-8") == reference_markdown(), REMEDY
