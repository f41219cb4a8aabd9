"""A small client of Asterisk's manager interface (AMI): what the PBX itself says about its channels.

One connection, one reader task. An answer goes to the action that waits for its ActionID, everything else is an event.
"""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

_TIMEOUT_S = 10.0
_POLL_S = 0.05


class AmiError(Exception):
    """The PBX refused an action, or the connection is gone."""


@dataclass(frozen=True, slots=True)
class Message:
    """One AMI message: header names in lower case; a header that occurs again (``Output``) has its values joined by newlines."""

    headers: dict[str, str] = field(default_factory=dict)

    def __getitem__(self, name: str) -> str:
        return self.headers.get(name.lower(), "")

    @property
    def event(self) -> str:
        """Return the event's name, empty for a response."""
        return self["Event"]


@dataclass(frozen=True, slots=True)
class Channel:
    """One channel as ``CoreShowChannels`` reports it; ``exten`` and ``context`` say where in the dialplan it is."""

    name: str
    state: str
    context: str
    exten: str
    application: str
    data: str
    bridge: str
    linked: str

    @property
    def is_up(self) -> bool:
        """Tell whether the channel is answered."""
        return self.state == "Up"


def parse_message(text: str) -> Message:
    """Read the header lines of one message; lines without a colon are ignored."""
    headers: dict[str, str] = {}
    for line in text.splitlines():
        name, colon, value = line.partition(":")
        if not colon:
            continue
        key, value = name.strip().lower(), value.removeprefix(" ")
        headers[key] = f"{headers[key]}\n{value}" if key in headers else value
    return Message(headers)


class Ami:
    """An open and logged-in connection; make one by :func:`connect`."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.events: asyncio.Queue[Message] = asyncio.Queue()
        self._reader = reader
        self._writer = writer
        self._ids = itertools.count(1)
        self._waiting: dict[str, asyncio.Queue[Message]] = {}

    async def read_forever(self) -> None:
        """Distribute what arrives until the PBX closes the connection; then everything that waits gets an error."""
        try:
            await self._reader.readline()  # the greeting, "Asterisk Call Manager/..."
            while True:
                raw = await self._reader.readuntil(b"\r\n\r\n")
                message = parse_message(raw.decode("utf-8", "replace"))
                waiting = self._waiting.get(message["ActionID"])
                (self.events if waiting is None else waiting).put_nowait(message)
        except (asyncio.IncompleteReadError, ConnectionError):
            gone = Message({"response": "Error", "message": "connection closed"})
            for queue in self._waiting.values():
                queue.put_nowait(gone)

    async def action(self, name: str, *, until: str | None = None, **headers: str) -> list[Message]:
        """Send an action and return its response, followed by the events of its list up to the event called *until*.

        Raise AmiError when the PBX answers ``Response: Error`` or not within ten seconds.
        """
        action_id = f"cxmld-{next(self._ids)}"
        queue = self._waiting[action_id] = asyncio.Queue()
        lines = [f"Action: {name}", f"ActionID: {action_id}", *(f"{key}: {value}" for key, value in headers.items())]
        try:
            self._writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
            async with asyncio.timeout(_TIMEOUT_S):
                messages = [await queue.get()]
                if messages[0]["Response"] == "Error":
                    raise AmiError(f"{name}: {messages[0]['Message']}")
                while until is not None and messages[-1].event != until:
                    messages.append(await queue.get())
                    if messages[-1]["Response"] == "Error":
                        raise AmiError(f"{name}: {messages[-1]['Message']}")
        except TimeoutError as error:
            raise AmiError(f"{name}: no answer within {_TIMEOUT_S:g} s") from error
        finally:
            del self._waiting[action_id]
        return messages

    async def command(self, line: str) -> str:
        """Run one command of the PBX's console and return what it prints."""
        return (await self.action("Command", Command=line))[0]["Output"]

    async def originate(self, caller: str, far_end: str = "silent") -> None:
        """Start a call: the far end (``silent``, ``sings``, ...) is the caller, *caller* the extension that rings the agent.

        Both are extensions of the context ``callers``; returns as soon as the PBX has begun to call.
        """
        await self.call(f"Local/{caller}@callers/n", far_end)

    async def call(self, channel: str, exten: str, context: str = "callers") -> None:
        """Originate *channel* (``PJSIP/external/sip:...``) and run it through *exten* once it is answered."""
        await self.action("Originate", Channel=channel, Context=context, Exten=exten, Priority="1", Async="true", Timeout="30000")

    async def hang_up_all(self) -> None:
        """End every channel and wait until none is left."""
        await self.command("channel request hangup all")
        await self.wait_until(lambda channels: not channels, "no channel is left")

    async def channels(self) -> list[Channel]:
        """Return the channels of the PBX at this moment."""
        messages = await self.action("CoreShowChannels", until="CoreShowChannelsComplete")
        return [
            Channel(
                name=m["Channel"],
                state=m["ChannelStateDesc"],
                context=m["Context"],
                exten=m["Exten"],
                application=m["Application"],
                data=m["ApplicationData"],
                bridge=m["BridgeId"],
                linked=m["Linkedid"],
            )
            for m in messages
            if m.event == "CoreShowChannel"
        ]

    async def wait_until(self, holds: Callable[[list[Channel]], bool], what: str, *, timeout_s: float = _TIMEOUT_S) -> list[Channel]:
        """Ask for the channels until *holds* accepts them; raise AssertionError naming *what* and the last channels seen."""
        channels: list[Channel] = []
        try:
            async with asyncio.timeout(timeout_s):
                while not holds(channels := await self.channels()):
                    await asyncio.sleep(_POLL_S)
        except TimeoutError:
            seen = "\n".join(f"  {channel}" for channel in channels) or "  none"
            raise AssertionError(f"not within {timeout_s:g} s: {what}; channels:\n{seen}") from None
        return channels

    async def wait_channel(self, *, timeout_s: float = _TIMEOUT_S, **wanted: str | bool) -> Channel:
        """Return the first channel whose attributes have the *wanted* values (``name`` is compared as a prefix), waiting for it."""

        def fits(channel: Channel) -> bool:
            return all(
                channel.name.startswith(str(value)) if key == "name" else getattr(channel, key) == value for key, value in wanted.items()
            )

        found = await self.wait_until(lambda channels: any(map(fits, channels)), f"a channel with {wanted}", timeout_s=timeout_s)
        return next(filter(fits, found))

    async def wait_event(self, name: str, *, timeout_s: float = _TIMEOUT_S, **wanted: str) -> Message:
        """Return the next event called *name* whose headers have the *wanted* values; the events before it are dropped."""
        try:
            async with asyncio.timeout(timeout_s):
                while True:
                    message = await self.events.get()
                    if message.event == name and all(message[key] == value for key, value in wanted.items()):
                        return message
        except TimeoutError:
            raise AssertionError(f"no event {name} with {wanted} within {timeout_s:g} s") from None


@asynccontextmanager
async def connect(host: str, port: int, *, username: str = "cxmld", secret: str = "cxmld") -> AsyncIterator[Ami]:
    """Open a connection, log in, and close it at the end."""
    reader, writer = await asyncio.open_connection(host, port)
    ami = Ami(reader, writer)
    try:
        async with asyncio.TaskGroup() as group:
            reading = group.create_task(ami.read_forever(), name="ami-reader")
            await ami.action("Login", Username=username, Secret=secret)
            try:
                yield ami
            finally:
                reading.cancel()
    finally:
        writer.close()
        await writer.wait_closed()
