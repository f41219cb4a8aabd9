"""The sample application: its web server on a real socket, and its documents run by the whole stack on virtual time."""

import threading
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from functools import partial
from http.server import ThreadingHTTPServer

import httpx
import pytest

from examples.sample_app.app import Handler, document
from sipua.usage.call.referred import IncomingTransfer
from tests.support.pbx import Application, Stage

BUSY_TARGET = "sip:support@10.0.0.3"
FREE_TARGET = "sip:sales@10.0.0.3"
PATHS = ("/voice", "/after-transfer", "/second-choice", "/after-second-choice", "/fallback")


@pytest.fixture
def url() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_it_transfers_and_names_the_page_for_the_outcome(url: str) -> None:
    with urllib.request.urlopen(f"{url}/voice", data=b"CallSid=CA1&From=sip%3Abob%40pbx", timeout=5) as answer:
        assert answer.headers["Content-Type"] == "application/xml"
        assert answer.read() == b'<Response><Refer action="/after-transfer"><Sip>sip:answers@pbx</Sip></Refer></Response>'


def test_it_prints_the_outcome(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    query = "ReferCallStatus=in-progress&ReferSipResponseCode=202&NotifySipResponseCode=200&CxmldReferOutcome=transferred"
    with urllib.request.urlopen(f"{url}/after-transfer?{query}", timeout=5) as answer:
        assert answer.read() == b"<Response><Hangup/></Response>"
    assert "transfer: in-progress 202 200 transferred\n" in capsys.readouterr().out


def test_it_prints_the_error(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    with urllib.request.urlopen(f"{url}/fallback", data=b"ErrorCode=12100", timeout=5):
        assert "error: 12100" in capsys.readouterr().out


def test_it_knows_no_other_page(url: str) -> None:
    with pytest.raises(urllib.error.HTTPError, match="404") as failure:
        urllib.request.urlopen(f"{url}/other", timeout=5)
    failure.value.close()


def test_it_refuses_a_large_form(url: str) -> None:
    request = urllib.request.Request(f"{url}/voice", data=b"", headers={"Content-Length": "999999"})
    with pytest.raises(urllib.error.HTTPError, match="413") as failure:
        urllib.request.urlopen(request, timeout=5)
    failure.value.close()


def application(if_busy: str) -> Application:
    """Return the sample application as the stage wants it."""

    def page(path: str, parameters: Mapping[str, str]) -> httpx.Response:
        text = document(path, parameters, BUSY_TARGET, if_busy)
        return httpx.Response(200, content=text or "", headers={"Content-Type": "application/xml"})

    return Application({path: partial(page, path) for path in PATHS})


async def transfers_of(app: Application) -> list[str]:
    """Call the daemon from a PBX at which only FREE_TARGET answers; return the targets that it was asked for."""
    asked: list[str] = []

    def refer(transfer: IncomingTransfer) -> None:
        asked.append(transfer.target)
        transfer.accept()
        transfer.finish(200 if transfer.target == FREE_TARGET else 486)

    async with Stage(app) as stage:
        call = await stage.dial()
        call.on_transfer_request(refer)
        await call.wait_ended()
    return asked


@pytest.mark.looptime
async def test_a_busy_target_leads_to_the_second_choice(capsys: pytest.CaptureFixture[str]) -> None:
    app = application(FREE_TARGET)
    assert await transfers_of(app) == [BUSY_TARGET, FREE_TARGET]
    assert [path for path, _ in app.requests] == ["/voice", "/after-transfer", "/second-choice", "/after-second-choice"]
    assert [line for line in capsys.readouterr().out.splitlines() if line.startswith("transfer:")] == [
        "transfer: busy 202 486 busy",
        "transfer: in-progress 202 200 transferred",
    ]


@pytest.mark.looptime
async def test_without_a_second_choice_a_busy_target_ends_the_call() -> None:
    app = application("")
    assert await transfers_of(app) == [BUSY_TARGET]
    assert [path for path, _ in app.requests] == ["/voice", "/after-transfer"]
