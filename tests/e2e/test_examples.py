"""The examples of the documentation, sent as they stand to a running system, succeed."""

import json
import uuid
from typing import Any

import pytest

from tests.e2e import system

JSON = "application/json"
SIGNED = {"ReceiveStripeWebhook"}
"""Only the provider has the key of its signature."""


class Documentation:
    """Sends the example of an operation as the page at /docs does, with the ids that its path needs."""

    def __init__(self, client: system.Client) -> None:
        self._client = client
        self._operations = {
            operation["operationId"]: (method.upper(), path, operation)
            for path, item in client.http.get("/openapi.json").json()["paths"].items()
            for method, operation in item.items()
        }
        self.left = set(self._operations) - SIGNED

    def send(self, operation_id: str, token: str, **variables: str) -> Any:
        """Return the answer to an example, of a stream its first message; fail unless it is the promised success."""
        method, path, operation = self._operations[operation_id]
        self.left.discard(operation_id)
        shown = {(one["in"], one["name"]): one["example"] for one in operation["parameters"] if "example" in one}
        places = {name: variables.get(name, value) for (where, name), value in shown.items() if where == "path"}
        body = operation["requestBody"]["content"][JSON]["example"] if "requestBody" in operation else None
        with self._client.http.stream(
            method,
            path.format(**places),
            params={name: value for (where, name), value in shown.items() if where == "query" and value},
            headers={"Authorization": f"Bearer {token}", "Idempotency-Key": str(uuid.uuid4())},
            json=body,
        ) as answer:
            text = next(answer.iter_lines(), "") if "watch" in path else answer.read().decode()
        promised = [status for status in operation["responses"] if status.startswith("2")]
        assert str(answer.status_code) == promised[0], f"{operation_id} {body}: {text}"
        return json.loads(text) if "json" in answer.headers.get("content-type", "") else text


@pytest.fixture
def documentation(client: system.Client) -> Documentation:
    return Documentation(client)


def test_every_example_of_the_documentation_succeeds(client: system.Client, documentation: Documentation) -> None:
    send, user, admin = documentation.send, client.token("user-1", "user"), client.token("admin-1", "admin")
    payment = send("ProcessStripePayment", user)
    assert (payment["status"], payment["userId"], payment["amount"]) == ("COMPLETED", "user-1", "100.00")
    send_payments(documentation, user, admin)
    payee = client.token("user-2", "user")
    client.pay(payee)
    hold, transfer = send("CreateHold", user), send("CreateTransfer", user)
    for operation_id in ("GetHold", "PostHold"):
        send(operation_id, payee, id=hold["id"])
    send("VoidHold", payee, id=send("CreateHold", user)["id"])
    send("ListHolds", user)
    send("GetTransfer", user, id=transfer["id"])
    send_conversions(documentation, user, admin)
    send("ReverseTransaction", admin, id=transfer["id"])
    send_wallets(documentation, user, admin)
    send_ledger(documentation, admin)
    send_accounts(client, documentation, admin)
    assert documentation.left == set()


def send_payments(documentation: Documentation, user: str, admin: str) -> None:
    send = documentation.send
    created = send("CreatePayment", user)
    send("UpdatePayment", user, id=created["id"])
    assert send("ConfirmPayment", user, id=created["id"])["status"] == "COMPLETED"
    for operation_id in ("GetPayment", "WatchPayment"):
        assert send(operation_id, user, id=created["id"])["id"] == created["id"]
    assert send("ListPaymentChanges", user, id=created["id"])["changes"]
    send("ListProviderEvents", admin)
    for operation_id in ("ListPayments", "ListPaymentsViaUser"):
        assert created["id"] in {each["id"] for each in send(operation_id, user)["payments"]}
    assert send("GetPaymentAnalytics", admin)["total"]["count"] >= 2
    send("DeletePayment", admin, id=send("CreatePayment", user)["id"])


def send_conversions(documentation: Documentation, user: str, admin: str) -> None:
    send = documentation.send
    send("SetRate", admin)
    send("ListRates", user)
    quote = send("CreateQuote", user)
    assert send("GetQuote", user, id=quote["id"])["status"] == "OPEN"
    assert send("AcceptQuote", user, id=quote["id"])["buy"] == {"amount": "5172.54", "currency": "HTG"}
    send("DeleteRate", admin)
    send("SetFee", admin)
    send("ListFees", user)
    send("DeleteFee", admin)


def send_wallets(documentation: Documentation, user: str, admin: str) -> None:
    send = documentation.send
    wallet = next(each for each in send("ListUserWallets", user)["wallets"] if each["currency"] == "USD")
    send("ListWallets", admin)
    assert "USD" in str(send("ListCurrencies", user))
    for operation_id in ("GetWallet", "GetBalance", "GetStatement", "ExportStatement"):
        send(operation_id, user, id=wallet["id"])
    for operation_id in ("GetBalance", "GetStatement", "ExportStatement", "ListWalletTransactions"):
        send(f"{operation_id}ViaAccounts", admin, id=wallet["id"])
    (*_, latest) = send("ListWalletTransactions", user, id=wallet["id"])["transactions"]
    send("GetTransaction", user, id=latest["id"])
    assert set(send("WatchWalletTransactions", user, id=wallet["id"])) == {"cursor"}


def send_ledger(documentation: Documentation, admin: str) -> None:
    send = documentation.send
    (result,) = send("PostTransfers", admin)["results"]
    assert send("GetLedgerTransfer", admin, id=result["transfer"]["id"]) == result["transfer"]
    assert set(send("WatchTransfers", admin)) == {"cursor"}
    assert send("VerifyLedger", admin)["balanced"]
    for operation_id in ("GetTrialBalance", "GetLedgerHead", "ListAuditEntries"):
        send(operation_id, admin)


def send_accounts(client: system.Client, documentation: Documentation, admin: str) -> None:
    """Send what would hinder other tests for accounts of their own, and take back what holds for all."""
    send = documentation.send
    send("SetCurrencyLimits", admin)
    send("ListCurrencyLimits", admin)
    assert client.call("PUT", "/limits/USD", token=admin, json={"limits": {}, "reason": "shown"}).status_code == 200
    opened = send("CreateWallet", client.token("user-closed", "user"))
    send("CloseAccount", admin, id=opened["id"])
    client.pay(client.token("user-frozen", "user"))
    (account,) = client.call("GET", "/accounts?addressPrefix=user/user-frozen", token=admin).json()["accounts"]
    send("ListAccounts", admin)
    for operation_id in ("GetAccount", "UpdateAccount", "FreezeAccount", "UnfreezeAccount"):
        send(operation_id, admin, id=account["id"])
