"""Runs the real engine with the real verbs and parser on scripted ports."""

from dataclasses import dataclass, field

from cxml.document.parse import parse
from cxml.interpreter.context import EngineSettings, Verbs
from cxml.interpreter.ending import Summary
from cxml.interpreter.engine import Engine
from cxml.verbs import VERBS
from tests.support.fake_call import FakeCall, FakeJournal, FakeWebhooks, Reply

START = "http://app.test/voice/start"
FALLBACK = "http://backup.test/sorry"


def doc(content: str) -> bytes:
    """Return ``<Response>content</Response>``."""
    return f"<Response>{content}</Response>".encode()


@dataclass
class Stage:
    """One call on scripted ports; ``await run()`` plays its documents."""

    call: FakeCall = field(default_factory=FakeCall)
    web: FakeWebhooks = field(default_factory=FakeWebhooks)
    journal: FakeJournal = field(default_factory=FakeJournal)
    verbs: Verbs = field(default_factory=lambda: VERBS)
    settings: EngineSettings = field(default_factory=EngineSettings)

    def serve(self, content: str, url: str = START) -> None:
        """Serve one document at *url*."""
        self.web.serve(url, doc(content))

    def serve_raw(self, url: str, *replies: Reply | bytes | Exception) -> None:
        """Serve anything at *url*."""
        self.web.serve(url, *replies)

    def engine(self) -> Engine:
        return Engine(self.call, self.web, self.journal, parse, self.verbs, self.settings)

    async def run(self, url: str = START, method: str = "POST") -> Summary:
        return await self.engine().run(url, method)
