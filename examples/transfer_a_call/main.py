"""Answers every call, transfers it, prints what became of it and hangs up.

python examples/transfer_a_call/main.py udp:127.0.0.1:5060 sip:support@127.0.0.1:5080
"""

import asyncio
import contextlib
import sys

from sipua import Call, CallError, UserAgent


async def main(listen: str, target: str) -> None:
    async with UserAgent(listen=[listen]) as agent, asyncio.TaskGroup() as calls:
        print("listening at", agent.endpoints[0], flush=True)
        async for call in agent:
            calls.create_task(serve(call, target))


async def serve(call: Call, target: str) -> None:
    with contextlib.suppress(CallError):  # the caller gave up before the answer
        await call.answer()
        outcome = await call.transfer(target)
        print(f"{call.from_.uri}: {outcome.kind} (REFER {outcome.refer_code}, NOTIFY {outcome.notify_code})", flush=True)
        await call.hangup()


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(f"usage: python {sys.argv[0]} udp:ADDRESS:PORT sip:TARGET")
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main(*sys.argv[1:]))
