"""A process that announces or browses a service by zeroconf, to be run on a host of a local network.

``announce NAME PORT ADDRESS`` announces until SIGTERM, then says goodbye; ``browse`` prints each change as a line,
``+ NAME ADDRESS PORT`` or ``- NAME``.
"""

from __future__ import annotations

import asyncio
import signal
import socket
import sys

from zeroconf import IPVersion, ServiceStateChange, Zeroconf
from zeroconf.asyncio import AsyncServiceBrowser, AsyncServiceInfo, AsyncZeroconf

KIND = "_syncd-test._tcp"
_TYPE = f"{KIND}.local."
_RESOLVE_MS = 3_000


async def announce(name: str, port: int, address: str) -> None:
    info = AsyncServiceInfo(
        _TYPE,
        f"{name}.{_TYPE}",
        addresses=[socket.inet_aton(address)],
        port=port,
        properties={"v": "1"},
        server=f"{name}.local.",
    )
    end = _ended()
    async with AsyncZeroconf() as zeroconf:
        await (await zeroconf.async_register_service(info))
        print("announced", flush=True)
        await end.wait()
        await (await zeroconf.async_unregister_service(info))


async def browse() -> None:
    end = _ended()
    tasks: set[asyncio.Task[None]] = set()

    async def resolve(zeroconf: Zeroconf, name: str) -> None:
        info = AsyncServiceInfo(_TYPE, name)
        if await info.async_request(zeroconf, _RESOLVE_MS):
            print("+", _short(name), *info.parsed_addresses(IPVersion.V4Only), info.port, flush=True)

    def changed(zeroconf: Zeroconf, service_type: str, name: str, state_change: ServiceStateChange) -> None:
        if state_change is ServiceStateChange.Removed:
            print("-", _short(name), flush=True)
        else:
            task = asyncio.create_task(resolve(zeroconf, name))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

    async with AsyncZeroconf() as zeroconf:
        browser = AsyncServiceBrowser(zeroconf.zeroconf, _TYPE, handlers=[changed])
        print("browsing", flush=True)
        await end.wait()
        await browser.async_cancel()
        await asyncio.gather(*tasks)


def _short(name: str) -> str:
    return name.removesuffix(f".{_TYPE}")


def _ended() -> asyncio.Event:
    end = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, end.set)
    return end


def main() -> None:
    match sys.argv[1:]:
        case ["announce", name, port, address]:
            asyncio.run(announce(name, int(port), address))
        case ["browse"]:
            asyncio.run(browse())
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()
