"""Pure. The settings of webhook requests."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class WebhookSettings:
    """Sections ``[webhook]`` and ``[account]`` of the configuration. Times in seconds.

    An empty key means that its signature isn't sent. A fragment of a URL overrides the time-outs for that URL
    (:mod:`cxml.services.fragment`).
    """

    connect_timeout_s: float = 2.0
    read_timeout_s: float = 5.0
    total_timeout_s: float = 15.0
    max_redirects: int = 3
    max_body_bytes: int = 65536
    allow_hosts: tuple[str, ...] = ("*",)
    allow_private: bool = True
    account_sid: str = ""
    auth_token: str = field(default="", repr=False)
    signing_key: str = field(default="", repr=False)
    user_agent: str = "cxmld"
