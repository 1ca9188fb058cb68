"""One id leads through the logs of all processes, from a request to its last effect."""

import uuid
from pathlib import Path

from tests.e2e import system

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def awaited(log: Path, *words: str) -> None:
    """Wait for a line of a log that has all these words in it."""

    def written() -> bool:
        return any(all(word in line for word in words) for line in log.read_text().splitlines())

    system.until(written, what=f"a line with {words} in {log.name}", seconds=10)


def test_the_id_of_a_card_payment_leads_to_its_deposit_in_the_ledger(client: system.Client, logs: Path) -> None:
    token, id_ = client.token("user-traced", "user"), "trace-me-1"
    paid = client.call(
        "POST",
        "/payments/stripe/process",
        token=token,
        key=str(uuid.uuid4()),
        headers={"X-Request-Id": id_, "traceparent": TRACEPARENT},
        json={"amount": "10.00", "currency": "USD", "paymentMethodId": "pm_card_visa"},
    )
    payment = client.settled(token, paid.json()["id"])
    assert paid.headers["x-request-id"] == id_
    awaited(logs / "gateway.log", f"request_id={id_}", "/payments/stripe/process")
    awaited(logs / "payments.log", f"request_id={id_}", "ProcessStripePayment", TRACEPARENT)
    awaited(logs / "payments.log", f"request_id={id_}", "step taken", payment["id"])
    awaited(logs / "payments.log", f"request_id={id_}", "settled", payment["id"])
    awaited(logs / "wallets.log", f"request_id={id_}", "PostTransfers", TRACEPARENT)


def test_work_that_no_request_waits_for_goes_by_the_id_of_its_payment(client: system.Client, logs: Path) -> None:
    token = client.token("user-traced", "user")
    paid = client.pay(token, paymentMethodId="pm_card_threeDSecure2Required").json()
    client.sandbox("POST", f"payment_intents/{paid['stripePaymentIntentId']}/complete")
    payment = client.settled(token, paid["id"])
    assert payment["status"] == "COMPLETED"
    awaited(logs / "payments.log", f"request_id={payment['id']}", "step taken")
    awaited(logs / "wallets.log", payment["id"], "PostTransfers", "request_id=")
