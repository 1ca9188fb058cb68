"""The process: `python -m payments_service serve` and `python -m payments_service migrate`."""

from kobklein import command_line
from payments_service import server
from payments_service.settings import MigrationSettings, Settings

app = command_line.service("payments_service", Settings, MigrationSettings, server.run, title="Payments, over gRPC.")

if __name__ == "__main__":
    app()
