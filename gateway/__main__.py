"""`python -m gateway`: run the gateway until it is told to stop."""

import asyncio
import signal

import uvloop

from gateway import server
from gateway.settings import Settings
from kobklein import configuration, logs, memory


async def _serve(settings: Settings) -> None:
    async with server.application(settings) as application:
        running = server.create(application, settings)
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, running.stop)
        await running.serve()


def main() -> None:
    """Read the settings and serve."""
    settings = configuration.read(Settings)
    logs.configure(settings, process="gateway")
    memory.settle()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(settings))


if __name__ == "__main__":
    main()
