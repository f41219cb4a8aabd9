"""The pages about webhooks say what the code does."""

import re
from collections.abc import Callable
from typing import Any

from cxml.services import fault
from cxml.services.parameters import (
    MAX_SIP_HEADER_CHARS,
    MAX_SIP_HEADERS,
    MAX_SIP_HEADERS_CHARS,
    CallFacts,
    fact_parameters,
)
from cxml.services.settings import WebhookSettings
from cxml.services.signing import signature
from tests.support.tables import ROOT, read_table

REFERENCE = ROOT / "docs" / "reference" / "webhooks.md"
HOWTO = ROOT / "docs" / "howto" / "check-signatures.md"


def test_every_error_code_is_in_the_reference_and_no_other() -> None:
    written = {int(row["code"]) for row in read_table(REFERENCE, "Errors")}
    assert written == {value for name, value in vars(fault).items() if name.isupper() and not name.startswith("_")}


def test_every_parameter_is_in_the_reference_and_no_other() -> None:
    filled = {name: "x" for name in CallFacts.__slots__ if name != "sip_headers"}
    sent = set(fact_parameters(CallFacts(**filled))[0]) | {"CallStatus"}  # type: ignore[arg-type]
    written = {name for row in read_table(REFERENCE, "The request") for name in row["parameter"].split(", ")}
    assert written == sent | {"SipHeader_X-…"}


def test_the_limits_and_defaults_are_those_of_the_code() -> None:
    text = REFERENCE.read_text(encoding="utf-8")
    assert f"At most {MAX_SIP_HEADERS} header fields" in text
    assert f"{MAX_SIP_HEADER_CHARS} characters each and {MAX_SIP_HEADERS_CHARS} together" in text
    for row in read_table(REFERENCE, "Time-outs and retries"):
        assert getattr(WebhookSettings(), row["setting"]) == float(row["default"])


def test_the_check_without_a_library_accepts_and_refuses() -> None:
    [code] = re.findall(r"```python\n(import base64.*?)```", HOWTO.read_text(encoding="utf-8"), re.DOTALL)
    namespace: dict[str, Any] = {}
    exec(code, namespace)
    is_genuine: Callable[[str, str, dict[str, str], str], bool] = namespace["is_genuine"]
    form = {"To": "sip:ü@h", "From": "a", "CallSid": "CA1"}
    good = signature("key", "http://h/v?q=1", form)
    assert is_genuine("key", "http://h/v?q=1", form, good)
    assert not is_genuine("key", "http://h/v?q=1", {**form, "To": "b"}, good)
