"""Link-local peers: no zone in a message, the right one on the socket (RFC 4007)."""

import asyncio
import random

import pytest

from sipua.message import Via
from sipua.transport import Endpoint, MemoryNetwork, TransportLayer
from sipua.transport.route import parse_endpoint, stamp_via
from sipua.transport.zones import MAX_ZONES, Zones, without_zone
from tests.support.transport import Recorder, options

OURS, THEIRS = "fe80::1%lan0", "fe80::2%lan0"


def test_a_zone_is_shown_to_people_and_to_no_peer() -> None:
    endpoint = Endpoint("UDP", OURS, 5060)
    assert endpoint.hostport == "[fe80::1]:5060"
    assert str(endpoint) == "udp:[fe80::1%lan0]:5060"
    assert parse_endpoint("udp:[fe80::1%lan0]:5060") == endpoint
    stamped = stamp_via(Via.parse("SIP/2.0/UDP [fe80::2];branch=z9hG4bK1;rport"), THEIRS, 5062)
    assert stamped.received == "fe80::2"


def test_zones_are_remembered_for_some_peers() -> None:
    zones = Zones()
    zones.heard(THEIRS)
    zones.heard("2001:db8::1")
    assert zones.complete("fe80::2") == THEIRS
    assert zones.complete("fe80::3") == "fe80::3"
    assert zones.complete("2001:db8::1") == "2001:db8::1"
    zones.heard("fe80::2%lan1")
    assert zones.complete("fe80::2") == "fe80::2%lan1"
    for number in range(MAX_ZONES + 10):
        zones.heard(f"fe80::1:{number:x}%lan0")
    assert len(zones) == MAX_ZONES
    assert without_zone("10.0.0.1") == "10.0.0.1"


@pytest.mark.looptime
async def test_a_link_local_peer_is_answered_and_called_back_in_its_zone() -> None:
    network = MemoryNetwork(random.Random(1), record=True)
    ours, theirs = Recorder(TransportLayer(network.host(OURS)), answer=200), Recorder(TransportLayer(network.host(THEIRS)))
    for recorder, host in ((ours, OURS), (theirs, THEIRS)):
        await recorder.layer.listen(Endpoint("UDP", host, 5060))
    channel = await theirs.layer.channel_to(Endpoint("UDP", OURS, 5060))
    via = theirs.layer.via_for(channel, "z9hG4bK1")
    assert "%" not in via
    theirs.layer.send_request(options(via), channel)
    await theirs.wait(lambda r: bool(r.responses))
    (request, _), (response, _) = ours.requests[0], theirs.responses[0]
    assert request.via.received == response.via.received == "fe80::2"
    back = await ours.layer.channel_to(Endpoint("UDP", "fe80::2", 5060))  # what a Contact says
    assert back.remote.host == THEIRS
    ours.layer.send_request(options(ours.layer.via_for(back, "z9hG4bK2")), back)
    await theirs.wait(lambda r: bool(r.requests))
    await asyncio.gather(ours.layer.aclose(), theirs.layer.aclose())
