"""The command line: `python -m deploy.sandbox --port 12111`."""

import asyncio
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
    api_key: Annotated[list[str] | None, typer.Option(help="A key that is accepted; may be repeated.")] = None,
    data: Annotated[Path | None, typer.Option(help="The SQLite file that keeps the state.")] = None,
    webhook_url: Annotated[str | None, typer.Option(help="Where events are delivered.")] = None,
    webhook_secret: Annotated[str | None, typer.Option(help="What those events are signed with.")] = None,
    webhook_event: Annotated[list[str] | None, typer.Option(help="An event type to deliver; may be repeated.")] = None,
    webhook_tries: Annotated[int | None, typer.Option(help="How often a delivery is tried.")] = None,
    webhook_backoff_seconds: Annotated[float | None, typer.Option(help="The first pause; each next doubles.")] = None,
    public_url: Annotated[str | None, typer.Option(help="Where payers reach the 3-D Secure pages.")] = None,
    seed: Annotated[int | None, typer.Option(help="Makes ids and random choices repeatable.")] = None,
) -> None:
    """Simulate Stripe's API until the process is interrupted."""
    options: dict[str, Any] = {
        "api_keys": api_key,
        "data": data,
        "public_url": public_url,
        "seed": seed,
        "webhook_backoff_seconds": webhook_backoff_seconds,
        "webhook_events": webhook_event,
        "webhook_secret": webhook_secret,
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
