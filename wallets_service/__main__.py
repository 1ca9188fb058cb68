"""The process: `python -m wallets_service serve`, `migrate`, and the commands of an audit."""

import typer
import uvloop

from kobklein import configuration, logs, memory
from kobklein import server as kobklein_server
from wallets_service import commands, server
from wallets_service.settings import Settings

app = typer.Typer(help="Wallets and the ledger, over gRPC.", no_args_is_help=True, pretty_exceptions_enable=False)
app.add_typer(commands.app)


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
    logs.configure(settings, process="wallets_service")
    return settings


async def _serve(settings: Settings) -> None:
    kobklein_server.serve_metrics(settings)
    memory.settle()
    async with server.run(settings):
        await kobklein_server.until_terminated()


if __name__ == "__main__":
    app()
