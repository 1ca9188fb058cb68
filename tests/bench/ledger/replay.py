"""The statements that the ledger sends, recorded while it posts and sent again with nothing but a driver."""

import contextlib
import dataclasses
import time
from collections.abc import Iterator
from typing import Any, Final

import psycopg

from tests import databases

_WRITES: Final = "UPDATE accounts"


@dataclasses.dataclass(slots=True)
class Recording:
    """What one connection sent, transactions included, and the options it was opened with."""

    options: str
    statements: list[tuple[str, Any]] = dataclasses.field(default_factory=list)

    @property
    def writes(self) -> int:
        """How many batches it holds."""
        return sum(_WRITES in statement for statement, _ in self.statements)


class _Cursor(psycopg.Cursor[Any]):
    """Records what is executed; what it could not record, it refuses."""

    connection: "_Connection"

    def execute(self, query: Any, params: Any = None, **options: Any) -> Any:
        self.connection.recording.statements.append((query, params))
        return super().execute(query, params, **options)

    def executemany(self, *_: Any, **__: Any) -> None:
        raise NotImplementedError

    def copy(self, statement: Any, *arguments: Any, **options: Any) -> Any:
        """Copy as ever, as the sealer does; a recording of one that posts could not be sent again with it in it."""
        self.connection.recording.statements.append(("what a copy sends is not recorded", None))
        return super().copy(statement, *arguments, **options)


class _Connection(psycopg.Connection[Any]):
    """Records its transactions, and what its cursors execute in them."""

    recording: Recording

    @contextlib.contextmanager
    def transaction(self, *arguments: Any, **options: Any) -> Iterator[psycopg.Transaction]:
        self.recording.statements.append(("BEGIN", None))
        with super().transaction(*arguments, **options) as transaction:
            yield transaction
        self.recording.statements.append(("COMMIT", None))


@contextlib.contextmanager
def recorded() -> Iterator[list[Recording]]:
    """Record every connection that this process opens while inside; only those that post are of interest."""
    recordings: list[Recording] = []

    class Recorder(_Connection):
        @classmethod
        def connect(cls, conninfo: str = "", **arguments: Any) -> Any:
            connection = super().connect(conninfo, **arguments)
            connection.cursor_factory = _Cursor
            connection.recording = Recording(arguments.get("options") or "")
            recordings.append(connection.recording)
            return connection

    original = psycopg.Connection
    psycopg.Connection = Recorder  # type: ignore[assignment,misc]  # The driver has no other way to observe it.
    try:
        yield recordings
    finally:
        psycopg.Connection = original  # type: ignore[misc]


def seconds(recording: Recording, database: databases.Database) -> float:
    """Send a recording to a copy of the database it was made on, and return how long that took.

    The statements are prepared and their answers are read, as the ledger does; between them there is no Python but this
    loop and the driver.
    """
    with psycopg.connect(
        database.application_url, autocommit=True, prepare_threshold=0, options=recording.options
    ) as connection:
        start = time.perf_counter()
        for statement, parameters in recording.statements:
            cursor = connection.execute(statement, parameters)
            if cursor.description is not None:
                cursor.fetchall()
        return time.perf_counter() - start
