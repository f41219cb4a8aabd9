"""The binding of an address of record to our Contact at a registrar (RFC 3261 §10; docs/spec/registration.md)."""

from sipua.usage.registration.client import Names, Registration, RegistrationSettings
from sipua.usage.registration.flow import keep_flow
from sipua.usage.registration.machine import RegistrationState

__all__ = ["Names", "Registration", "RegistrationSettings", "RegistrationState", "keep_flow"]
