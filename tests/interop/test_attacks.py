"""An attacker with raw datagrams against a daemon with a peer that shows a password: what is replayed, forged and guessed gains nothing."""

import asyncio
import itertools
import re
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from cxml.daemon.config import Access, Peer, Webhook
from sipua.agent import UserAgent
from sipua.auth import Credential
from sipua.auth.digest import Challenge, make_credentials
from sipua.errors import CallFailedError
from sipua.message import Request, Response, parse_message
from sipua.usage.call.media import MediaMode
from tests.support.daemon import HOST, DaemonUnderTest, daemon_under_test

pytestmark = pytest.mark.interop

FRIEND, ATTACKER, OTHER = "127.0.0.9", "127.0.0.66", "127.0.0.67"
USER, PASSWORD = "road", "a long password"
QUIET_S = 0.3
"""How long an answer on loopback is waited for that must not come; one that comes takes a thousandth of it."""

NUMBERS = itertools.count()
ROAD = Peer(name="road", auth="digest", inbound_username=USER, inbound_password=SecretStr(PASSWORD))  # type: ignore[arg-type]
PBX = Peer(name="pbx", match=(FRIEND,))


class Raw:
    """A socket at an address of the attacker's choice, also one of somebody else."""

    def __init__(self, daemon: DaemonUnderTest, host: str) -> None:
        self.to = (HOST, daemon.port)
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((host, 0))
        self.socket.setblocking(False)
        self.host, self.port = self.socket.getsockname()

    def text(self, method: str, *lines: str, user: str = "1000", to_tag: str = "", call_id: str = "") -> str:
        number = next(NUMBERS)
        tag = f";tag={to_tag}" if to_tag else ""
        head = (
            f"{method} sip:{user}@{HOST} SIP/2.0",
            f"Via: SIP/2.0/UDP {self.host}:{self.port};branch=z9hG4bKattack{number}",
            "Max-Forwards: 70",
            f"From: <sip:{user}@{self.host}>;tag=f{number}",
            f"To: <sip:{user}@{HOST}>{tag}",
            f"Call-ID: {call_id or f'attack{number}'}",
            f"CSeq: {number + 1} {method}",
            f"Contact: <sip:a@{self.host}:{self.port}>",
            *lines,
            "Content-Length: 0",
        )
        return "\r\n".join((*head, "", ""))

    async def ask(self, text: str) -> Response | None:
        """Send *text* and return the answer, None for silence."""
        self.socket.sendto(text.encode(), self.to)
        try:
            async with asyncio.timeout(QUIET_S):
                answer = parse_message(await asyncio.get_running_loop().sock_recv(self.socket, 65535))
        except TimeoutError:
            return None
        assert isinstance(answer, Response)
        return answer


@contextmanager
def raw(daemon: DaemonUnderTest, host: str = ATTACKER) -> Iterator[Raw]:
    attacker = Raw(daemon, host)
    try:
        yield attacker
    finally:
        attacker.socket.close()


@asynccontextmanager
async def with_password() -> AsyncIterator[DaemonUnderTest]:
    async with daemon_under_test(mode=MediaMode.NONE, peers=(ROAD,), access=Access(never_ban=())) as daemon:
        daemon.app.otherwise = "<Reject/>"
        yield daemon


async def a_friend_calls(daemon: DaemonUnderTest, host: str = FRIEND) -> None:
    async with UserAgent(listen=[f"udp:{host}:0"], credentials=(Credential(USER, PASSWORD),)) as friend:
        with pytest.raises(CallFailedError) as failure:
            await friend.dial(f"sip:1000@{HOST}:{daemon.port}", timeout_s=10)
    assert failure.value.status == 603


def credentials_for(answer: Response, method: str, password: str, nc: int = 1) -> str:
    challenge = Challenge.parse(answer.headers.lines("WWW-Authenticate")[0])
    assert challenge is not None
    return make_credentials(challenge, USER, password, method, f"sip:1000@{HOST}", b"", nc, "0a4f113b")


async def test_a_recorded_request_opens_nothing_a_second_time_from_wherever_it_comes() -> None:
    async with with_password() as daemon:
        await a_friend_calls(daemon)
        (heard,) = [
            passed.message
            for passed in daemon.traffic
            if isinstance(passed.message, Request) and passed.message.method == "INVITE" and "Authorization" in passed.message.headers
        ]
        line = f"Authorization: {heard.headers.get('Authorization')}"
        calls = len(daemon.app.hits)
        for host in (ATTACKER, OTHER, FRIEND):
            with raw(daemon, host) as attacker:
                for method in ("INVITE", "OPTIONS", "REGISTER"):
                    answer = await attacker.ask(attacker.text(method, line))
                    assert answer is not None
                    assert answer.status == 401
                    assert "stale=true" in (answer.headers.get("WWW-Authenticate") or "")
        assert len(daemon.app.hits) == calls
        assert daemon.daemon.gate.banned_count() == 0
        await a_friend_calls(daemon)


async def test_a_nonce_serves_only_the_source_that_got_it_and_each_count_once() -> None:
    async with with_password() as daemon:
        with raw(daemon) as attacker, raw(daemon, OTHER) as other:
            asked = await attacker.ask(attacker.text("OPTIONS"))
            assert asked is not None
            line = f"Authorization: {credentials_for(asked, 'OPTIONS', PASSWORD)}"
            for sender, status in ((other, 401), (attacker, 200), (attacker, 401), (other, 401)):
                answer = await sender.ask(sender.text("OPTIONS", line))
                assert answer is not None
                assert answer.status == status


async def test_nobody_has_a_peer_banned_by_sending_in_its_name() -> None:
    """The attacker can write from the friend's address, and reads nothing of what is sent there (as over UDP on the Internet)."""
    async with with_password() as daemon:
        with raw(daemon) as attacker:
            foreign = await attacker.ask(attacker.text("OPTIONS"))
        assert foreign is not None
        with raw(daemon, FRIEND) as forger:
            for _ in range(30):  # a nonce of his own, and one that he makes up
                await forger.ask(forger.text("INVITE", f"Authorization: {credentials_for(foreign, 'INVITE', 'wrong')}"))
                made_up = credentials_for(foreign, "INVITE", "wrong")
                made_up = re.sub(r'nonce="[^"]*"', f'nonce="{"0" * 42}"', made_up)
                forger.socket.sendto(forger.text("INVITE", f"Authorization: {made_up}").encode(), forger.to)
        assert daemon.daemon.gate.banned_count() == 0
        await asyncio.sleep(2.0)  # the friend's share of answers fills again
        await a_friend_calls(daemon)


async def test_challenges_cost_no_memory_and_wrong_passwords_end_in_silence() -> None:
    async with with_password() as daemon:
        with raw(daemon) as attacker:
            asked = await attacker.ask(attacker.text("OPTIONS"))
            assert asked is not None
            answers = []
            for count in range(1, 9):
                line = f"Authorization: {credentials_for(asked, 'OPTIONS', f'guess{count}', count)}"
                answers.append(await attacker.ask(attacker.text("OPTIONS", line)))
            assert [answer and answer.status for answer in answers] == [401] * 4 + [None] * 4
            right = await attacker.ask(attacker.text("OPTIONS", f"Authorization: {credentials_for(asked, 'OPTIONS', PASSWORD, 20)}"))
            assert right is None  # banned: also the right one, or it would be told from the others
            assert daemon.daemon.gate.banned_count() == 1
        with raw(daemon, OTHER) as flood:
            for _ in range(2000):
                flood.socket.sendto(flood.text("REGISTER").encode(), flood.to)
            await asyncio.sleep(0.5)
        assert len(daemon.daemon.gate._digest._seen) == 0
        assert daemon.daemon.agent.transactions.server_count == 0
        await a_friend_calls(daemon)


def without_what_varies(answer: Response | None) -> str:
    assert answer is not None
    text = answer.encode().decode()
    return re.sub(r'nonce="\w+"|branch=\w+|tag=[\w.-]+|attack\d+|:\d+|CSeq: \d+ \w+|rport=\d+|sip:[\w.%-]+@', "…", text)


async def test_answers_to_any_user_and_method_are_alike() -> None:
    async with with_password() as daemon:
        with raw(daemon) as attacker:
            seen = set()
            for method in ("INVITE", "OPTIONS", "REGISTER", "SUBSCRIBE", "PUBLISH", "MESSAGE", "REFER", "NOTIFY", "FROB"):
                for user in (USER, "1000", "nobody"):
                    await asyncio.sleep(0.06)
                    seen.add(without_what_varies(await attacker.ask(attacker.text(method, user=user))))
            assert len(seen) == 1, seen


async def test_a_stranger_hears_nothing_and_finds_no_call_that_runs() -> None:
    async with daemon_under_test(mode=MediaMode.NONE, peers=(PBX,)) as daemon:
        daemon.app.otherwise = '<Pause length="30"/>'
        async with UserAgent(listen=[f"udp:{FRIEND}:0"]) as friend:
            dialing = asyncio.create_task(friend.dial(f"sip:1000@{HOST}:{daemon.port}", timeout_s=10))
            await daemon_has_a_call(daemon)
            (call,) = daemon.daemon.agent.calls
            with raw(daemon) as attacker:
                for method in ("OPTIONS", "REGISTER", "SUBSCRIBE", "INVITE", "CANCEL", "BYE"):
                    assert await attacker.ask(attacker.text(method)) is None
                    assert await attacker.ask(attacker.text(method, call_id=call.id)) is None
                    assert await attacker.ask(attacker.text(method, call_id=call.id, to_tag="guess")) is None
                assert await attacker.ask("INVITE nonsense\r\n\r\n") is None
                assert await attacker.ask(attacker.text("OPTIONS").replace("Max-Forwards: 70", "Max-Forwards: x")) is None
            assert daemon.daemon.agent.calls == {call}
            assert not call.is_ended
            dialing.cancel()
            await asyncio.gather(dialing, return_exceptions=True)


async def daemon_has_a_call(daemon: DaemonUnderTest) -> None:
    async with asyncio.timeout(5):
        while not daemon.daemon.agent.calls:
            await asyncio.sleep(0.01)


async def test_a_refused_request_of_a_peer_has_a_line_with_its_call_id_and_no_credentials() -> None:
    with capture_logs() as logs:
        async with with_password() as daemon:
            with raw(daemon) as guest:
                asked = await guest.ask(guest.text("SUBSCRIBE"))
                assert asked is not None
                line = f"Authorization: {credentials_for(asked, 'SUBSCRIBE', PASSWORD)}"
                answer = await guest.ask(guest.text("SUBSCRIBE", line, "Event: presence", call_id="told"))
                assert answer is not None
                assert answer.status == 489
    (told,) = [line for line in logs if line["event"] == "request_answered_with_error"]
    assert (told["status"], told["peer"], told["sip_call_id"]) == (489, "road", "told")
    assert "response=" not in str(logs)


async def test_a_document_leads_the_daemon_to_no_other_host() -> None:
    async with daemon_under_test(mode=MediaMode.NONE, peers=(PBX,), webhook=Webhook(allow_hosts=("127.0.0.1",))) as daemon:
        daemon.app.otherwise = "<Redirect>http://127.0.0.2:1/else</Redirect>"
        with capture_logs() as logs:
            async with UserAgent(listen=[f"udp:{FRIEND}:0"]) as friend:
                with pytest.raises(CallFailedError):
                    await friend.dial(f"sip:1000@{HOST}:{daemon.port}", timeout_s=10)
        (refused,) = [line for line in logs if line["event"] == "webhook_host_refused"]
        (failed,) = [line for line in logs if line["event"] == "request_failed"]
        assert (refused["host"], failed["code"]) == ("127.0.0.2:1", 11100)
