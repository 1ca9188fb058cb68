"""The process: `python -m payments_service serve` and `python -m payments_service migrate`."""

import typer
import uvloop

from kobklein import configuration, logs, memory
from kobklein import server as kobklein_server
from payments_service import server
from payments_service.settings import Settings

app = typer.Typer(help="Payments, over gRPC.", no_args_is_help=True, pretty_exceptions_enable=False)


@app.command()
def serve() -> None:
    """Bring the schema up to date, then serve until SIGTERM; running calls get time to end."""
    settings = _settings()
    server.migrate(settings)
    uvloop.run(_serve(settings))


@app.command()
def migrate() -> None:
    """Bring the schema up to date."""
    server.migrate(_settings())


def _settings() -> Settings:
    settings = configuration.read(Settings)
    logs.configure(settings, process="payments_service")
    return settings


async def _serve(settings: Settings) -> None:
    kobklein_server.serve_metrics(settings)
    memory.settle()
    async with server.run(settings):
        await kobklein_server.until_terminated()


if __name__ == "__main__":
    app()
