"""Registers at a PBX, calls a number, stays in the call until the other side hangs up, and leaves the PBX.

SIP_PASSWORD=… python examples/dial_and_register/main.py sip:pbx.example.com alice sip:100@pbx.example.com
"""

import asyncio
import os
import sys

from sipua import Credential, SipError, UserAgent


async def main(registrar: str, user: str, password: str, target: str, listen: str = "udp:0.0.0.0:0") -> int:
    host = registrar.removeprefix("sip:").partition(";")[0]
    async with UserAgent(listen=[listen], identity=f"<sip:{user}@{host}>", credentials=[Credential(user, password)]) as agent:
        try:
            registration = await agent.register(registrar)
            await registration.wait_registered(timeout_s=10)
            print("registered", flush=True)
            call = await agent.dial(target, timeout_s=30)
        except (SipError, TimeoutError) as error:
            print("no call:", error or "the registrar is silent")
            return 1
        print("answered", flush=True)
        ending = await call.wait_ended()
        print("ended by", ending.by)
    return 0


if __name__ == "__main__":
    registrar, user, target = sys.argv[1:]
    sys.exit(asyncio.run(main(registrar, user, os.environ["SIP_PASSWORD"], target)))
