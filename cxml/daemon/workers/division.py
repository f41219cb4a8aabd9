"""Pure. What of the configuration is whose: the settings of one worker of several (docs/howto/use-several-cores.md)."""

from math import ceil
from typing import Final

from cxml.daemon.config import Config

REGISTRAR: Final = 0
"""The worker that registers at the PBXs."""

MIN_TRANSACTIONS: Final = 100  # the least that the setting may be


def part_of(config: Config, worker: int, listen: tuple[str, ...]) -> Config:
    """Return the settings of *worker*; *listen* are the addresses with their real ports.

    Calls are counted for all together; what can't be is divided: RTP ports, connections, what strangers may send. HTTP is the parent's.
    """
    count, limits = config.workers.count, config.limits
    return config.model_copy(
        update={
            "sip": config.sip.model_copy(update={"listen": listen}),
            "http": config.http.model_copy(update={"listen": ""}),
            "media": config.media.model_copy(update={"rtp_ports": ports_of(config.media.rtp_ports, worker, count)}),
            "access": config.access.model_copy(update={"max_answers_per_s": config.access.max_answers_per_s / count}),
            "limits": limits.model_copy(
                update={
                    "max_source_datagrams_per_s": ceil(limits.max_source_datagrams_per_s / count),
                    "max_stranger_datagrams_per_s": ceil(limits.max_stranger_datagrams_per_s / count),
                    "max_transactions": max(MIN_TRANSACTIONS, ceil(limits.max_transactions / count)),
                    "max_connections": ceil(limits.max_connections / count),
                    "max_connections_per_address": ceil(limits.max_connections_per_address / count),
                }
            ),
            "peers": tuple(peer if worker == REGISTRAR else peer.model_copy(update={"is_registering": False}) for peer in config.peers),
        }
    )


def ports_of(ports: tuple[int, int], worker: int, count: int) -> tuple[int, int]:
    """Return the part of a range of RTP ports, two for each call, that *worker* has."""
    low, high = ports
    first = low + low % 2
    pairs = (high + 1 - first) // 2
    return first + 2 * (pairs * worker // count), first + 2 * (pairs * (worker + 1) // count) - 1
