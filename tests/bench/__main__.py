"""`python -m tests.bench`: every measurement, as a table and in build/bench.json; exit 1 if a target is missed."""

import asyncio
import sys
from pathlib import Path
from typing import Any, Final

import orjson
import rich.console
import rich.table

from tests.bench import gateway, ledger, payments

RESULT: Final = Path("build/bench.json")
COLUMNS: Final = ("name", "value", "unit", "baseline", "ratio", "target")


def main() -> int:
    """Measure one part after the other; what of the names on the command line, or all."""
    parts = {"gateway": gateway.run, "ledger": ledger.run, "payments": payments.run}
    rows: list[dict[str, Any]] = []
    for name in sys.argv[1:] or parts:
        rows += asyncio.run(parts[name]())
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_bytes(orjson.dumps(rows, option=orjson.OPT_INDENT_2))
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
