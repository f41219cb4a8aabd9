"""A web application in memory, behind ``httpx.MockTransport``: no socket, so the clock may be virtual."""

from collections.abc import Callable
from urllib.parse import parse_qsl

import httpx
import pytest

from cxml.interpreter.ports import WebhookError, Webhooks
from cxml.services.parameters import CallFacts
from cxml.services.settings import WebhookSettings
from cxml.services.webhook import CallWebhooks, WebhookClient
from tests.support.web import DOCUMENT, FACTS

Handler = Callable[[httpx.Request], httpx.Response]


def document(body: bytes = DOCUMENT, content_type: str = "text/xml", status: int = 200) -> httpx.Response:
    return httpx.Response(status, content=body, headers={"Content-Type": content_type} if content_type else {})


def moved(status: int, location: str) -> httpx.Response:
    return httpx.Response(status, headers={"Location": location})


class Site:
    """A web application in memory: a list of answers, the last of which repeats, and the requests it saw."""

    def __init__(self, *answers: httpx.Response | Exception | Handler) -> None:
        self.answers = list(answers) or [document()]
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, httpx.Response):
            return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)
        return answer(request)

    def forms(self) -> list[dict[str, str]]:
        return [dict(parse_qsl(request.content.decode())) for request in self.requests]


def webhooks(site: Handler, facts: CallFacts = FACTS, **settings: object) -> CallWebhooks:
    client = WebhookClient(WebhookSettings(**settings), transport=httpx.MockTransport(site))  # type: ignore[arg-type]
    return client.for_call(facts, lambda: "in-progress")


async def failure(hooks: Webhooks, url: str = "http://app/v", method: str = "POST") -> WebhookError:
    with pytest.raises(WebhookError) as caught:
        await hooks.fetch(url, method, {})
    return caught.value
