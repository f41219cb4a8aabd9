"""Pure. What peers are told instead of our local address, by the family of the address that they see us at."""

from dataclasses import dataclass, replace

from sipua.errors import printable
from sipua.transport.route import ip_literal


def is_ipv6(host: str) -> bool:
    """Tell whether *host* is an IPv6 address, brackets or not."""
    return ":" in host


@dataclass(frozen=True, slots=True)
class Advertised:
    """A name, or an address for one or both families; ``""`` where there is none. With a name the addresses are those it has."""

    name: str = ""
    ipv4: str = ""
    ipv6: str = ""

    @classmethod
    def parse(cls, text: str) -> "Advertised":
        """Read a name, an address, or an IPv4 and an IPv6 address with a comma between them. Raises ValueError."""
        made = cls()
        for part in filter(None, (part.strip() for part in text.split(","))):
            bare = part.strip("[]")
            if ip_literal(part) is None:
                made = replace(made, name=bare) if made == cls() else _refuse(text)
            elif made.name or made.address_for(bare):
                _refuse(text)
            else:
                made = made.with_address(bare)
        return made

    def with_address(self, address: str) -> "Advertised":
        """Return a copy that has *address*, unless its family has one."""
        if self.address_for(address):
            return self
        return replace(self, ipv6=address) if is_ipv6(address) else replace(self, ipv4=address)

    def address_for(self, local: str) -> str:
        """Return the address to put into descriptions for media at *local*, ``""`` when that one stands for itself."""
        return self.ipv6 if is_ipv6(local) else self.ipv4

    def host_for(self, local: str) -> str:
        """Return the host to put into Via and Contact towards those who see us at *local*, ``""`` when that one stands for itself."""
        return self.name or self.address_for(local)

    @property
    def any_host(self) -> str:
        """Return a host that stands for us when no peer is known, ``""`` when there is none."""
        return self.name or self.ipv4 or self.ipv6


LOCAL = Advertised()
"""Nothing: the local address stands for itself."""


def _refuse(text: str) -> Advertised:
    raise ValueError(f"{printable(text)!r} is neither a name nor an address, nor one address of each family with a comma between")
