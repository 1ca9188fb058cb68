"""What a person who has just started the system wants to know: addresses, tokens, and a call to copy."""

import json
import shlex
from pathlib import Path
from typing import Final

import rich.console
import rich.table

from deploy.local import stack

_PEOPLE: Final = {
    "USER": ("user-1", "user"),
    "USER_2": ("user-2", "user"),
    "MERCHANT": ("merchant-1", "merchant"),
    "SUPPORT": ("support-1", "support"),
    "FINANCE": ("finance-1", "finance"),
    "ADMIN": ("admin-1", "admin"),
}


def show(console: rich.console.Console, running: stack.Stack, folder: Path) -> None:
    """Print where everything is."""
    console.print(_addresses(running))
    path = folder / "tokens.env"
    path.touch(mode=0o600)
    path.write_text(exports(running))
    people = ", ".join(subject for subject, _ in _PEOPLE.values())
    console.print(
        f"Tokens of {people}, good for a day, are in .data/tokens.env, with these addresses.", highlight=False
    )
    console.print("For another: make token ROLE=user SUBJECT=user-3", highlight=False)
    console.print("\nTry:")
    console.print(_example(running), highlight=False, markup=False)
    console.print(f"\nLogs are in {folder / 'logs'}. Ctrl-C stops everything; the data stays.", highlight=False)


def exports(running: stack.Stack) -> str:
    """Return what a shell reads to call the system: addresses, a token for each person, the ledger's database."""
    values = {"API": running.gateway_url, "PAYMENTS": running.payments_target, "WALLETS": running.wallets_target}
    if running.sandbox_url:
        values["SANDBOX"] = running.sandbox_url
    values |= {f"{name}_TOKEN": running.identity.token(*person) for name, person in _PEOPLE.items()}
    # Not named as the processes name it: the next `make run` in this shell would take that for a database of yours.
    values["LEDGER_URL"] = running.wallets_database_url
    return "".join(f"export {name}={shlex.quote(value)}\n" for name, value in values.items())


def _addresses(running: stack.Stack) -> rich.table.Table:
    table = rich.table.Table(title="KobKlein is up")
    table.add_column("what")
    table.add_column("where", no_wrap=True)
    table.add_row("REST API", running.gateway_url)
    table.add_row("API reference", f"{running.gateway_url}/docs")
    table.add_row("payments, gRPC", running.payments_target)
    table.add_row("wallets, gRPC", running.wallets_target)
    table.add_row("Stripe", running.sandbox_url or "the real one, with your key")
    for name, url in running.metrics_urls.items():
        table.add_row(f"metrics of {name}", url)
    return table


def _example(running: stack.Stack) -> str:
    card = "pm_card_visa" if running.sandbox_url else "<a PaymentMethod of your account>"
    body = json.dumps({"amount": "100.00", "currency": "USD", "paymentMethodId": card})
    return (
        "  source .data/tokens.env\n"
        "  curl $API/payments/stripe/process \\\n"
        '    -H "Authorization: Bearer $USER_TOKEN" -H "Idempotency-Key: $(date +%s%N)" \\\n'
        "    -H 'Content-Type: application/json' \\\n"
        f"    -d '{body}'"
    )
