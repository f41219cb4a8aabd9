"""Pure. The section about transfers."""

from typing import Annotated

from pydantic import Field

from cxml.daemon.allow import is_allowed
from cxml.daemon.config.section import Section, Timeout
from cxml.daemon.config.values import Seconds, TargetPatterns
from cxml.interpreter.context import OnBye
from sipua.usage.call.core import REFER_SETTLE_S
from sipua.usage.subscription.refer import MAX_BYE_GRACE_S


class Refer(Section):
    """Transfers. Each key may stand in a [[peers]] table, too, and then holds for that peer."""

    notify_timeout_s: Timeout = Field(default=180.0, description="How long the verb waits for the next NOTIFY.")
    bye_grace_s: Annotated[Seconds, Field(ge=0, le=MAX_BYE_GRACE_S)] = Field(
        default=2.0, description="How long a NOTIFY may come after the peer's BYE."
    )
    on_bye: OnBye = Field(
        default=OnBye.CANCELED,
        description="What it means that the peer hangs up without a result: canceled, success or unknown.",
    )
    allow: TargetPatterns = Field(
        default=("*",),
        description="Patterns of SIP URIs that calls may be transferred to; * is any text; nothing in a URI gets round them.",
        examples=[["sip:[1-4]??@pbx.example.com", "sip:*@10.0.0.5"]],
    )
    settle_s: Annotated[Seconds, Field(ge=0, le=10)] = Field(
        default=REFER_SETTLE_S, description="Wait between the ACK and a REFER: a PBX needs a moment to bridge the call."
    )

    def is_allowed(self, target: str) -> bool:
        """Tell whether a call may be transferred to *target*, the text of ``<Sip>``."""
        return is_allowed(target, self.allow)
