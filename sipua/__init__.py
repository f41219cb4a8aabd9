"""An asyncio SIP user agent: calls, registrations and transfers that report their true outcome.

The names below are the public ones; each is loaded when it is first used, so that a program that needs only the parser pays for no more.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sipua.agent import UserAgent
    from sipua.auth import Credential
    from sipua.errors import CallEndedError, CallError, CallFailedError, LimitError, ParseError, RegistrationError, SipError, TransportError
    from sipua.timers import Timing
    from sipua.usage.call.call import Call
    from sipua.usage.call.core import CallSettings
    from sipua.usage.call.media import MediaMode, MediaSettings
    from sipua.usage.call.referred import IncomingTransfer
    from sipua.usage.call.session import CallState, Ending
    from sipua.usage.registration import Registration, RegistrationState
    from sipua.usage.subscription.outcome import TransferKind, TransferOutcome
    from sipua.usage.subscription.refer import ReferSettings

_HOMES = {
    "Call": "sipua.usage.call.call",
    "CallEndedError": "sipua.errors",
    "CallError": "sipua.errors",
    "CallFailedError": "sipua.errors",
    "CallSettings": "sipua.usage.call.core",
    "CallState": "sipua.usage.call.session",
    "Credential": "sipua.auth",
    "Ending": "sipua.usage.call.session",
    "IncomingTransfer": "sipua.usage.call.referred",
    "LimitError": "sipua.errors",
    "MediaMode": "sipua.usage.call.media",
    "MediaSettings": "sipua.usage.call.media",
    "ParseError": "sipua.errors",
    "ReferSettings": "sipua.usage.subscription.refer",
    "Registration": "sipua.usage.registration",
    "RegistrationError": "sipua.errors",
    "RegistrationState": "sipua.usage.registration",
    "SipError": "sipua.errors",
    "Timing": "sipua.timers",
    "TransferKind": "sipua.usage.subscription.outcome",
    "TransferOutcome": "sipua.usage.subscription.outcome",
    "TransportError": "sipua.errors",
    "UserAgent": "sipua.agent.user_agent",
}

__all__ = [
    "Call",
    "CallEndedError",
    "CallError",
    "CallFailedError",
    "CallSettings",
    "CallState",
    "Credential",
    "Ending",
    "IncomingTransfer",
    "LimitError",
    "MediaMode",
    "MediaSettings",
    "ParseError",
    "ReferSettings",
    "Registration",
    "RegistrationError",
    "RegistrationState",
    "SipError",
    "Timing",
    "TransferKind",
    "TransferOutcome",
    "TransportError",
    "UserAgent",
]


def __getattr__(name: str) -> object:
    """Load a public name from its module (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module 'sipua' has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value
