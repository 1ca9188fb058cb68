"""The process: `python -m wallets_service serve`, `migrate`, and the commands of an audit."""

from kobklein import command_line
from wallets_service import commands, server
from wallets_service.settings import MigrationSettings, Settings

app = command_line.service(
    "wallets_service",
    Settings,
    MigrationSettings,
    server.run,
    title="Wallets and the ledger, over gRPC.",
    beside=(commands.Settings,),
)
app.add_typer(commands.app)

if __name__ == "__main__":
    app()
