"""The user agent: wires the layers and gives users calls and registrations."""

from sipua.agent.handling import CallHandler
from sipua.agent.user_agent import UserAgent

__all__ = ["CallHandler", "UserAgent"]
