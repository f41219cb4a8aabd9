"""The hosts file of the machine: what its administrator wrote there comes before any name server."""

from pathlib import Path

from sipua.transport.locate.addresses import usable

HOSTS = Path("/etc/hosts")
CHECK_SECONDS = 5.0  # how old our view of the file may be
MAX_BYTES = 1 << 20  # a larger file is a block list, no list of peers
LOOPBACK = ("127.0.0.1", "::1")


class HostsFile:
    """Names and addresses of a hosts file, read again when it has changed. A file that can't be read counts as empty."""

    def __init__(self, path: Path = HOSTS) -> None:
        self._path = path
        self._names: dict[str, tuple[str, ...]] = {}
        self._stamp: tuple[int, int] | None = None
        self._checked = float("-inf")

    def find(self, name: str, now: float) -> tuple[str, ...]:
        """Return the addresses of *name* (lower case), none when the file hasn't got it; ``localhost`` always has some (RFC 6761 §6.3)."""
        if now - self._checked >= CHECK_SECONDS:
            self._checked = now
            self._refresh()
        found = self._names.get(name, ())
        return found or (LOOPBACK if name == "localhost" or name.endswith(".localhost") else ())

    def _refresh(self) -> None:
        try:
            status = self._path.stat()
            stamp = (status.st_mtime_ns, status.st_size)
            if stamp != self._stamp:
                self._stamp = stamp
                with self._path.open("rb") as file:
                    self._names = parse_hosts(file.read(MAX_BYTES).decode("utf-8", "replace"))
        except OSError:
            self._stamp, self._names = None, {}


def parse_hosts(text: str) -> dict[str, tuple[str, ...]]:
    """Return addresses by name; lines that are none are passed over."""
    names: dict[str, tuple[str, ...]] = {}
    for line in text.splitlines():
        address, *aliases = line.partition("#")[0].split() or [""]
        for name in aliases:
            key = name.rstrip(".").lower()
            names[key] = tuple(usable((*names.get(key, ()), address)))
    return {name: addresses for name, addresses in names.items() if addresses}
