"""The configuration: sources, precedence, and every problem with its place."""

import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cxml.daemon.config import Config, Voice, load_config
from cxml.daemon.config.sources import SECTIONS
from cxml.daemon.config.values import check_host_pattern, check_target_pattern
from cxml.daemon.run import CLOSE_LIMIT_S, end_grace_s
from cxml.errors import ConfigError

URL = "http://127.0.0.1:8000/voice"
ENV = {"CXMLD_VOICE__URL": URL}


def write(folder: Path, text: str) -> Path:
    path = folder / "cxmld.toml"
    path.write_text(text, encoding="utf-8")
    return path


def problems(
    path: Path | None, environ: Mapping[str, str] = ENV, flags: Mapping[str, str | Sequence[str] | None] | None = None
) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_config(path, environ, flags)
    found = str(caught.value).splitlines()
    return [line.removeprefix(f"{path}:") for line in found]


def test_defaults_are_those_of_the_contract() -> None:
    config = load_config(None, ENV)
    assert config.sip.listen == ("udp:127.0.0.1:5060", "tcp:127.0.0.1:5060")
    assert config.http.address == ("127.0.0.1", 8080)
    assert (config.voice.method, config.voice.fallback_url) == ("POST", "")
    webhook = config.webhook
    assert (webhook.connect_timeout_s, webhook.read_timeout_s, webhook.total_timeout_s) == (2, 5, 15)
    assert (webhook.max_redirects, webhook.max_body_bytes) == (3, 65536)
    assert (config.refer.notify_timeout_s, config.refer.bye_grace_s, config.refer.on_bye) == (180, 2, "canceled")
    assert (config.refer.allow, config.refer.settle_s) == (("*",), 0.1)
    assert (config.store.url, config.peers) == ("memory:", ())


def test_flags_override_the_environment_which_overrides_the_file(tmp_path: Path) -> None:
    path = write(
        tmp_path, '[voice]\nurl = "http://file/"\nmethod = "get"\n[http]\nlisten = "127.0.0.1:1"\n[sip]\nlisten = ["udp:127.0.0.1:1"]\n'
    )
    environ = {"CXMLD_VOICE__URL": "http://environ/", "CXMLD_HTTP__LISTEN": "127.0.0.1:2"}
    config = load_config(path, environ, {"--voice-url": "http://flag/", "--sip": ["udp:127.0.0.1:3", "tcp:[::1]:3"], "--http": None})
    assert (config.voice.url, config.voice.method) == ("http://flag/", "GET")
    assert config.http.address == ("127.0.0.1", 2)
    assert config.sip.listen == ("udp:127.0.0.1:3", "tcp:[::1]:3")


@pytest.mark.parametrize("text", ['["udp:0.0.0.0:5060", "tcp:0.0.0.0:5060"]', "udp:0.0.0.0:5060, tcp:0.0.0.0:5060,"])
def test_lists_in_the_environment_are_json_or_have_commas(text: str) -> None:
    assert load_config(None, ENV | {"CXMLD_SIP__LISTEN": text}).sip.listen == ("udp:0.0.0.0:5060", "tcp:0.0.0.0:5060")


def test_an_ipv6_listener_in_the_environment_is_not_taken_for_json() -> None:
    assert load_config(None, ENV | {"CXMLD_HTTP__LISTEN": "[::1]:8080"}).http.address == ("::1", 8080)


def test_numbers_and_switches_in_the_environment_are_read() -> None:
    environ = {"CXMLD_LIMITS__MAX_CALLS": "7", "CXMLD_WEBHOOK__READ_TIMEOUT_S": "0.5", "CXMLD_LOG__SIP_TRACE": "true"}
    config = load_config(None, ENV | environ)
    assert (config.limits.max_calls, config.webhook.read_timeout_s, config.log.sip_trace) == (7, 0.5, True)


def test_every_problem_is_reported_at_once_with_its_place(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        """# comment
[sip]
listen = [
  "udp:127.0.0.1:5060",
  "ws:10.0.0.1:5061",  # [no table]
]
lisen = 3
[webhok]
x = 1
[webhook]
total_timeout_s = 0
max_redirects = true
[media]
mode = "loud"
[[peers]]
name = "pbx"
match = ["10.0.0.1/8"]
[[peers]]
match = []
alow = ["x"]
""",
    )
    environ = {"CXMLD_LIMITS__MAX_CALL": "3", "CXMLD_SIP_LISTEN": "x", "CXMLD_REFER__ON_BYE": "?", "CXMLD_HOST": "not ours"}
    assert problems(path, environ, {"--http": "nope"}) == [
        "3: [sip] listen: 'ws:10.0.0.1:5061': unknown transport 'ws'",
        "7: [sip] lisen: no such setting; did you mean listen?",
        "8: [webhok]: no such section; did you mean webhook?",
        "11: [webhook] total_timeout_s: must be above 0, not 0; the default is 15",
        "12: [webhook] max_redirects: must be a number, not true or false",
        "14: [media] mode: must be one of 'none', 'receive' or 'silence', not 'loud'; the default is receive",
        "17: [[peers]] 'pbx' match: '10.0.0.1/8' has address bits behind its prefix; did you mean 10.0.0.0/8?",
        "18: [[peers]] number 2 name: is missing",
        "19: [[peers]] number 2 match: names no address; list the addresses that the PBX calls from",
        "20: [[peers]] number 2 alow: no such setting; did you mean allow?",
        "CXMLD_LIMITS__MAX_CALL: no such setting; did you mean max_calls?",
        "CXMLD_SIP_LISTEN: has one underscore; did you mean CXMLD_SIP__LISTEN?",
        "--http: 'nope' is not of the form ADDRESS:PORT, with an IP address (IPv6 in brackets)",
        "CXMLD_REFER__ON_BYE: must be one of 'canceled', 'success' or 'unknown', not '?'; the default is canceled",
        " [voice] url: is missing; set it here, by CXMLD_VOICE__URL or by --voice-url, such as http://127.0.0.1:8000/voice",
    ]


@pytest.mark.parametrize(
    "pattern", ["*", "app", "*.example.com", "app-?.example.com:8000", "10.0.0.[1-4]", "[::1]:8000", "[fd00:*", "*:443"]
)
def test_a_pattern_of_hosts_that_can_match_is_taken(pattern: str) -> None:
    assert check_host_pattern(pattern) == pattern


@pytest.mark.parametrize(
    "pattern", ["*", "sip:*", "sip*:100@pbx", "*@pbx", "sip:[1-4]??@pbx:5060", "sip:*@[2001:db8::5]", "tel:+4930*", "s[i]p:1", "sip:a&b@*"]
)
def test_a_pattern_of_targets_that_can_match_is_taken(pattern: str) -> None:
    assert check_target_pattern(pattern) == pattern


def test_a_missing_first_document_is_a_problem_that_says_how_to_mend_it() -> None:
    (problem,) = problems(None, {})
    assert problem.startswith("[voice] url: is missing; set it here, by CXMLD_VOICE__URL or by --voice-url")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[sip]\nlisten = []\n", "2: [sip] listen: must not be empty"),
        ('[sip]\nlisten = "udp:127.0.0.1:5060"\n', "2: [sip] listen: must be a list"),
        ('[sip]\nlisten = ["udp:pbx:5060"]\n', "2: [sip] listen: 'udp:pbx:5060': 'pbx' is not an IP address"),
        ('[sip]\nlisten = ["udp:127.0.0.1:1", "udp:127.0.0.1:1"]\n', "2: [sip] listen: udp:127.0.0.1:1 and udp:127.0.0.1:1 overlap"),
        ('[sip]\nlisten = ["tcp:0.0.0.0:1", "tcp:127.0.0.1:1"]\n', "2: [sip] listen: tcp:127.0.0.1:1 and tcp:0.0.0.0:1 overlap"),
        ('[sip]\nlisten = ["tcp:0.0.0.0:1"]\n[http]\nlisten = "127.0.0.1:1"\n', "4: [http] listen: 127.0.0.1:1 overlaps tcp:0.0.0.0:1"),
        ('[sip]\nadvertised_host = "1.2.3.4, pbx"\n', "2: [sip] advertised_host: '1.2.3.4, pbx' is neither a name nor an address, nor one"),
        ('[sip]\nadvertised_host = "1.2.3.4,"\n', "2: [sip] advertised_host: '1.2.3.4,' has a comma too many"),
        ('[dns]\nservers = ["dns.example"]\n', "2: [dns] servers: 'dns.example' is not the address of a name server"),
        ('[sip]\nadvertised_host = "sip:pbx"\n', "2: [sip] advertised_host: 'sip:pbx' is neither a host name nor an IP address"),
        ('[sip]\nuser_agent = "a\\nb"\n', "2: [sip] user_agent: must be printable ASCII"),
        ("[sip]\ndrain_timeout_s = -1\n", "2: [sip] drain_timeout_s: must be at least 0, not -1; the default is 60"),
        ("sip = 3\n", "1: [sip]: must be a table"),
        ("[peers]\nname = 'a'\n", "1: [[peers]]: must be an array of tables"),
        ("[voice]\nfallback_url = 'ftp://x/'\n", "2: [voice] fallback_url: only http and https are requested"),
        ("[voice]\nmethod = 'PUT'\n", "2: [voice] method: must be GET or POST, not 'PUT'"),
        ("[webhook]\nconnect_timeout_s = 16\n", "2: [webhook] connect_timeout_s: must not be above total_timeout_s, which is 15"),
        ("[sip]\nsession_expires_s = 89\n", "2: [sip] session_expires_s: must be 0 or at least [sip] min_se_s, which is 90"),
        ('[[peers]]\nname = "a"\nmatch = ["::1"]\nsession_expires_s = 1\n', "4: [[peers]] 'a' session_expires_s: must be 0 or at least"),
        ("[sip]\nmin_se_s = 1\n", "2: [sip] min_se_s: must be"),
        ('[webhook]\nallow_hosts = ["app"]\n', "2: [webhook] allow_hosts: does not allow the host of [voice] url, 127.0.0.1; add it"),
        ("[webhook]\nallow_private = false\n", "2: [webhook] allow_private: forbids the host of [voice] url, 127.0.0.1; leave it true"),
        ('[webhook]\nallow_hosts = ["*", "http://app/"]\n', "2: [webhook] allow_hosts: 'http://app/' matches no host; write host or"),
        ('[webhook]\nallow_hosts = ["*", ""]\n', "2: [webhook] allow_hosts: '' matches no host"),
        ('[webhook]\nallow_hosts = ["*", "::1"]\n', "2: [webhook] allow_hosts: '::1' matches no host"),
        ('[webhook]\nallow_hosts = ["*", "app."]\n', "2: [webhook] allow_hosts: 'app.' matches no host"),
        ('[webhook]\nallow_hosts = ["*", "münchen.example"]\n', "2: [webhook] allow_hosts: 'm"),
        ('[refer]\nallow = ["102"]\n', "2: [refer] allow: '102' matches no URI; write it with its scheme"),
        ('[refer]\nallow = ["102@*"]\n', "2: [refer] allow: '102@*' matches no URI"),
        ('[refer]\nallow = [""]\n', "2: [refer] allow: '' matches no URI"),
        ('[refer]\nallow = ["sip:[1-4??@pbx"]\n', "2: [refer] allow: 'sip:[1-4??@pbx' has a bracket that is not closed"),
        ('[[peers]]\nname = "a"\nmatch = ["::1"]\nallow = ["1??@pbx"]\n', "4: [[peers]] 'a' allow: '1??@pbx' matches no URI"),
        ('[[peers]]\nname = "a"\nmatch = ["fe80::1%eth0"]\n', "3: [[peers]] 'a' match: 'fe80::1%eth0' has a zone; leave it out"),
        ("[webhook]\ntotal_timeout_s = inf\n", "2: [webhook] total_timeout_s: must be"),
        ("[webhook]\nread_timeout_s = '5 s'\n", "2: [webhook] read_timeout_s: must be a number, not '5 s'; the default is 5"),
        ("[webhook]\nmax_redirects = 1.5\n", "2: [webhook] max_redirects: must be a whole number, not 1.5; the default is 3"),
        ("[account]\nauth_token = 12345\n", "2: [account] auth_token: must be text, in quotes"),
        ("[store]\nurl = 'sqlite:///cxmld.db'\n", "2: [store] url: only 'memory:' works in this version"),
        ("[refer]\nbye_grace_s = 33\n", "2: [refer] bye_grace_s: must be at most 32, not 33; the default is 2"),
        ("[refer]\nallow = 'sip:*'\n", "2: [refer] allow: must be a list"),
        ("[media]\nrtp_ports = '5000'\n", '2: [media] rtp_ports: must be a range such as "10000-20000"'),
        ("[media]\nrtp_ports = '80-90'\n", "2: [media] rtp_ports: RTP port range 80-90 is not within 1024-65535"),
        ("[media]\nrtp_ports = [20000, 20010]\n", "2: [media] rtp_ports: 20000-20010 has ports for 5 calls, and [limits]"),
        (
            "[media]\nrtp_ports = [20000, 20005]\n[limits]\nmax_calls = 3\n[workers]\ncount = 4\n",
            "2: [media] rtp_ports: 20000-20005 has ports for 3 calls, and [workers] count is 4",
        ),
        ("[workers]\ncount = 0\n", "2: [workers] count: must be at least 1, not 0; the default is 1"),
        ("[media]\nrtp_ports = '5000-9000'\n", "2: [media] rtp_ports: 5000-9000 holds the port of udp:127.0.0.1:5060"),
        ("[limits]\nmax_message_bytes = 70000\n", "2: [limits] max_message_bytes: must be at most 65535, not 70000"),
        ("[log]\nsip_trace = 'perhaps'\n", "2: [log] sip_trace: must be true or false"),
        ("[[peers]]\nname = 'a b'\nmatch = ['::1']\n", "2: [[peers]] 'a b' name: must be 1 to 63 letters"),
        ("[[peers]]\nname = 'a'\n", "1: [[peers]] 'a' match: names no address"),
        ("[[peers]]\nname = 'a'\nuri = 'sip:pbx'\n", "1: [[peers]] 'a' match: names no address"),
        ("[[peers]]\nname = 'a'\nuri = 'tel:1'\n", "3: [[peers]] 'a' uri: is no SIP URI"),
        ("[[peers]]\nname = 'a'\nuri = 'sip:u:pw@10.0.0.1'\n", "3: [[peers]] 'a' uri: must hold no password"),
        ("[[peers]]\nname = 'a'\ncertificate = ['*.pbx']\n", "3: [[peers]] 'a' certificate: '*.pbx' is neither a domain nor"),
        ("[[peers]]\nname = 'a'\nuri = 'sip:10.0.0.1'\nregister = true\n", "4: [[peers]] 'a' register: needs username and password, too"),
        ("[[peers]]\nname = 'a'\nmatch = ['::1']\npassword = 'x'\n", "1: [[peers]] 'a' username: is missing: a password needs one"),
        ("[[peers]]\nname = 'a'\nmatch = ['::1']\n[[peers]]\nname = 'A'\nmatch = ['::2']\n", "5: [[peers]] 'A' name: another peer"),
        ("[[peers]]\nname = 'a'\nmatch = ['::1']\n[[peers]]\nname = 'b'\nmatch = ['::2', '::1']\n",
         "6: [[peers]] 'b' match: ::1/128 is in the match of the peer 'a', too"),
        ("[[peer]]\nname = 'a'\n", "1: [peer]: no such section; did you mean peers?"),
        ("peer.a = 1\n", "1: [peer]: no such section"),
        ("[[peers]]\nname = 'a'\nmatch = ['::1']\non_bye = 'no'\n", "4: [[peers]] 'a' on_bye: must be one of"),
    ],
)  # fmt: skip
def test_a_broken_setting_is_one_problem_with_its_line(tmp_path: Path, text: str, problem: str) -> None:
    found = problems(write(tmp_path, text))
    assert len(found) == 1
    assert found[0].startswith(problem)


def test_a_file_that_is_no_toml_says_where(tmp_path: Path) -> None:
    (problem,) = problems(write(tmp_path, "[sip]\nlisten = [\n'a'\nb"))
    assert problem.startswith("4:1: is not TOML: ")


@pytest.mark.parametrize("data", [b"\xff\xfe", b"a = " + b"[" * 5000, b"#" * 1_100_000])
def test_a_file_that_can_not_be_a_configuration_is_a_problem(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "cxmld.toml"
    path.write_bytes(data)
    assert len(problems(path)) == 1


KEYS = [(section, key) for section, keys in SECTIONS.items() if section != "peers" for key in keys]
TOML = st.one_of(
    st.text(max_size=20).map(json.dumps),
    st.sampled_from(["1", "-1", "1e400", "nan", "0x10", "true", "[]", "[[1]]", "{a = 1}", "1979-05-27", '"[::1]:1"', '["udp:[::1]:1"]']),
)


@given(st.dictionaries(st.sampled_from(KEYS), TOML, max_size=8), st.dictionaries(st.sampled_from(list(SECTIONS["peers"])), TOML))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_value_raises_anything_but_problems_with_lines(tmp_path: Path, values: dict[tuple[str, str], str], peer: dict[str, str]) -> None:
    lines = [f"{section}.{key} = {value}" for (section, key), value in values.items()]
    lines += ["[[peers]]", *(f"{key} = {value}" for key, value in peer.items())]
    try:
        load_config(write(tmp_path, "\n".join(lines)), ENV)
    except ConfigError as error:
        assert all(re.match(rf"{re.escape(str(tmp_path))}/cxmld\.toml:", line) for line in str(error).splitlines())  # noqa: PT017
        assert str(error).replace("\n", "").isprintable()  # noqa: PT017


@given(st.dictionaries(st.sampled_from(KEYS), st.text(alphabet=st.characters(exclude_characters="\0"), max_size=20), max_size=8))
def test_no_text_in_the_environment_raises_anything_but_problems(values: dict[tuple[str, str], str]) -> None:
    try:
        load_config(None, {f"CXMLD_{section}__{key}".upper(): text for (section, key), text in values.items()})
    except ConfigError as error:
        assert all(line.startswith(("CXMLD_", "[")) for line in str(error).split("\n"))  # noqa: PT017


def test_a_file_that_is_not_there_is_a_problem(tmp_path: Path) -> None:
    assert problems(tmp_path / "none.toml") == [" can't be read: No such file or directory"]


def test_no_problem_shows_a_secret(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        """[account]
auth_token = ["hunter2"]
signing_key = {a = "hunter2"}
[voice]
url = "http://u:hunter2@"
[[peers]]
name = "a"
password = 77662200
uri = "sip:u:hunter2@"
""",
    )
    text = "\n".join(problems(path, {"CXMLD_VOICE__FALLBACK_URL": "http://u:hunter2@[", "CXMLD_PEERS__B__URI": "sip:u:hunter2@@"}))
    assert len(text.splitlines()) >= 6
    assert "hunter2" not in text
    assert "77662200" not in text


def test_secrets_print_as_stars_and_are_listed_for_the_log() -> None:
    environ = {
        "CXMLD_VOICE__URL": "http://user:p%40ss@app/voice",
        "CXMLD_ACCOUNT__AUTH_TOKEN": "token-1",
        "CXMLD_ACCOUNT__SIGNING_KEY": "key-1",
        "CXMLD_PEERS__PBX__PASSWORD": "secret-1",
        "CXMLD_PEERS__PBX__USERNAME": "cxmld",
        "CXMLD_PEERS__PBX__MATCH": "10.0.0.5",
    }
    config = load_config(None, environ)
    assert set(config.secrets()) == {"token-1", "key-1", "secret-1", "p%40ss", "p@ss"}
    shown = repr(config.account) + repr(config.peers) + str(config.peers)
    assert not any(secret in shown for secret in ("token-1", "key-1", "secret-1"))


def test_a_peer_of_the_file_gets_its_password_from_the_environment(tmp_path: Path) -> None:
    path = write(tmp_path, '[[peers]]\nname = "Main.PBX"\nuri = "sip:10.0.0.5;transport=tcp"\nusername = "cxmld"\nregister = true\n')
    (peer,) = load_config(path, ENV | {"CXMLD_PEERS__MAIN_PBX__PASSWORD": "geheim"}).peers
    assert peer.password.get_secret_value() == "geheim"
    assert [str(network) for network in peer.networks] == ["10.0.0.5/32"]
    assert peer.is_registering


def test_the_environment_alone_makes_a_peer() -> None:
    (peer,) = load_config(None, ENV | {"CXMLD_PEERS__MY_PBX__MATCH": '["10.0.0.0/8", "fd00::/8"]'}).peers
    assert peer.name == "my-pbx"
    assert [str(network) for network in peer.networks] == ["10.0.0.0/8", "fd00::/8"]


def test_a_peer_without_a_setting_name_is_a_problem() -> None:
    found = problems(None, ENV | {"CXMLD_PEERS__PASSWORD": "x", "CXMLD_PEERS__A__PASWORD": "x"})
    assert found == [
        "CXMLD_PEERS__A__PASWORD: no such setting; did you mean password?",
        "CXMLD_PEERS__PASSWORD: write CXMLD_PEERS__<NAME>__<KEY>",
    ]


def test_a_peer_overrides_keys_of_refer(tmp_path: Path) -> None:
    text = '[refer]\nbye_grace_s = 3\nallow = ["sip:*@a"]\n'
    text += '[[peers]]\nname = "fs"\nmatch = ["::1"]\non_bye = "success"\nallow = []\nsettle_s = 0\n'
    config = load_config(write(tmp_path, text), ENV)
    refer = config.refer_for(config.peers[0])
    assert (refer.on_bye, refer.allow, refer.settle_s) == ("success", (), 0)
    assert (refer.bye_grace_s, refer.notify_timeout_s) == (3, 180)
    assert config.refer_for(None) is config.refer


def test_media_without_sockets_needs_no_ports(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, '[media]\nmode = "none"\nrtp_ports = "20000-20010"\n'), ENV)
    assert config.media.rtp_ports == (20000, 20010)


def test_no_http_side_is_an_empty_text(tmp_path: Path) -> None:
    assert load_config(write(tmp_path, '[http]\nlisten = ""\n'), ENV).http.address is None


def test_the_flag_for_the_http_side_may_be_empty_and_the_one_for_the_document_may_not() -> None:
    assert load_config(None, ENV, {"--http": "", "--sip": []}).http.address is None
    (problem,) = problems(None, ENV, {"--voice-url": ""})
    assert problem.startswith("--voice-url: is missing")


def test_a_broken_setting_hides_no_fault_between_others(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        """[sip]
drain_timeout_s = -1
listen = ["udp:127.0.0.1:11000", "udp:0.0.0.0:11000"]
[http]
listen = "no"
[webhook]
max_redirects = -1
read_timeout_s = 20
connect_timeout_s = 0
[limits]
max_calls = 0
max_verbs = 0
[[peers]]
name = "a"
match = ["::1"]
register_expires_s = 1
register = true
uri = "tel:1"
[[peers]]
name = "A"
match = ["::1"]
""",
    )
    expected = [
        "2: [sip] drain_timeout_s: must be at least",
        "3: [sip] listen: udp:0.0.0.0:11000 and udp:127.0.0.1:11000 overlap",
        "5: [http] listen: 'no' is not of the form",
        "7: [webhook] max_redirects: must be at least",
        "8: [webhook] read_timeout_s: must not be above total_timeout_s",
        "9: [webhook] connect_timeout_s: must be above 0",
        "11: [limits] max_calls: must be at least",
        "12: [limits] max_verbs: must be at least",
        "16: [[peers]] 'a' register_expires_s: must be at least",
        "17: [[peers]] 'a' register: needs username and password, too",
        "18: [[peers]] 'a' uri: is no SIP URI",
        "20: [[peers]] 'A' name: another peer has this name",
        "21: [[peers]] 'A' match: ::1/128 is in the match of the peer 'a', too",
        " [media] rtp_ports: 10000-20000 holds the port of udp:127.0.0.1:11000",
        " [media] rtp_ports: 10000-20000 holds the port of udp:0.0.0.0:11000",
    ]
    found = problems(path)
    assert [line[: len(start)] for line, start in zip(found, expected, strict=True)] == expected


@pytest.mark.parametrize("has_file", [True, False])
def test_a_variable_of_a_peer_that_is_nowhere_else_is_named(tmp_path: Path, has_file: bool) -> None:
    path = write(tmp_path, "[[peers]]\nname = 'main'\nmatch = ['::1']\n") if has_file else None
    where = " (a peer that the file doesn't have)" if has_file else ""
    assert problems(path, ENV | {"CXMLD_PEERS__MIAN__PASSWORD": "x"}) == [
        f"CXMLD_PEERS__MIAN__PASSWORD: [[peers]] 'mian' match: names no address; list the addresses that the PBX calls from{where}",
        f"CXMLD_PEERS__MIAN__PASSWORD: [[peers]] 'mian' username: is missing: a password needs one{where}",
    ]


def test_settings_can_not_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Config().sip.user_agent = "x"


def test_the_daemon_of_the_unit_is_not_killed_while_it_drains() -> None:
    unit = Path(__file__).parents[3] / "etc" / "cxmld.service"
    limit = next(line for line in unit.read_text(encoding="utf-8").splitlines() if line.startswith("TimeoutStopSec="))
    config = Config(voice=Voice(url="http://app/", fallback_url="http://app/fallback"))
    # a call that hangs takes the grace twice: hung up in good order, then stopped at once
    assert int(limit.partition("=")[2]) >= config.sip.drain_timeout_s + 2 * end_grace_s(config) + CLOSE_LIMIT_S


def test_the_unit_reloads_certificates_by_the_signal_that_the_daemon_takes() -> None:
    unit = Path(__file__).parents[3] / "etc" / "cxmld.service"
    lines = unit.read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if line.startswith("ExecReload=")] == ["ExecReload=/bin/kill -HUP $MAINPID"]


def test_the_process_environment_is_not_read_behind_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "CXMLD_VOICE__URL", "http://elsewhere/")
    assert problems(None, {})
