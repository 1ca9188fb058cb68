"""What a person who has just started the system wants to know: addresses, tokens, and a call to copy."""

import json
import shlex
from pathlib import Path
from typing import Final

import rich.console
import rich.table

from deploy.local import stack

_PEOPLE: Final = {"user": "user-1", "support": "support-1", "finance": "finance-1", "admin": "admin-1"}


def show(console: rich.console.Console, running: stack.Stack, folder: Path) -> None:
    """Print where everything is."""
    console.print(_addresses(running))
    console.print("Tokens, good for a day (also in [bold].data/tokens.env[/bold]):")
    for role, token in _tokens(running).items():
        console.print(f"  export {role}_TOKEN={token}", highlight=False, markup=False)
    path = folder / "tokens.env"
    path.touch(mode=0o600)
    path.write_text(exports(running))
    console.print("\nTry:")
    console.print(_example(running), highlight=False, markup=False)
    console.print(f"\nLogs are in {folder / 'logs'}. Ctrl-C stops everything; the data stays.", highlight=False)


def exports(running: stack.Stack) -> str:
    """Return what a shell reads to call the system: a token for each role, and the URL of the ledger's database."""
    lines = [f"export {role}_TOKEN={token}\n" for role, token in _tokens(running).items()]
    # Not named as the processes name it: the next `make run` in this shell would take that for a database of yours.
    return "".join(lines) + f"export LEDGER_URL={shlex.quote(running.wallets_database_url)}\n"


def _tokens(running: stack.Stack) -> dict[str, str]:
    return {role.upper(): running.identity.token(subject, role) for role, subject in _PEOPLE.items()}


def _addresses(running: stack.Stack) -> rich.table.Table:
    table = rich.table.Table(title="KobKlein is up")
    table.add_column("what")
    table.add_column("where", no_wrap=True)
    table.add_row("REST API", running.gateway_url)
    table.add_row("API reference", f"{running.gateway_url}/docs")
    table.add_row("payments, gRPC", running.payments_target)
    table.add_row("wallets, gRPC", running.wallets_target)
    table.add_row("Stripe", running.sandbox_url or "the real one, with your key")
    return table


def _example(running: stack.Stack) -> str:
    card = "pm_card_visa" if running.sandbox_url else "<a PaymentMethod of your account>"
    body = json.dumps({"amount": "100.00", "currency": "USD", "paymentMethodId": card})
    return (
        "  source .data/tokens.env\n"
        f"  curl {running.gateway_url}/payments/stripe/process \\\n"
        '    -H "Authorization: Bearer $USER_TOKEN" -H "Idempotency-Key: $(date +%s%N)" \\\n'
        "    -H 'Content-Type: application/json' \\\n"
        f"    -d '{body}'"
    )
