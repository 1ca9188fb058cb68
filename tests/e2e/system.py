"""A client of the whole system, and the comparison of its three ledgers: the provider's, the payments, the wallets."""

import collections
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import httpx
import psycopg

from deploy.local import stack as local

PATIENCE_SECONDS = 90
Json = dict[str, Any]


def environment(revocations: Path) -> dict[str, str]:
    """Return the environment of the processes under test: generous budgets, short patience, no revocations."""
    if not revocations.exists():
        revocations.write_text("{}")
    told = {
        "PAYMENTS_MONEY_PATH__PROVIDER_SECONDS": "3",
        "PAYMENTS_MONEY_PATH__LEASE_SECONDS": "4",
        "PAYMENTS_MONEY_PATH__PROVIDER_SCHEDULE": "[0.5, 1.0, 2.0]",
        "PAYMENTS_INBOX__RETRY_SCHEDULE": "[0.5, 1.0, 2.0]",
    }
    for prefix in ("PAYMENTS_", "WALLETS_", "GATEWAY_"):
        told[f"{prefix}AUTH__REVOCATIONS_FILE"] = str(revocations)
        told |= {f"{prefix}RATES__{name}": "1000000/minute" for name in ("READ", "WRITE", "PAYMENT", "REPORT")}
    told["GATEWAY_RATES__FAILURES"] = "1000000/minute"
    return told


def until(condition: Callable[[], bool], *, what: str, seconds: float = PATIENCE_SECONDS) -> None:
    """Wait for a condition; fail when it does not come true."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not happen within {seconds} s")
        time.sleep(0.05)


class Client:
    """Calls REST as anybody, and the sandbox's controls."""

    def __init__(self, stack: local.Stack) -> None:
        self.stack = stack
        self.http = httpx.Client(base_url=stack.gateway_url, timeout=30)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()

    def token(self, subject: str, *roles: str) -> str:
        return self.stack.identity.token(subject, *roles)

    def call(self, method: str, path: str, *, token: str = "", key: str = "", **arguments: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        if key:
            headers["Idempotency-Key"] = key
        return self.http.request(method, path, headers=headers | arguments.pop("headers", {}), **arguments)

    def pay(self, token: str, *, key: str = "", **body: Any) -> httpx.Response:
        """Pay by card; a provider that did not answer in time is 503, and is asked again with the same key."""
        body, answers = {"amount": "10.00", "currency": "USD", "paymentMethodId": "pm_card_visa"} | body, []
        key = key or str(uuid.uuid4())

        def answered() -> bool:
            answers.append(self.call("POST", "/payments/stripe/process", token=token, key=key, json=body))
            return answers[-1].status_code != 503

        until(answered, what="the answer to a payment")
        return answers[-1]

    def payment(self, token: str, payment_id: str) -> Json:
        answer: Json = self.call("GET", f"/payments/{payment_id}", token=token).json()
        return answer

    def settled(self, token: str, payment_id: str) -> Json:
        """Return the payment once it has reached its end."""
        until(lambda: self.payment(token, payment_id)["status"] in ENDS, what=f"the end of payment {payment_id}")
        return self.payment(token, payment_id)

    def balances(self, token: str, user: str) -> dict[str, str]:
        wallets = self.call("GET", f"/wallets/user/{user}", token=token).json()["wallets"]
        return {wallet["currency"]: wallet["balance"] for wallet in wallets}

    def sandbox(self, method: str, path: str, body: Json | None = None) -> Json:
        answer = httpx.request(method, f"{self.stack.sandbox_url}/_sandbox/{path}", json=body, timeout=60)
        answer.raise_for_status()
        found: Json = answer.json()
        return found


ENDS = frozenset({"COMPLETED", "FAILED", "CANCELLED", "REFUNDED"})


def rows(url: str, query: str) -> list[tuple[Any, ...]]:
    """Return what a query finds."""
    with psycopg.connect(url) as connection:
        return connection.execute(query.encode()).fetchall()


def assert_the_ledgers_agree(client: Client) -> None:
    """Check to the cent that what the provider collected is what payments completed and what wallets were credited.

    I1 to I3 by the ledger's own verification, I7 and I8 by comparing the three, I12 by there being nothing unfinished.
    """
    stack = client.stack
    unfinished = (
        "SELECT count(*) FROM payments WHERE status = 'PROCESSING' AND step IS NOT NULL AND next_action IS NULL"
    )
    until(lambda: rows(stack.payments_database_url, unfinished) == [(0,)], what="the end of every payment")
    collected: collections.Counter[tuple[str, int, str]] = collections.Counter(
        (movement["payment_intent"], movement["amount"], movement["currency"].upper())
        for movement in client.sandbox("GET", "ledger")["movements"]
        if movement["kind"] == "charge"
    )
    completed = rows(
        stack.payments_database_url,
        "SELECT stripe_payment_intent_id, amount, currency FROM payments WHERE status IN ('COMPLETED', 'REFUNDED')",
    )
    assert collected == collections.Counter(completed)
    paid = rows(
        stack.payments_database_url,
        "SELECT id::text, user_id, amount, currency FROM payments WHERE status IN ('COMPLETED', 'REFUNDED')",
    )
    credited = rows(
        stack.wallets_database_url,
        "SELECT t.payment_id::text, replace(a.address, 'user/', ''), t.amount, t.currency"
        " FROM transfers t JOIN accounts a ON a.id = t.credit_account_id WHERE t.type = 'DEPOSIT'",
    )
    assert collections.Counter(credited) == collections.Counter(paid)
    cleared = rows(
        stack.wallets_database_url,
        "SELECT currency, -balance FROM accounts WHERE address = 'provider/stripe' AND balance <> 0",
    )
    net = collections.Counter[str]()
    for _, amount, currency in collected.elements():
        net[currency] += amount
    assert dict(cleared) == net
    report = verified(client)
    assert (report["balanced"], report["breaks"]) == (True, [])


def verified(client: Client) -> Json:
    """Return the ledger's report on itself; a gateway that is still reconnecting says 503, and is asked again."""
    token, reports = client.token("admin-1", "admin"), []

    def asked() -> bool:
        answer = client.call("GET", "/ledger/verify", token=token)
        assert answer.status_code in (200, 503), answer.text
        reports.append(answer.json())
        return answer.status_code == 200

    until(asked, what="the verification of the ledger")
    report: Json = reports[-1]
    return report
