"""What the engine and a verb know of each other: the verb's context, the table of verbs, the settings of a call."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

from structlog.typing import FilteringBoundLogger

from cxml.interpreter.outcome import Outcome
from cxml.interpreter.ports import Call, FetchedDocument, TransferResult

DEFAULT_MAX_VERBS = 10_000
"""Verbs that one call may run: hours of any sensible document, seconds of a runaway one."""

DEFAULT_MAX_DOCUMENTS = 1_000
"""Documents that one call may run: a waiting loop of 30 s may go on for 8 hours."""


class OnBye(StrEnum):
    """What it means that the peer hangs up after it accepted a REFER and before it reported the end."""

    CANCELED = "canceled"
    SUCCESS = "success"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """What one call's engine is told; an empty ``fallback_url`` means there is none."""

    fallback_url: str = ""
    fallback_method: str = "POST"
    max_verbs: int = DEFAULT_MAX_VERBS
    max_documents: int = DEFAULT_MAX_DOCUMENTS
    refer_on_bye: OnBye = OnBye.CANCELED


class Host(Protocol):
    """The engine as a verb's context sees it."""

    @property
    def verb_log(self) -> FilteringBoundLogger:
        """The log of the verb that runs."""

    async def request(self, url: str, method: str, extra: Mapping[str, str]) -> FetchedDocument:
        """Request *url*, relative to the current document."""

    async def record(self, pending: Mapping[str, str]) -> None:
        """Write down where the call stands and what a verb waits for."""

    def report(self, result: TransferResult) -> None:
        """Tell the result of a ``<Refer>`` to whoever counts them."""


@dataclass(slots=True)
class Context:
    """Everything a verb may use; one for all verbs of a call."""

    call: Call
    settings: EngineSettings
    host: Host

    @property
    def log(self) -> FilteringBoundLogger:
        """The log, which names the call and the verb that runs."""
        return self.host.verb_log

    async def fetch(self, url: str, method: str, extra: Mapping[str, str] | None = None) -> FetchedDocument:
        """Request *url*, relative to the current document, with *extra* besides the standard parameters.

        Raises :class:`~cxml.interpreter.ports.WebhookError`; a verb lets it pass, the engine turns to the fallback URL.
        """
        return await self.host.request(url, method, extra or {})

    async def waiting(self, pending: Mapping[str, str]) -> None:
        """Write down what this verb waits for, so that a restarted daemon can go on from here."""
        await self.host.record(pending)

    def report(self, result: TransferResult) -> None:
        """Tell the result of a ``<Refer>`` to whoever counts them."""
        self.host.report(result)


@dataclass(frozen=True, slots=True)
class VerbTraits:
    """How the engine treats a verb.

    ``outlives_call``: the end of the call does not cancel it; it ends by itself soon after, having told its result.
    """

    outlives_call: bool = False


@dataclass(frozen=True, slots=True)
class VerbEntry:
    """One row of the table of verbs: ``run(node, ctx) -> Outcome`` and its traits."""

    run: Callable[[Any, Context], Awaitable[Outcome]]
    traits: VerbTraits = VerbTraits()


Verbs = Mapping[type[Any], VerbEntry]
"""Node type -> its verb."""
