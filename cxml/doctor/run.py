"""Runs an examination from beginning to end: agent, steps, report, exit status."""

import asyncio
from contextlib import suppress

from rich.console import Console

from cxml.daemon.build import build_agent
from cxml.daemon.certificates import make_tls
from cxml.daemon.config import Config
from cxml.daemon.redaction import Redactor
from cxml.doctor.diagnose import diagnose
from cxml.doctor.examine import Examination, Tell
from cxml.doctor.pbx import product_of
from cxml.doctor.plan import Plan
from cxml.doctor.report import Report, ladder
from sipua.agent import UserAgent
from sipua.entropy import system_bits
from sipua.errors import SipError, printable
from sipua.rtp.ports import PortAllocator
from sipua.rtp.silence import SilenceClock
from sipua.transport.network import Network
from sipua.usage.call.media import MediaMode, MediaSettings


def make_agent(config: Config, plan: Plan, network: Network | None = None) -> UserAgent:
    """Return an agent as the daemon has it, at free ports and with silence for audio; not started yet."""
    low, high = config.media.rtp_ports
    ports = PortAllocator(low, high, offset=system_bits.randrange((high - low) // 2 or 1))
    clock = SilenceClock(asyncio.get_running_loop())
    media = MediaSettings(MediaMode.SILENCE, ports, clock) if plan.has_audio else MediaSettings()
    return build_agent(
        config, network, tls=make_tls(config), listen=plan.listen, identity=plan.caller, credentials=plan.credentials, media=media
    )


async def examine(config: Config, name: str, plan: Plan, tell: Tell, network: Network | None = None) -> tuple[Report, list[str]]:
    """Examine the peer *name* and return the report and the ladder.

    Cancelled, it hangs up and returns the report of what was seen. Raises :class:`SipError` when the agent can't be started.
    """
    report = Report(name, plan.uri)

    def note(step: str, result: str) -> None:
        report.steps.append((step, result))
        tell(step, result)

    async with make_agent(config, plan, network) as agent:
        examination = Examination(agent, plan, note)
        try:
            async with asyncio.timeout(plan.total_s):
                await examination.run()
        except TimeoutError:
            report.fault = f"stopped after {plan.total_s:g} s"
        except asyncio.CancelledError:
            report.fault = "interrupted; calls are hung up"
        except (SipError, OSError) as error:
            report.fault = printable(str(error)) or type(error).__name__
        report.product = product_of(examination.observed.messages) or product_of(examination.seen)
        report.findings = diagnose(examination.observed)
        with suppress(asyncio.CancelledError):
            await agent.aclose()
    return report, ladder(examination.seen)


async def doctor(
    config: Config,
    name: str,
    plan: Plan,
    console: Console,
    *,
    as_json: bool = False,
    with_trace: bool = False,
    network: Network | None = None,
) -> int:
    """Examine the peer *name*, print what was found, and return the exit status."""
    redactor = Redactor(config.secrets())

    def tell(step: str, result: str) -> None:
        if not as_json:
            console.print(redactor.text(f"{step + ':':<16}{result}"), markup=False, highlight=False, soft_wrap=True)

    report, lines = await examine(config, name, plan, tell, network)
    if as_json:
        console.print(report.as_json(redactor), markup=False, highlight=False, soft_wrap=True)
        return report.status
    for line in lines if with_trace else ():
        console.print(redactor.text(line), markup=False, highlight=False, soft_wrap=True)
    report.show(console, redactor)
    return report.status
