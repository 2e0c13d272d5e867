"""A machine for the tests with network namespaces: discovery in a process, which prints what it finds as JSON lines.

Usage: python -m tests.discovery.machine [--advertise DEVICE_ID:PORT]
It ends when its standard input does.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Callable

from syncd.discovery.mdns import MdnsDiscovery


async def run(advertise: str) -> None:
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()

    def tell(event: str) -> None:
        found = {each.id8: each.addresses for each in discovery.found()}
        print(json.dumps({"event": event, "found": found, "problem": discovery.problem}), flush=True)

    def teller(event: str) -> Callable[[], None]:
        return lambda: tell(event)

    def read() -> None:
        if not os.read(sys.stdin.fileno(), 1024):
            loop.remove_reader(sys.stdin)
            ended.set()

    loop.add_reader(sys.stdin, read)
    discovery = MdnsDiscovery(teller("change"), teller("network"))
    async with discovery:
        if advertise:
            device_id, _, port = advertise.partition(":")
            await discovery.advertise(device_id, int(port))
        tell("ready")
        await ended.wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--advertise", default="")
    asyncio.run(run(parser.parse_args().advertise), debug=True)
