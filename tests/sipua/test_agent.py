"""The user agent: its life, its iterator and handler, what it answers outside calls, and what it leaves behind."""

import asyncio

import pytest

from sipua.agent import UserAgent
from sipua.errors import CallEndedError, LimitError, ParseError, TransportError
from sipua.message import Request, make_cancel
from sipua.rtp.ports import PortAllocator
from sipua.transaction.admission import Refusal
from sipua.transport.base import Channel, Endpoint
from sipua.transport.memory import MemoryNetwork
from sipua.usage.call.call import Call
from sipua.usage.call.core import CallSettings
from sipua.usage.call.machine.effects import EndedBy
from sipua.usage.call.media import MediaMode, MediaSettings
from sipua.usage.call.waiting import MAX_WAITING_CALLS
from tests.support.raw_peer import AGENT, OFFER, PEER, RawDialog, RawPeer, header, raw_stage, tag_of

pytestmark = pytest.mark.looptime


async def test_two_agents_call_each_other_by_the_iterator() -> None:
    network = MemoryNetwork()
    async with (
        UserAgent(listen=["udp:10.0.0.1:5060"], network=network.host("10.0.0.1")) as alice,
        UserAgent(listen=["udp:10.0.0.2:5060"], network=network.host("10.0.0.2")) as bob,
        asyncio.TaskGroup() as group,
    ):

        async def answer_one() -> None:
            async for call in bob:
                await call.ring()
                await call.answer()
                await call.wait_ended()
                break

        group.create_task(answer_one())
        await asyncio.sleep(0)
        call = await alice.dial("sip:bob@10.0.0.2")
        await call.hangup()


async def test_iteration_ends_when_the_agent_closes() -> None:
    async with raw_stage(is_quiet=False) as stage:
        stage.agent.on_call = None

        async def iterate() -> list[Call]:
            return [call async for call in stage.agent]

        iterations = [stage.soon(iterate()) for _ in range(2)]
        await asyncio.sleep(0)
        stage.peer.send(stage.peer.new("INVITE", body=OFFER))
        await asyncio.sleep(0.1)
        await stage.agent.aclose()
        async with asyncio.timeout(1):
            calls = await asyncio.gather(*iterations)
        assert sum(len(got) for got in calls) == 1


async def test_waiting_calls_are_bounded_and_those_that_are_over_make_room() -> None:
    async with raw_stage() as stage:
        stage.agent.on_call = None
        calls = aiter(stage.agent)
        invites = [stage.peer.new("INVITE", call_id=f"w{number}", body=OFFER) for number in range(MAX_WAITING_CALLS + 1)]
        for invite in invites:
            stage.peer.send(invite)
        refusal = await stage.peer.response("503 INVITE")
        assert header(refusal, "Retry-After")
        stage.peer.send(make_cancel(invites[0]))
        await stage.peer.response("487 INVITE")
        stage.peer.send(stage.peer.new("INVITE", call_id="more", body=OFFER))
        await asyncio.sleep(0.1)
        assert len(stage.agent.calls) == MAX_WAITING_CALLS
        call = await anext(calls)
        assert call.id == "w1"
        for call in tuple(stage.agent.calls):
            await call.reject()


async def test_invite_and_options_without_anybody_to_take_calls() -> None:
    async with raw_stage() as stage:
        stage.agent.on_call = None
        stage.peer.send(stage.peer.new("INVITE", body=OFFER))
        await stage.peer.response("480 INVITE")
        await stage.still_serves()


async def test_options_say_what_is_served() -> None:
    async with raw_stage() as stage:
        stage.peer.send(stage.peer.new("OPTIONS"))
        answer = await stage.peer.response("200 OPTIONS")
        assert tag_of(answer)
        assert "REFER" in header(answer, "Allow")
        assert header(answer, "Allow-Events") == "refer"
        assert "application/sdp" in header(answer, "Accept")


@pytest.mark.parametrize("status", [480, 486, 503])
async def test_the_door_decides_about_every_method(status: int) -> None:
    async with raw_stage() as stage:
        asked: list[tuple[str, Endpoint]] = []

        def admit(request: Request, channel: Channel) -> Refusal:
            asked.append((request.method, channel.remote))
            return Refusal(status)

        stage.agent.admit = admit
        methods = ("INVITE", "OPTIONS", "REGISTER", "SUBSCRIBE")
        for method in methods:
            stage.peer.send(stage.peer.new(method, call_id=method, body=OFFER if method == "INVITE" else b""))
            assert tag_of(await stage.peer.response(f"{status} {method}"))
        assert asked == [(method, Endpoint("UDP", PEER, 5060)) for method in methods]


@pytest.mark.parametrize(("method", "headers", "status"), [("NOTIFY", (("Event", "refer"),), 481), ("NOTIFY", (), 489), ("REFER", (), 603)])
async def test_request_that_opens_nothing_is_refused(method: str, headers: tuple[tuple[str, str], ...], status: int) -> None:
    async with raw_stage() as stage:
        stage.peer.send(stage.peer.new(method, *headers))
        assert tag_of(await stage.peer.response(f"{status} {method}"))


async def test_options_of_ours_get_an_answer_or_a_made_up_one() -> None:
    async with raw_stage() as stage:
        asking = stage.soon(stage.agent.options(f"sip:{PEER}"))
        request = await stage.peer.request("OPTIONS")
        stage.peer.reply(request, 200)
        assert (await asking).status == 200
        assert (await stage.agent.options(f"sip:{PEER}")).status == 408
        assert (await stage.agent.options("sip:nowhere.invalid")).status == 503
        with pytest.raises(ParseError):
            await stage.agent.options("not a uri")


async def test_closing_hangs_up_every_call_and_waits_for_the_answers() -> None:
    async with raw_stage(is_quiet=False) as stage:
        call, _ = await stage.established()
        unanswered, _ = await stage.incoming(call_id="c2")
        outgoing = await stage.agent.call(f"sip:bob@{PEER}")
        invite = await stage.peer.request("INVITE")
        stage.peer.reply(invite, 180, ("Contact", stage.peer.contact))
        await asyncio.sleep(0.1)
        stage.peer.answers = {"BYE": 200, "CANCEL": 200}
        closing = stage.soon(stage.agent.aclose())
        await stage.peer.response("480 INVITE")
        await asyncio.sleep(0.1)
        assert stage.peer.times("BYE")
        assert not closing.done()  # the cancelled INVITE has no final response yet
        stage.peer.reply(invite, 487)
        await closing
        assert stage.peer.all("ACK")
        for one in (call, unanswered, outgoing):
            assert one.is_ended
        assert outgoing.ending is not None
        assert outgoing.ending.status == 487


async def test_closing_does_not_wait_for_a_silent_peer() -> None:
    async with raw_stage(is_quiet=False) as stage:
        await stage.established()
        await stage.incoming(call_id="c2")
        outgoing = await stage.agent.call(f"sip:bob@{PEER}")
        call, _ = await stage.incoming(call_id="c3")
        answering = stage.soon(call.answer())
        await stage.peer.response("200 INVITE")
        await asyncio.sleep(0.1)
        started = asyncio.get_running_loop().time()
        await stage.agent.aclose(within_s=2.0)
        assert asyncio.get_running_loop().time() - started == pytest.approx(2.0, abs=0.1)
        assert stage.agent.calls == set()
        assert (await outgoing.wait_ended()).by in (EndedBy.LOCAL, EndedBy.PEER)
        with pytest.raises(CallEndedError):
            await answering
        await stage.agent.aclose()


async def test_calls_are_refused_while_the_agent_closes() -> None:
    async with raw_stage(is_quiet=False) as stage:
        await stage.established()
        closing = stage.soon(stage.agent.aclose())
        await stage.peer.request("BYE")
        stage.peer.send(stage.peer.new("INVITE", call_id="late", body=OFFER))
        await stage.peer.response("503 INVITE", 0.5)
        await closing


async def test_agent_that_never_started_closes_and_one_that_can_not_listen_says_so() -> None:
    network = MemoryNetwork()
    agent = UserAgent(listen=["udp:10.0.0.1:5060"], network=network.host("10.0.0.1"))
    with pytest.raises(TransportError):
        _ = agent.identity
    await agent.aclose()
    agent = UserAgent(listen=["udp:10.0.0.1:5060", "udp:10.9.9.9:5060"], network=network.host("10.0.0.1"))
    with pytest.raises(TransportError):
        await agent.start()
    await agent.aclose()
    async with UserAgent(listen=["udp:10.0.0.1:5060"], network=network.host("10.0.0.1")) as agent:
        assert agent.identity == "<sip:sipua@10.0.0.1:5060>"


async def test_call_without_a_free_media_port_is_refused_with_503() -> None:
    ports = PortAllocator(20000, 20001)
    settings = CallSettings(media=MediaSettings(mode=MediaMode.RECEIVE, ports=ports))
    async with raw_stage(settings=settings, faults=True) as stage:
        ports.take(0.0)
        call, _ = await stage.incoming()
        with pytest.raises(Exception, match="media port"):
            await call.answer()
        refusal = await stage.peer.response("503 INVITE")
        assert refusal.headers.get("Retry-After") == "5"
        with pytest.raises(LimitError):
            await stage.agent.call(f"sip:bob@{PEER}")


@pytest.mark.parametrize(
    ("advertised", "contact", "described"),
    [
        ("203.0.113.5", "203.0.113.5", b"c=IN IP4 203.0.113.5"),
        ("sip.example", "sip.example", b"c=IN IP4 203.0.113.9"),
        ("nowhere.example", "nowhere.example", b"c=IN IP4 " + AGENT.encode()),
    ],
)
async def test_advertised_host_stands_in_contact_and_its_address_in_descriptions(advertised: str, contact: str, described: bytes) -> None:
    network = MemoryNetwork()
    network.host("203.0.113.9", "sip.example")
    agent = UserAgent(listen=[f"udp:{AGENT}:5060"], network=network.host(AGENT), advertised_host=advertised)
    async with agent:
        peer = RawPeer(network)
        await peer.open()
        peer.answers = {"BYE": 200}
        agent.on_call = Call.answer
        invite = peer.new("INVITE", body=OFFER)
        peer.send(invite)
        ok = await peer.response("200 INVITE")
        assert header(ok, "Contact") == f"<sip:100@{contact}:5060>"
        assert described in ok.body
        dialog = RawDialog.as_caller(peer, invite, ok)
        dialog.ack(1)
        await asyncio.sleep(0.1)
        assert peer.times("BYE")
        await peer.aclose()


async def test_end_handler_of_a_call_that_is_over_runs_at_once() -> None:
    async with raw_stage() as stage:
        call, dialog = await stage.established()
        await dialog.bye()
        ends: list[int] = []
        call.on_end(lambda: ends.append(1))
        assert ends == [1]
        assert call.dialog_as_plain()["call_id"] == call.id


async def test_handler_of_the_end_that_raises_does_not_keep_the_call(caplog: pytest.LogCaptureFixture) -> None:
    async with raw_stage(faults=True) as stage:
        call, dialog = await stage.established()

        def broken() -> None:
            raise RuntimeError("oops")

        call.on_end(broken)
        await dialog.bye()
        await call.wait_ended()
        assert stage.agent.calls == set()
        assert sum(record.levelname == "ERROR" for record in caplog.records) == 1


async def test_agent_can_call_itself() -> None:
    async with raw_stage() as stage:

        async def answer(call: Call) -> None:
            await call.answer()
            await call.wait_ended()

        stage.agent.on_call = answer
        call = await stage.agent.dial(f"sip:me@{AGENT}")
        await asyncio.sleep(1)
        assert len(stage.agent.dialogs) == 2
        await call.refresh()
        await call.hangup()
        await asyncio.sleep(1)
        assert stage.agent.calls == set()


async def test_an_agent_on_a_wildcard_address_describes_and_names_itself_by_real_ones() -> None:
    network = MemoryNetwork()
    agent = UserAgent(listen=["udp:0.0.0.0:5060"], network=network.host(AGENT))
    async with agent:
        assert agent.identity == "<sip:sipua@sipua.invalid>"
        peer = RawPeer(network)
        await peer.open()
        call = await agent.call(f"sip:bob@{PEER}")
        invite = await peer.request("INVITE")
        assert b"c=IN IP4 " + AGENT.encode() in invite.body
        assert AGENT in header(invite, "Contact")
        await call.hangup()
