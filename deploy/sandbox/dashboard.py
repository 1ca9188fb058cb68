"""The page at `/`: the sandbox's payments, for people, with buttons for the next steps."""

import datetime
import html
from collections.abc import Iterable

from deploy.sandbox import currencies, deliveries, ledger
from deploy.sandbox.engine import Engine
from deploy.sandbox.store import Object, Slice

_NEWEST = 20
_COLUMNS = ("id", "amount", "status", "type", "email", "url", "created")
_KINDS = ("payment_intent", "charge", "refund", "dispute", "customer", "setup_intent", "webhook_endpoint", "event")
_ACTIONS = {
    ("payment_intent", "requires_action"): ("complete", "fail"),
    ("payment_intent", "processing"): ("complete", "fail"),
    ("payment_intent", "requires_capture"): ("expire",),
    ("setup_intent", "requires_action"): ("complete", "fail"),
    ("refund", "pending"): ("complete", "fail"),
    ("refund", "succeeded"): ("fail",),
    ("dispute", "needs_response"): ("won", "lost"),
    ("dispute", "under_review"): ("won", "lost"),
    ("dispute", "warning_needs_response"): ("escalate", "warning_closed"),
    ("dispute", "warning_under_review"): ("escalate", "warning_closed"),
}
"""The controls that stand for the payer and the bank, by what they wait for."""


def render(engine: Engine) -> str:
    """The whole page; everything that came from outside is escaped."""
    store = engine.state.store
    sections = [
        _table("Ledger", *_ledger(engine)),
        _table("Objects", ("kind", "count"), _escaped(store.counts().items())),
        _table("Webhook deliveries", ("status", "count"), _escaped(deliveries.counts(engine.state).items())),
        _table("Faults", ("id", "kind", "method", "path", "count", "hits"), _escaped(_faults(engine))),
    ]
    for kind in _KINDS:
        items, _ = store.page(kind, Slice(limit=_NEWEST), {}, {})
        columns = [name for name in _COLUMNS if any(item.get(name) is not None for item in items)]
        rows = [[*(_cell(item, name) for name in columns), _buttons(item)] for item in items]
        sections.append(_table(f"Newest: {kind}", [*columns, ""] if items else (), rows))
    return _PAGE.format(sections="\n".join(sections))


def _ledger(engine: Engine) -> tuple[tuple[str, ...], list[list[str]]]:
    columns = (*ledger.KINDS, "net")
    rows = [
        [*(currencies.written(total[name], code) for name in columns), str(total["count"])]
        for code, total in ledger.totals(engine.state).items()
    ]
    return (*columns, "movements"), rows


def _faults(engine: Engine) -> list[list[object]]:
    names = ("id", "kind", "method", "path", "count", "hits")
    return [[fault[name] for name in names] for fault in engine.faults.show()]


def _cell(item: Object, name: str) -> str:
    value = item.get(name)
    if value is None:
        return ""
    if name == "id":
        identifier = html.escape(str(value))
        return f'<a href="/_sandbox/objects/{identifier}">{identifier}</a>'
    if name == "amount":
        return html.escape(currencies.written(value, item["currency"]))
    if name == "created":
        return f"{datetime.datetime.fromtimestamp(value, datetime.UTC):%Y-%m-%d %H:%M:%S}"
    return html.escape(str(value))


def _buttons(item: Object) -> str:
    kind, identifier = item["object"], html.escape(item["id"])
    actions = [(name, f"{kind}s/{identifier}/{name}") for name in _ACTIONS.get((kind, item.get("status", "")), ())]
    if kind == "charge" and item["captured"] and not item["disputed"]:
        actions.append(("dispute", f"charges/{identifier}/dispute"))
    if kind == "event":
        actions.append(("deliver again", f"events/{identifier}/deliver"))
    forms = (f'<form method="post" action="/_sandbox/{path}"><button>{name}</button></form>' for name, path in actions)
    return "".join(forms)


def _escaped(rows: Iterable[Iterable[object]]) -> list[list[str]]:
    return [[html.escape(str(cell)) for cell in row] for row in rows]


def _table(title: str, columns: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = "".join(f"<th>{html.escape(column)}</th>" for column in columns)
    lines = ["".join(f"<td>{cell}</td>" for cell in row) for row in rows]
    body = "".join(f"<tr>{line}</tr>" for line in lines) or "<tr><td>none</td></tr>"
    return f"<h2>{html.escape(title)}</h2><table><tr>{head}</tr>{body}</table>"


_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Stripe sandbox</title>
<style>
body {{ font: 0.9rem sans-serif; margin: 2rem; color: #222 }}
table {{ border-collapse: collapse }}
td, th {{ text-align: left; padding: 0.2rem 0.8rem 0.2rem 0; border-bottom: 1px solid #ddd }}
form {{ display: inline }}
</style>
<h1>Stripe sandbox</h1>
<p>Times are UTC. The controls behind the buttons, and more: <a href="/_sandbox">/_sandbox</a>.</p>
{sections}
</html>
"""
