"""Pure. The section about who gets in."""

import ipaddress
from typing import Annotated

from pydantic import AfterValidator, Field

from cxml.access.peers import Network
from cxml.access.rules import Strangers
from cxml.daemon.config.section import Section, Timeout
from cxml.daemon.config.values import Seconds, Texts, Whole, check_algorithms, check_network, check_realm

MAX_BAN_S = 604800.0  # a week: a longer ban belongs into a firewall


class Access(Section):
    """What requests get that belong to no peer, how passwords are asked for, and who is banned for wrong ones."""

    strangers: Strangers = Field(
        default=Strangers.SILENT,
        description="What a stranger gets where no peer is known by its password alone: silent (nothing) or refuse (403).",
    )
    realm: Annotated[str, AfterValidator(check_realm)] = Field(default="cxmld", description="The realm of challenges; PBXs may ask for it.")
    algorithms: Annotated[Texts, AfterValidator(check_algorithms)] = Field(
        default=("SHA-256", "MD5"), description="Digest algorithms offered, the preferred first: SHA-512-256, SHA-256, MD5."
    )
    nonce_lifetime_s: Timeout = Field(default=300.0, description="How long a peer may use a challenge's nonce before it is asked again.")
    max_failures: Annotated[Whole, Field(ge=1, le=1000)] = Field(
        default=5, description="Wrong passwords of one source within failure_window_s that get it banned."
    )
    failure_window_s: Timeout = Field(default=300.0, description="How long wrong passwords are counted together.")
    ban_s: Annotated[Seconds, Field(gt=0, le=MAX_BAN_S)] = Field(default=3600.0, description="How long a banned source gets no answer.")
    never_ban: tuple[Annotated[str, AfterValidator(check_network)], ...] = Field(
        default=("127.0.0.0/8", "::1/128"), description="Addresses and blocks that are never banned, besides those in match of a peer."
    )
    max_answers_per_s: Annotated[Seconds, Field(gt=0, le=10000)] = Field(
        default=20.0, description="Answers a second to one source that has shown no password yet."
    )

    @property
    def spared(self) -> tuple[Network, ...]:
        """The blocks of ``never_ban``."""
        return tuple(ipaddress.ip_network(text) for text in self.never_ban)
