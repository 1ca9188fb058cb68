"""What the measurements begin with: a durable server, and databases of wallets_service with a past."""

import contextlib
import dataclasses
from collections.abc import Iterator

from deploy.local import postgres as embedded
from tests import databases
from tests.bench.ledger import fill


@dataclasses.dataclass(frozen=True, slots=True)
class Stage:
    """A running server with a migrated template."""

    server: embedded.Server
    template: str

    @contextlib.contextmanager
    def ledger(self, past: fill.Past) -> Iterator[databases.Database]:
        """Yield a database with this past."""
        with self.copy(self.template) as database:
            fill.fill(database, past)
            yield database

    @contextlib.contextmanager
    def copy(self, name: str) -> Iterator[databases.Database]:
        """Yield a copy of the named database, which nobody may be connected to."""
        yield from databases.copy(self.server, "wallets_service", of=name)


@contextlib.contextmanager
def open_stage(**parameters: str) -> Iterator[Stage]:
    """Start a server with fsync on and these further parameters."""
    with embedded.temporary_durable(**parameters) as server:
        yield Stage(server, databases.template(server, "wallets_service"))
