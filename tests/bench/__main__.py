"""`python -m tests.bench`: every measurement, as a table and in build/bench.json; exit 1 if a target is missed."""

import logging
import sys
from pathlib import Path
from typing import Any, Final

import orjson
import rich.console
import rich.table
import structlog
import uvloop

from tests.bench import gateway, input, overload, payments, watches  # noqa: A004  # input is what clients send
from tests.bench.ledger import limit, proof, replicas, scale, throughput

RESULT: Final = Path("build/bench.json")
COLUMNS: Final = ("name", "value", "unit", "baseline", "ratio", "target")
PARTS: Final = {
    "gateway": gateway.run,
    "input": input.run,
    "ledger.throughput": throughput.run,
    "ledger.limit": limit.run,
    "ledger.replicas": replicas.run,
    "ledger.scale": scale.run,
    "ledger.proof": proof.run,
    "payments": payments.run,
    "overload": overload.run,
    "watches": watches.run,
}


def main() -> int:
    """Measure one part after the other: all, or those whose names begin with a word on the command line."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    RESULT.parent.mkdir(exist_ok=True)
    rows: list[dict[str, Any]] = []
    for name, measure in PARTS.items():
        if name.startswith(tuple(sys.argv[1:] or ("",))):
            rows += uvloop.run(measure())
            RESULT.write_bytes(orjson.dumps(rows, option=orjson.OPT_INDENT_2))  # Kept, should a later part fail.
    table = rich.table.Table(title="measured on this machine, against a baseline of the same run")
    for column in (*COLUMNS, "met"):
        table.add_column(column, justify="left" if column == "name" else "right")
    for row in rows:
        values = ("" if row[column] is None else str(row[column]) for column in COLUMNS)
        table.add_row(*values, "yes" if row["met"] else "[red]NO[/red]")
    rich.console.Console().print(table)
    return 0 if all(row["met"] for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
