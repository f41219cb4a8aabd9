"""The documents of the verb's reference, written by the official SDKs and run by the engine.

What the Python SDKs write needs care: ``response.refer()`` has appended the verb already, so the reference's example, which
appends it once more, has two.
"""

import subprocess
from pathlib import Path

import pytest

from cxml.document import Level, lint
from tests.support import node, sdk
from tests.support.fake_call import BUSY, TRANSFERRED, FakeCall
from tests.support.running import START, Stage
from tests.support.signalwire_venv import InstallError

pytestmark = pytest.mark.looptime

TARGET = "sip:transfer-target@example.com"
COMPLETED = "https://example.com/refer-completed.xml"

PYTHON = """
from {module} import Refer, VoiceResponse

response = VoiceResponse()
refer = response.refer({attributes})
refer.sip('{target}')
{append}
print(response)
"""
NODE = """
const {{ RestClient }} = require("@signalwire/compatibility-api");
const response = new RestClient.LaML.VoiceResponse();
const refer = response.refer({{ {attributes} }});
refer.sip("{target}");
console.log(response.toString());
"""
MODULES = {"twilio": "twilio.twiml.voice_response", "signalwire": "signalwire.voice_response"}
SDKS = [*MODULES, "node"]


def script(name: str, *, action: bool = True, append: bool = False) -> str:
    """Return the reference's example for the SDK *name*, with or without its action; *append* as the Python one does."""
    if name == "node":
        return NODE.format(attributes=f'action: "{COMPLETED}", method: "GET"' if action else "", target=TARGET)
    attributes = f"action='{COMPLETED}', method='GET'" if action else ""
    return PYTHON.format(module=MODULES[name], attributes=attributes, target=TARGET, append="response.append(refer)" if append else "")


async def run(document: bytes, call: FakeCall | None = None) -> Stage:
    """Run *document* as the first one of a call; the action's document hangs up."""
    stage = Stage(call or FakeCall())
    stage.serve_raw(START, document)
    stage.serve("<Hangup/>", COMPLETED)
    await stage.run()
    return stage


@pytest.mark.parametrize("name", SDKS)
async def test_the_example_transfers_the_call_and_runs_the_document_of_its_action(name: str) -> None:
    stage = await run(sdk.generator(name)(script(name)))
    assert stage.call.done == ["answer", f"transfer {TARGET}", "hangup"]
    (asked,) = stage.web.to(COMPLETED)
    assert asked.method == "GET"
    assert dict(asked.extra) == {
        "ReferCallStatus": "in-progress",
        "ReferSipResponseCode": "202",
        "NotifySipResponseCode": "200",
        "CxmldReferOutcome": "transferred",
        "CxmldReferConfidence": "high",
    }


@pytest.mark.parametrize("name", MODULES)
async def test_of_two_refers_the_first_ones_action_replaces_the_document_and_the_second_never_runs(name: str) -> None:
    document = sdk.generator(name)(script(name, append=True))
    assert document.count(b"<Refer ") == 2
    stage = await run(document)
    assert stage.call.done == ["answer", f"transfer {TARGET}", "hangup"]
    assert stage.web.urls == [START, COMPLETED]


@pytest.mark.parametrize("name", MODULES)
async def test_of_two_refers_without_action_the_second_is_one_more_transfer(name: str) -> None:
    document = sdk.generator(name)(script(name, action=False, append=True))
    stage = await run(document, FakeCall(results=[BUSY, TRANSFERRED]))
    assert stage.call.done == ["answer", f"transfer {TARGET}", f"transfer {TARGET}", "hangup"]
    assert stage.web.urls == [START]


@pytest.mark.parametrize("name", MODULES)
def test_lint_warns_of_the_second_refer_and_names_the_remedy(name: str) -> None:
    (warning,) = lint(sdk.generator(name)(script(name, append=True)))
    assert (warning.level, warning.slug) == (Level.WARNING, "unreachable")
    assert "an SDK's response.refer() has added it already" in str(warning)


@pytest.mark.parametrize("name", SDKS)
def test_every_sdk_writes_the_same_document(name: str) -> None:
    expected = (
        f'<?xml version="1.0" encoding="UTF-8"?><Response><Refer action="{COMPLETED}" method="GET"><Sip>{TARGET}</Sip></Refer></Response>'
    )
    assert sdk.generator(name)(script(name)).decode() == expected


@pytest.mark.parametrize("name", MODULES)
async def test_further_verbs_of_an_sdk_run_in_order(name: str) -> None:
    source = (
        f"from {MODULES[name]} import VoiceResponse\nresponse = VoiceResponse()\nresponse.pause(length=2)\n"
        f"response.refer().sip('{TARGET}')\nresponse.redirect('{COMPLETED}')\nprint(response)"
    )
    stage = await run(sdk.generator(name)(source))
    assert stage.call.events == [(2, "answer"), (2, f"transfer {TARGET}"), (5, "hangup")]
    assert stage.web.urls == [START, COMPLETED]


def test_without_node_the_tests_that_need_it_are_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    monkeypatch.setattr(sdk, "missing_node", lambda: "node is not here")
    with pytest.raises(pytest.skip.Exception, match="node is not here"):
        sdk.generator("node")


@pytest.mark.parametrize(("ci", "outcome"), [("", pytest.skip.Exception), ("true", pytest.fail.Exception)], ids=["here", "in CI"])
@pytest.mark.parametrize("name", ["node", "signalwire"])
def test_a_failing_installation_is_a_skip_and_in_ci_a_failure(
    monkeypatch: pytest.MonkeyPatch, name: str, ci: str, outcome: type[BaseException]
) -> None:
    def fail() -> None:
        raise (node.NodeError if name == "node" else InstallError)("no network")

    monkeypatch.setenv("CI", ci)
    monkeypatch.setattr(sdk, "missing_node", lambda: None)
    monkeypatch.setattr(sdk, "package_folder", fail)
    monkeypatch.setattr(sdk, "signalwire_python", fail)
    with pytest.raises(outcome, match="no network"):
        sdk.generator(name)


def test_a_failing_npm_is_reported_with_what_it_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise subprocess.CalledProcessError(1, "npm", stderr="npm error: registry unreachable")

    monkeypatch.setenv("CXMLD_TEST_NODE", str(tmp_path))
    monkeypatch.setattr(node, "_has_package", lambda _: False)
    monkeypatch.setattr(node, "_install", refuse)
    with pytest.raises(node.NodeError, match="registry unreachable"):
        node.package_folder()
