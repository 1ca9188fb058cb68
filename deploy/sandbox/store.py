"""Where the state lives: one SQLite database, in a file or in memory that spills to a private temporary file."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

Object = dict[str, Any]

LINKS = ("customer", "payment_intent", "charge", "payment_method", "source", "type", "intent")
"""Members of an object that lists filter by; each is a generated column with its own index."""

_SCHEMA = f"""
CREATE TABLE IF NOT EXISTS objects (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL,
    created INTEGER NOT NULL,
    body TEXT NOT NULL,
    {", ".join(f"{link} TEXT AS (body ->> '$.{link}')" for link in LINKS)}
);
CREATE INDEX IF NOT EXISTS objects_kind ON objects (kind, number);
{"".join(f"CREATE INDEX IF NOT EXISTS objects_{link} ON objects ({link}) WHERE {link} IS NOT NULL;" for link in LINKS)}
CREATE TABLE IF NOT EXISTS replies (
    api_key TEXT NOT NULL,
    key TEXT NOT NULL,
    fingerprint BLOB NOT NULL,
    request TEXT NOT NULL,
    created INTEGER NOT NULL,
    status INTEGER NOT NULL,
    body BLOB NOT NULL,
    PRIMARY KEY (api_key, key)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS movements (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    created INTEGER NOT NULL,
    kind TEXT NOT NULL,
    amount INTEGER NOT NULL,
    currency TEXT NOT NULL,
    source TEXT NOT NULL,
    charge TEXT NOT NULL,
    payment_intent TEXT
);
CREATE TABLE IF NOT EXISTS deliveries (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    event TEXT NOT NULL,
    type TEXT NOT NULL,
    endpoint TEXT NOT NULL,
    status TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS deliveries_event ON deliveries (event);
CREATE INDEX IF NOT EXISTS deliveries_pending ON deliveries (status) WHERE status = 'pending';
CREATE TABLE IF NOT EXISTS attempts (
    delivery INTEGER NOT NULL,
    number INTEGER NOT NULL,
    time REAL NOT NULL,
    seconds REAL NOT NULL,
    status INTEGER,
    error TEXT,
    PRIMARY KEY (delivery, number)
) WITHOUT ROWID;
"""

_TABLES = ("objects", "replies", "movements", "deliveries", "attempts")
_CACHE_KIB = 24_000


@dataclass(frozen=True, slots=True)
class Slice:
    """Which part of a list is wanted: newest first, at most `limit`, after or before one object."""

    limit: int = 10
    starting_after: str | None = None
    ending_before: str | None = None


class Store:
    """Objects by id, newest first in lists. What `get` returns is a copy: nothing changes until it is put back."""

    def __init__(self, path: Path | None = None) -> None:
        self._connection = sqlite3.connect(path or "", isolation_level=None, check_same_thread=False)
        self._connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        self._connection.execute("PRAGMA synchronous = " + ("NORMAL" if path else "OFF"))
        self._connection.execute("PRAGMA journal_mode = " + ("WAL" if path else "MEMORY"))
        self._connection.executescript(_SCHEMA)

    def close(self) -> None:
        """Let the database go; the temporary one is gone with it."""
        self._connection.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing. No await may happen inside, so that requests never share a transaction."""
        self._connection.execute("BEGIN")
        try:
            yield
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")

    def execute(self, statement: str, values: Sequence[Any] = ()) -> sqlite3.Cursor:
        """Run one statement of a module that owns a table."""
        return self._connection.execute(statement, values)

    def put(self, item: Object) -> None:
        """Insert or replace by id; a replaced object keeps its place in lists."""
        self._connection.execute(
            "INSERT INTO objects (id, kind, created, body) VALUES (?, ?, ?, ?) "
            "ON CONFLICT (id) DO UPDATE SET body = excluded.body",
            (item["id"], item["object"], item.get("created", 0), orjson.dumps(item).decode()),
        )

    def get(self, identifier: str) -> Object | None:
        """The object with this id, or None."""
        row = self._connection.execute("SELECT body FROM objects WHERE id = ?", (identifier,)).fetchone()
        return None if row is None else orjson.loads(row[0])

    def text(self, identifier: str) -> bytes | None:
        """The object's JSON as it is stored."""
        row = self._connection.execute("SELECT body FROM objects WHERE id = ?", (identifier,)).fetchone()
        return None if row is None else row[0].encode()

    def delete(self, identifier: str) -> None:
        """Forget one object."""
        self._connection.execute("DELETE FROM objects WHERE id = ?", (identifier,))

    def select(self, kind: str, **members: Any) -> list[Object]:
        """Every object of a kind whose members have these values, oldest first."""
        conditions, values = _conditions(kind, members)
        rows = self._connection.execute(
            f"SELECT body FROM objects WHERE {conditions} ORDER BY number",  # noqa: S608 (names come from our code)
            values,
        )
        return [orjson.loads(row[0]) for row in rows]

    def exists(self, kind: str, **members: Any) -> bool:
        """Whether any object of a kind has these values."""
        conditions, values = _conditions(kind, members)
        statement = f"SELECT EXISTS (SELECT 1 FROM objects WHERE {conditions})"  # noqa: S608 (as above)
        return bool(self._connection.execute(statement, values).fetchone()[0])

    def page(
        self, kind: str, part: Slice, members: dict[str, Any], created: dict[str, int]
    ) -> tuple[list[Object], bool]:
        """One slice, newest first, and whether more objects follow it."""
        conditions, values = _conditions(kind, members)
        for bound, second in created.items():
            conditions += f" AND created {_COMPARISONS[bound]} ?"
            values.append(second)
        backwards = part.ending_before is not None
        cursor = part.ending_before or part.starting_after
        if cursor is not None:
            conditions += " AND number > " if backwards else " AND number < "
            conditions += "(SELECT number FROM objects WHERE id = ?)"
            values.append(cursor)
        order = "ASC" if backwards else "DESC"
        rows = self._connection.execute(
            f"SELECT body FROM objects WHERE {conditions} ORDER BY number {order} LIMIT ?",  # noqa: S608 (as above)
            (*values, part.limit + 1),
        ).fetchall()
        found = [orjson.loads(row[0]) for row in rows[: part.limit]]
        return (found[::-1] if backwards else found), len(rows) > part.limit

    def counts(self) -> dict[str, int]:
        """How many objects of each kind there are."""
        return dict(self._connection.execute("SELECT kind, count(*) FROM objects GROUP BY kind ORDER BY kind"))

    def clear(self) -> None:
        """Forget everything."""
        with self.transaction():
            for table in _TABLES:
                self._connection.execute(f"DELETE FROM {table}")  # noqa: S608 (a constant)


_COMPARISONS = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<="}


def _conditions(kind: str, members: dict[str, Any]) -> tuple[str, list[Any]]:
    conditions = ["kind = ?"]
    values: list[Any] = [kind]
    for name, wanted in members.items():
        column = name if name in LINKS else f"body ->> '$.{name}'"
        options = wanted if isinstance(wanted, list) else [wanted]
        operator = "GLOB" if name == "type" else "="
        tests = [f"{column} {operator} ?"] * len(options)
        conditions.append(f"({' OR '.join(tests)})")
        values.extend(options)
    return " AND ".join(conditions), values
