"""Reads the small ladders of ``docs/spec/doctor.md`` into messages.

Items are separated by `` ; ``: an optional time ``@SECONDS``, a direction (``>`` ours, ``<`` the PBX's), and ``METHOD``, ``STATUS METHOD``
or ``NOTIFY STATUS STATE``; header fields follow in brackets, ``sdp:`` among them gives protocol and address of an answer.
"""

import re

from cxml.doctor.seen import Seen
from sipua.message import Message, Request, Response
from sipua.message.headers import Headers

_ITEM = re.compile(r"(?:@(?P<at>[\d.]+) )?(?P<way>[<>]) (?P<what>[^\[]+?)\s*(?P<fields>(?:\[[^\]]*\])*)$")


def read_ladder(text: str) -> tuple[Seen, ...]:
    """Return the messages of *text*; each is 0.1 s after the one before unless it has a time."""
    found: list[Seen] = []
    at_s = 0.0
    for item in filter(None, (part.strip() for part in text.split(" ; "))):
        match = _ITEM.match(item)
        if match is None:
            raise ValueError(f"not a step of a ladder: {item!r}")
        at_s = float(match["at"]) if match["at"] else at_s + 0.1
        fields = re.findall(r"\[([^:\]]+):\s*([^\]]*)\]", match["fields"])
        found.append(Seen(at_s, match["way"] == ">", _message(match["what"].split(), fields)))
    return tuple(found)


def _message(words: list[str], fields: list[tuple[str, str]]) -> Message:
    headers = Headers()
    message: Message
    if words[0].isdigit():
        headers.add("CSeq", f"1 {words[1]}")
        message = Response(int(words[0]), headers=headers)
    else:
        headers.add("CSeq", f"1 {words[0]}")
        message = Request(words[0], "sip:x@192.0.2.1", headers)
    if words[0] == "NOTIFY":
        headers.add("Event", "refer;id=1")
        headers.add("Subscription-State", words[2])
        message.set_body(f"SIP/2.0 {words[1]} X\r\n".encode(), "message/sipfrag;version=2.0")
    for name, value in fields:
        if name == "sdp":
            message.set_body(_sdp(*value.split()), "application/sdp")
        else:
            headers.set(name, value)
    return message


def _sdp(protocol: str, address: str) -> bytes:
    return (
        f"v=0\r\no=- 1 1 IN IP4 {address}\r\ns=-\r\nc=IN IP4 {address}\r\nt=0 0\r\nm=audio 4000 {protocol} 0\r\na=rtpmap:0 PCMU/8000\r\n"
    ).encode()
