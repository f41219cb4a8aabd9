"""The next server after a failure (RFC 3263 §4.3): walks docs/spec/server-location.md, then on the wire of a memory network."""

import asyncio
import random
from typing import Self

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipua.agent import UserAgent
from sipua.auth import Credential
from sipua.errors import CallFailedError
from sipua.message import Request, Response, make_response
from sipua.transaction.failover import DEAD_S, MAX_DEAD, MAX_DEAD_S, DeadServers, Leave, why_leave
from sipua.transport import Endpoint, MemoryNetwork, TransportLayer
from sipua.transport.base import Channel
from sipua.usage.registration import Registration
from tests.support.tables import SPEC, read_table

AGENT = "10.0.0.1"
FIRST, SECOND, THIRD = "10.0.0.11", "10.0.0.12", "10.0.0.13"


@pytest.mark.parametrize("row", read_table(SPEC / "server-location.md", "The next server"), ids=lambda row: " ".join(row.values()))
def test_the_table(row: dict[str, str]) -> None:
    end: Leave | int = (
        int(row["End of the transaction"]) if row["End of the transaction"].isdigit() else Leave(row["End of the transaction"])
    )
    provisional = 0 if row["1xx"] == "–" else int(row["1xx"])
    assert (why_leave(row["Method"], provisional, end) is not None) == (row["Next server"] == "yes")


A, B, C = (Endpoint("UDP", host, 5060) for host in (FIRST, SECOND, THIRD))


def test_a_server_that_failed_comes_last_for_a_while() -> None:
    dead = DeadServers()
    dead.mark(A, 100.0)
    assert dead.order([A, B, C], 101.0) == [B, C, A]
    assert dead.order([A, B, C], 100.0 + DEAD_S) == [A, B, C]


def test_of_those_that_failed_the_one_that_comes_back_first_is_first() -> None:
    dead = DeadServers()
    dead.mark(A, 100.0, 90)
    dead.mark(B, 100.0)
    assert dead.order([A, B], 101.0) == [B, A]
    dead.revive(A)
    assert dead.order([A, B], 101.0) == [A, B]


def test_retry_after_is_kept_within_a_limit() -> None:
    dead = DeadServers()
    dead.mark(A, 0.0, 4e9)
    assert dead.order([A, B], MAX_DEAD_S - 1) == [B, A]
    assert dead.order([A, B], MAX_DEAD_S) == [A, B]
    dead.mark(A, 0.0, 0)
    assert dead.order([A, B], 0.1) == [A, B]


@given(st.lists(st.tuples(st.integers(0, 3000), st.floats(0, 1000), st.none() | st.floats(0, 1e10)), max_size=60))
def test_servers_that_failed_are_neither_lost_nor_kept_without_bound(marks: list[tuple[int, float, float | None]]) -> None:
    dead = DeadServers()
    for port, now, retry_after_s in marks:
        dead.mark(Endpoint("UDP", FIRST, port), now, retry_after_s)
    servers = [Endpoint("UDP", FIRST, port) for port in range(50)]
    assert sorted(dead.order(servers, 500.0), key=lambda e: e.port) == servers
    assert len(dead) <= len(marks)


def test_memory_of_failures_is_bounded() -> None:
    dead = DeadServers()
    for port in range(MAX_DEAD + 100):
        dead.mark(Endpoint("UDP", FIRST, port), 0.0)
    assert len(dead) == MAX_DEAD


# --- on the wire


class Server:
    """Answers each request with the next of *statuses*, the last one again and again; 0 is silence."""

    def __init__(self, network: MemoryNetwork, address: str, *statuses: int, retry_after: str = "", provisional: int = 0) -> None:
        self.layer = TransportLayer(network.host(address))
        self.layer.user = self
        self.address = address
        self.statuses = list(statuses)
        self.retry_after = retry_after
        self.provisional = provisional
        self.requests: list[Request] = []

    def count(self, method: str) -> int:
        """How many different transactions of *method* came."""
        return len({request.via.branch for request in self.requests if request.method == method})

    def on_request(self, request: Request, channel: Channel) -> None:
        is_new = all(request.via.branch != known.via.branch or request.method != known.method for known in self.requests)
        self.requests.append(request)
        if request.method == "ACK" or not is_new:
            return
        status = 200 if request.method in ("CANCEL", "BYE") else self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        if self.provisional and request.method == "INVITE":
            tag = "p" if self.provisional > 100 else ""
            self.layer.send_response(make_response(request, self.provisional, to_tag=tag), channel)
        if status:
            self.layer.send_response(self._final(request, status), channel)

    def _final(self, request: Request, status: int) -> Response:
        response = make_response(request, status, to_tag=self.address.replace(".", "-"))
        if status == 401:
            response.headers.add("WWW-Authenticate", f'Digest realm="r", nonce="{self.address}", qop="auth"')
        if status == 200 and request.method == "REGISTER" and request.contact is not None:
            response.headers.add("Contact", f"{request.contact.with_tag('')};expires={request.expires}")
        if status == 503 and self.retry_after:
            response.headers.add("Retry-After", self.retry_after)
        return response

    def on_response(self, response: Response, channel: Channel) -> None:
        raise AssertionError("this server sends no requests")


class Site:
    """An agent, and servers under the name ``pbx``, in this order."""

    def __init__(self, *servers: tuple[int, ...], retry_after: str = "", provisional: int = 0) -> None:
        self.network = MemoryNetwork(random.Random(1))
        self.servers = []
        for address, statuses in zip((FIRST, SECOND, THIRD), servers, strict=False):
            self.network.host(address, "pbx")
            self.servers.append(Server(self.network, address, *statuses, retry_after=retry_after, provisional=provisional))
        self.agent = UserAgent(listen=[f"udp:{AGENT}:5060"], network=self.network.host(AGENT), credentials=[Credential("a", "b")])

    async def __aenter__(self) -> Self:
        for server in self.servers:
            for transport in ("UDP", "TCP"):
                await server.layer.listen(Endpoint(transport, server.address, 5060))
        await self.agent.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.agent.aclose(within_s=0.1)
        for server in self.servers:
            await server.layer.aclose()

    def counts(self, method: str) -> list[int]:
        return [server.count(method) for server in self.servers]


@pytest.mark.looptime
async def test_after_silence_the_same_request_goes_to_the_next_server_with_a_new_branch(caplog: pytest.LogCaptureFixture) -> None:
    async with Site((0,), (200,)) as site:
        loop = asyncio.get_running_loop()
        start = loop.time()
        assert (await site.agent.options("sip:pbx")).status == 200
        assert loop.time() - start == pytest.approx(32, abs=0.5)
        lost, answered = site.servers[0].requests[0], site.servers[1].requests[0]
        assert lost.via.branch != answered.via.branch
        for name in ("CSeq", "Call-ID", "From", "To", "Max-Forwards"):
            assert lost.headers.get(name) == answered.headers.get(name)
        assert len(answered.headers.values("Via")) == 1
        assert site.agent.exchanger.failovers == {"timeout": 1}
        assert "check that server" in caplog.text


@pytest.mark.looptime
async def test_after_a_503_the_next_server_is_asked_and_the_first_one_rests_for_its_retry_after() -> None:
    async with Site((503,), (200,), retry_after="120") as site:
        assert (await site.agent.options("sip:pbx")).status == 200
        assert site.counts("OPTIONS") == [1, 1]
        await asyncio.sleep(100)
        assert (await site.agent.options("sip:pbx")).status == 200
        assert site.counts("OPTIONS") == [1, 2]
        await asyncio.sleep(30)
        assert (await site.agent.options("sip:pbx")).status == 200
        assert site.counts("OPTIONS") == [2, 3]


@pytest.mark.looptime
async def test_a_503_without_another_server_is_the_answer() -> None:
    async with Site((503,), retry_after="7") as site:
        response = await site.agent.options("sip:pbx")
        assert (response.status, response.retry_after) == (503, 7)
    async with Site((503,), (0,), retry_after="7") as site:
        response = await site.agent.options("sip:pbx")
        assert (response.status, response.retry_after) == (503, 7)


@pytest.mark.looptime
async def test_a_refused_connection_leads_to_the_next_server_at_once() -> None:
    async with Site((200,), (200,)) as site:
        site.network.refuse_tcp(FIRST)
        assert (await site.agent.options("sip:pbx;transport=tcp")).status == 200
        assert site.counts("OPTIONS") == [0, 1]


@pytest.mark.looptime
async def test_other_answers_are_answers() -> None:
    async with Site((500,), (200,)) as site:
        assert (await site.agent.options("sip:pbx")).status == 500
        assert site.counts("OPTIONS") == [1, 0]


@pytest.mark.looptime
async def test_a_registration_ends_at_the_server_that_lives_and_its_challenge_is_answered_there() -> None:
    async with Site((0,), (401, 200)) as site:
        registration = await site.agent.register("sip:pbx", user="a")
        await registration.wait_registered(40)
        assert site.counts("REGISTER") == [1, 2]
        first, second = site.servers[1].requests
        assert second.headers.get("Authorization") is not None
        assert second.cseq.number == first.cseq.number + 1


@pytest.mark.looptime
async def test_a_registration_by_connections_follows_the_server_that_it_moved_to() -> None:
    async with Site((503, 200), (200,)) as site:
        registration: Registration = await site.agent.register("sip:pbx;transport=tcp", user="a")
        await registration.wait_registered(5)
        assert site.counts("REGISTER") == [1, 1]
        site.network.reset_streams(SECOND)
        await asyncio.sleep(2)
        assert site.counts("REGISTER") == [1, 2], "the binding was renewed where it is"


@pytest.mark.looptime
async def test_a_call_goes_to_the_next_server_after_silence_and_after_a_503() -> None:
    async with Site((0,), (503,), (486,)) as site:
        with pytest.raises(CallFailedError, match="486"):
            await site.agent.dial("sip:pbx", timeout_s=100)
        assert site.counts("INVITE") == [1, 1, 1]
        silent, busy = site.servers[0].requests[0], site.servers[2].requests[0]
        assert silent.cseq == busy.cseq
        assert silent.from_.tag == busy.from_.tag
        await asyncio.sleep(1)
        assert site.servers[1].count("ACK") == 1
        assert site.servers[2].count("ACK") == 1


@pytest.mark.looptime
@pytest.mark.parametrize(("provisional", "counts"), [(100, [1, 1]), (180, [1, 0])])
async def test_a_503_after_ringing_ends_the_call(provisional: int, counts: list[int]) -> None:
    async with Site((503,), (486,), provisional=provisional) as site:
        with pytest.raises(CallFailedError):
            await site.agent.dial("sip:pbx")
        assert site.counts("INVITE") == counts


@pytest.mark.looptime
async def test_a_call_that_was_given_up_tries_no_other_server_and_cancels_where_it_was() -> None:
    async with Site((0,), (486,), provisional=100) as site:
        call = await site.agent.call("sip:pbx")
        await asyncio.sleep(1)
        await call.hangup()
        await call.wait_ended()
        assert site.counts("INVITE") == [1, 0]
        assert site.counts("CANCEL") == [1, 0]


@pytest.mark.looptime
async def test_the_next_call_begins_with_the_server_that_lives() -> None:
    async with Site((0,), (486,)) as site:
        for _ in range(2):
            with pytest.raises(CallFailedError, match="486"):
                await site.agent.dial("sip:pbx", timeout_s=100)
        assert site.counts("INVITE") == [1, 2]


@pytest.mark.looptime
async def test_closing_the_agent_tries_no_further_server() -> None:
    async with Site((0,), (200,)) as site:
        waiting = asyncio.create_task(site.agent.options("sip:pbx"))
        await asyncio.sleep(1)
        await site.agent.aclose(within_s=0.1)
        assert (await waiting).status == 503
        assert site.counts("OPTIONS") == [1, 0]
