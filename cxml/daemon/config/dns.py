"""Pure. The section about name servers."""

from typing import Annotated

from pydantic import AfterValidator, Field

from cxml.daemon.config.section import Section, Timeout
from cxml.daemon.config.values import Texts, Whole
from sipua.transport.locate.asker import parse_server

MAX_LOOKUP_S = 30.0  # a caller hears nothing meanwhile


def check_servers(texts: tuple[str, ...]) -> tuple[str, ...]:
    """Return *texts* if each is the address of a name server. Raises ValueError."""
    for text in texts:
        parse_server(text)
    return texts


class Dns(Section):
    """How the names of PBXs are looked up (RFC 3263): NAPTR, SRV, then A and AAAA; /etc/hosts comes first."""

    servers: Annotated[Texts, AfterValidator(check_servers)] = Field(
        default=(),
        description="Name servers as ADDRESS or ADDRESS:PORT; empty: those of /etc/resolv.conf.",
        examples=[["10.0.0.53", "[fd00::53]:5353"]],
    )
    timeout_s: Annotated[Timeout, Field(le=MAX_LOOKUP_S)] = Field(
        default=5.0, description="How long all questions about one name may take together."
    )
    naptr: bool = Field(default=True, description="Ask for NAPTR records, which let a domain choose the transport.")
    max_names: Annotated[Whole, Field(ge=16, le=1_000_000)] = Field(default=1024, description="Answers kept in memory.")
    max_ttl_s: Annotated[Timeout, Field(ge=5)] = Field(default=3600.0, description="How long an answer is believed at most.")
