"""The command line: `python -m deploy.sandbox --port 12111`."""

import asyncio
import os
import signal
from pathlib import Path
from typing import Annotated, Any

import typer
import uvloop

from deploy.sandbox.server import serve
from deploy.sandbox.settings import Settings


def main(
    *,
    port: Annotated[int, typer.Option(help="The port to serve on; 0 takes a free one.")] = 0,
    host: Annotated[str, typer.Option(help="The address to serve on.")] = "127.0.0.1",
    data: Annotated[Path | None, typer.Option(help="The SQLite file that keeps the state.")] = None,
    webhook_url: Annotated[str | None, typer.Option(help="Where events are delivered.")] = None,
    webhook_event: Annotated[list[str] | None, typer.Option(help="An event type to deliver; may be repeated.")] = None,
    webhook_tries: Annotated[int | None, typer.Option(help="How often a delivery is tried.")] = None,
    webhook_backoff_seconds: Annotated[float | None, typer.Option(help="The first pause; each next doubles.")] = None,
    public_url: Annotated[str | None, typer.Option(help="Where payers reach the 3-D Secure pages.")] = None,
    seed: Annotated[int | None, typer.Option(help="Makes ids and random choices repeatable.")] = None,
) -> None:
    """Simulate Stripe's API until the process is interrupted.

    Every user of the machine can read arguments. So secrets are taken from the environment: SANDBOX_API_KEYS, the
    keys that are accepted, with commas; SANDBOX_WEBHOOK_SECRET, what events are signed with.
    """
    keys = [key for each in os.environ.get("SANDBOX_API_KEYS", "").split(",") if (key := each.strip())]
    options: dict[str, Any] = {
        "api_keys": keys,
        "data": data,
        "public_url": public_url,
        "seed": seed,
        "webhook_backoff_seconds": webhook_backoff_seconds,
        "webhook_events": webhook_event,
        "webhook_secret": os.environ.get("SANDBOX_WEBHOOK_SECRET") or None,
        "webhook_tries": webhook_tries,
        "webhook_url": webhook_url,
    }
    settings = Settings(**{name: value for name, value in options.items() if value not in (None, [])})
    uvloop.run(_serve(settings, host=host, port=port))


async def _serve(settings: Settings, *, host: str, port: int) -> None:
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    async with serve(settings, host=host, port=port) as url:
        typer.echo(f"Stripe sandbox on {url}")
        await stopped.wait()


if __name__ == "__main__":
    typer.run(main)
