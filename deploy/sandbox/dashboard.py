"""The page at `/`: what the sandbox holds, for people."""

import html
from collections.abc import Iterable

from deploy.sandbox import deliveries, ledger
from deploy.sandbox.engine import Engine
from deploy.sandbox.store import Slice

_NEWEST = 20
_COLUMNS = ("id", "amount", "currency", "status", "type", "email", "url", "created")
_KINDS = ("payment_intent", "charge", "refund", "dispute", "customer", "setup_intent", "webhook_endpoint", "event")


def render(engine: Engine) -> str:
    """The whole page; everything that came from outside is escaped."""
    store = engine.state.store
    sections = [
        _table("Ledger, per currency in minor units", *_ledger(engine)),
        _table("Objects", ("kind", "count"), store.counts().items()),
        _table("Webhook deliveries", ("status", "count"), deliveries.counts(engine.state).items()),
        _table("Faults", ("id", "kind", "method", "path", "count", "hits"), _faults(engine)),
    ]
    for kind in _KINDS:
        items, _ = store.page(kind, Slice(limit=_NEWEST), {}, {})
        columns = [name for name in _COLUMNS if any(item.get(name) is not None for item in items)]
        rows = [[item.get(name, "") for name in columns] for item in items]
        sections.append(_table(f"Newest: {kind}", columns, rows))
    return _PAGE.format(sections="\n".join(sections))


def _ledger(engine: Engine) -> tuple[tuple[str, ...], list[list[object]]]:
    columns = (*ledger.KINDS, "net", "count")
    totals = ledger.totals(engine.state)
    rows: list[list[object]] = [[code, *(total[name] for name in columns)] for code, total in totals.items()]
    return ("currency", *columns), rows


def _faults(engine: Engine) -> list[list[object]]:
    names = ("id", "kind", "method", "path", "count", "hits")
    return [[fault[name] for name in names] for fault in engine.faults.show()]


def _table(title: str, columns: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    head = "".join(f"<th>{html.escape(column)}</th>" for column in columns)
    lines = ["".join(f"<td>{html.escape(str(cell))}</td>" for cell in row) for row in rows]
    body = "".join(f"<tr>{line}</tr>" for line in lines) or "<tr><td>none</td></tr>"
    return f"<h2>{html.escape(title)}</h2><table><tr>{head}</tr>{body}</table>"


_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Stripe sandbox</title>
<style>
body {{ font: 0.9rem sans-serif; margin: 2rem; color: #222 }}
table {{ border-collapse: collapse }}
td, th {{ text-align: left; padding: 0.2rem 0.8rem 0.2rem 0; border-bottom: 1px solid #ddd }}
</style>
<h1>Stripe sandbox</h1>
{sections}
</html>
"""
