"""The examination against PBXs that a script plays, in virtual time: what a real one can't be made to do."""

import asyncio
import random
from collections.abc import Callable

import pytest

from cxml.daemon.build import credentials_of
from cxml.daemon.config import Config, Media, Peer, Sip, Tls, Voice
from cxml.doctor.plan import PlanError, find_peer, listen_of, make_plan, uri_of
from cxml.doctor.report import Report
from cxml.doctor.run import examine
from sipua.agent import UserAgent
from sipua.transport.memory import MemoryNetwork
from sipua.usage.call.call import Call
from sipua.usage.call.referred import IncomingTransfer
from tests.support.pbx import refer_after

pytestmark = pytest.mark.looptime

US, PBX = "10.0.0.1", "10.0.0.2"
Referred = Callable[[IncomingTransfer], None] | None


def config_of(**peer: object) -> Config:
    """A daemon at :data:`US` with one peer at :data:`PBX`."""
    settings = {"name": "pbx", "match": (PBX,), "uri": f"sip:{PBX}", **peer}
    return Config(
        sip=Sip(listen=(f"udp:{US}:5060",)),
        voice=Voice(url="http://app.test/"),
        media=Media(rtp_ports="40000-40100"),  # type: ignore[arg-type]  # pydantic reads the text
        peers=(Peer.model_validate(settings),),
    )


async def examined(
    handle: Callable[[Call], object] | None,
    config: Config | None = None,
    cancel_at_s: float = 0.0,
    product: str = "Asterisk PBX 22",
    is_down: bool = False,
    **options: object,
) -> Report:
    """Examine a PBX whose calls *handle* takes; None: nobody is there."""
    config = config or config_of()
    network = MemoryNetwork(random.Random(1))
    if is_down:
        network.refuse_udp(PBX)
    peer = config.peers[0]
    plan = make_plan(config, peer, credentials=credentials_of(peer), **{"has_audio": False, **options})
    steps: list[str] = []
    agent = UserAgent(listen=[f"udp:{PBX}:5060"], network=network.host(PBX), user_agent=product, rng=random.Random(3))
    agent.on_call = handle  # type: ignore[assignment]
    if handle is not None:
        await agent.start()
    try:
        running = asyncio.create_task(examine(config, "pbx", plan, lambda step, _result: steps.append(step), network.host(US)))
        if cancel_at_s:
            await asyncio.sleep(cancel_at_s)
            running.cancel()
        report, _ = await running
        await asyncio.sleep(40)
        assert not agent.calls, "the PBX is left with a call"
        return report
    finally:
        await agent.aclose()


def answering(on_refer: Referred) -> Callable[[Call], object]:
    """A PBX that answers and treats transfers as *on_refer* says; None: it declines them."""

    async def handle(call: Call) -> None:
        call.on_transfer_request(on_refer)
        await call.answer()
        await call.wait_ended()

    return handle


def codes(report: Report) -> list[str]:
    return [item.code for item in report.findings if item.is_fault]


async def test_an_honest_pbx_has_no_fault() -> None:
    report = await examined(answering(refer_after((0.1, 180), (3, 200))), extension="100", transfer_to="200")
    assert codes(report) == []
    assert report.product == "Asterisk PBX 22"
    assert ("transfer", f"sip:200@{PBX}: transferred") in report.steps


async def test_a_pbx_that_reports_success_at_once_is_suspected() -> None:
    report = await examined(answering(refer_after((0.02, 200))), extension="100", transfer_to="200")
    assert codes(report) == ["early_success"]
    assert report.status == 1


async def test_a_pbx_that_reports_an_unanswered_target_as_answered_is_convicted() -> None:
    report = await examined(answering(refer_after((1.5, 180), (1.6, 200))), extension="100", transfer_to="200", unanswered="300")
    assert codes(report) == ["false_success_ringing"]


def like_freeswitch(call: Call, status: int, after_s: float, *, hangs_up: bool) -> Referred:
    """The transferee as FreeSWITCH is one: stock it reports at once and hangs up, confirming it waits and stays."""

    def handle(transfer: IncomingTransfer) -> None:
        transfer.accept()
        loop = asyncio.get_running_loop()
        loop.call_later(after_s, transfer.finish, status)
        if hangs_up:
            loop.call_later(after_s + 0.02, lambda: call._role.hangup(480))

    return handle


@pytest.mark.parametrize(
    ("status", "after_s", "hangs_up", "expected"),
    [
        (200, 0.02, True, ["false_success"]),
        (403, 7.5, False, []),
    ],
)
async def test_a_freeswitch_is_convicted_when_stock_and_believed_when_it_confirms(
    status: int, after_s: float, hangs_up: bool, expected: list[str]
) -> None:
    async def handle(call: Call) -> None:
        call.on_transfer_request(like_freeswitch(call, status, after_s, hangs_up=hangs_up))
        await call.answer()
        await call.wait_ended()

    report = await examined(handle, product="FreeSWITCH-mod_sofia/1.11.1", extension="100", unanswered="300")
    assert codes(report) == expected
    assert all("confirm_blind_transfer=true" in item.remedy for item in report.findings if item.is_fault)


async def test_a_pbx_that_declines_transfers_forbids_them() -> None:
    assert codes(await examined(answering(None), extension="100", transfer_to="200")) == ["transfer_forbidden"]


async def test_a_pbx_that_is_not_there_is_told_within_the_limit_of_the_step() -> None:
    before = asyncio.get_running_loop().time()
    report = await examined(None, extension="100")
    assert codes(report) == ["no_answer"]
    assert [step for step, _ in report.steps] == ["way", "OPTIONS"]
    assert asyncio.get_running_loop().time() - before < 60


async def test_a_pbx_that_is_down_is_told_at_once_when_icmp_says_so() -> None:
    before = asyncio.get_running_loop().time()
    report = await examined(None, is_down=True, extension="100")
    assert codes(report) == ["no_way"]
    (item,) = report.findings
    assert item.evidence == (f"nobody takes requests at udp:{PBX}:5060: port, host or network is unreachable, as ICMP says",)
    assert report.steps[-1] == ("OPTIONS", item.evidence[0])
    assert report.status == 1
    assert asyncio.get_running_loop().time() - before < 42  # 40 of which are this file's own


async def test_an_extension_that_rings_for_ever_is_given_up() -> None:
    async def ringing(call: Call) -> None:
        await call.ring()
        await call.wait_ended()

    assert codes(await examined(ringing, extension="100", transfer_to="200")) == ["not_taken"]


@pytest.mark.parametrize("status", [404, 488, 403, 503])
async def test_a_refused_call_ends_the_examination(status: int) -> None:
    async def refusing(call: Call) -> None:
        await call.reject(status)

    expected = {404: "extension_unknown", 488: "media_refused", 403: "forbidden", 503: "call_failed"}
    report = await examined(refusing, extension="100", transfer_to="200", unanswered="300")
    assert codes(report) == [expected[status]]
    assert len([step for step, _ in report.steps if step == "call"]) == 1


@pytest.mark.parametrize("cancel_at_s", [0.01, 0.5, 3.2, 6.0, 9.0])
async def test_an_interrupted_examination_hangs_up_and_accuses_nobody(cancel_at_s: float) -> None:
    answers = answering(refer_after((0.1, 180), (60, 486)))
    report = await examined(answers, cancel_at_s=cancel_at_s, extension="100", transfer_to="200", unanswered="300")
    assert report.fault.startswith("interrupted")
    assert report.status == 2
    assert codes(report) == []


async def test_the_limit_of_everything_ends_it() -> None:
    report = await examined(answering(refer_after((60, 486))), extension="100", transfer_to="200", total_s=5.0)
    assert report.fault == "stopped after 5 s"
    assert report.status == 2


async def test_a_foreign_host_and_a_telephone_number_are_tried_when_asked() -> None:
    report = await examined(answering(refer_after((0.1, 180), (3, 200))), extension="100", transfer_to="200", is_thorough=True)
    assert [item.code for item in report.findings if "host" in item.code] == ["host_ignored"]
    told = dict(report.steps)
    assert told["transfer, tel"].startswith("tel:200")
    assert told["transfer, host"].startswith("sip:200@doctor.invalid")


async def test_a_name_that_nobody_knows_is_told() -> None:
    report = await examined(None, config_of(uri="sip:pbx.invalid"))
    assert codes(report) == ["name_unknown"]
    assert [step for step, _ in report.steps] == ["name"]


async def test_a_password_is_never_told() -> None:
    config = config_of(username="cxmld", password="open-sesame")
    report = await examined(answering(None), config, extension="100", transfer_to="200")
    assert "open-sesame" not in repr(report)
    assert "open-sesame" not in repr(make_plan(config, config.peers[0], credentials=credentials_of(config.peers[0])))


def test_a_peer_that_is_not_there_is_told_with_those_that_are() -> None:
    with pytest.raises(PlanError, match="the configuration has pbx"):
        find_peer(config_of(), "x")
    with pytest.raises(PlanError, match="no \\[\\[peers\\]\\]"):
        find_peer(Config(voice=Voice(url="http://app.test/")), "x")


@pytest.mark.parametrize(("match", "uri"), [(("10.0.0.5",), "sip:10.0.0.5"), (("2001:db8::5",), "sip:[2001:db8::5]")])
def test_the_only_address_of_a_peer_serves_without_uri(match: tuple[str, ...], uri: str) -> None:
    assert uri_of(Peer(name="pbx", match=match)) == uri


@pytest.mark.parametrize("match", [("10.0.0.0/8",), ("10.0.0.1", "10.0.0.2")])
def test_a_peer_without_a_place_can_not_be_examined(match: tuple[str, ...]) -> None:
    with pytest.raises(PlanError, match="has no uri"):
        uri_of(Peer(name="pbx", match=match))


def test_the_ports_are_free_ones_at_the_daemons_addresses() -> None:
    config = Config(sip=Sip(listen=("udp:10.0.0.1:5060", "tcp:[::1]:5060")), voice=Voice(url="http://app.test/"))
    assert listen_of(config, "sip:10.0.0.2") == ("udp:10.0.0.1:0", "tcp:[::1]:0")
    only = Config(sip=Sip(listen=("udp:10.0.0.1:5060",)), voice=Voice(url="http://app.test/"))
    assert listen_of(only, "sip:10.0.0.2;transport=tcp") == ("udp:10.0.0.1:0", "tcp:10.0.0.1:0")
    assert listen_of(only, "sip:10.0.0.2;transport=tls") == ("udp:10.0.0.1:0",), "no certificate, no listener"
    secure = only.model_copy(update={"tls": Tls(certificate="/c.pem", private_key="/k.pem")})
    assert listen_of(secure, "sip:10.0.0.2;transport=tls") == listen_of(secure, "sips:10.0.0.2") == ("udp:10.0.0.1:0", "tls:10.0.0.1:0")
    assert listen_of(only, "sip:10.0.0.2;transport=sctp") == ("udp:10.0.0.1:0",)


def test_an_extension_becomes_a_uri_of_the_pbx() -> None:
    plan = make_plan(config_of(uri=f"sip:{PBX}:5070;transport=tcp"), config_of().peers[0], credentials=())
    assert plan.target("100") == f"sip:100@{PBX}"
    assert plan.target("sip:a@b.example") == "sip:a@b.example"
    assert plan.elsewhere("sip:a@b.example") == "sip:a@doctor.invalid"
