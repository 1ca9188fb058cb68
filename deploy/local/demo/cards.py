"""The main job: money from a card reaches a wallet, once, or not at all."""

import uuid
from typing import Final

import httpx

from deploy.local import stack
from deploy.local.demo import rest
from deploy.local.demo.rest import Json, Person

_FINAL: Final = frozenset({"COMPLETED", "FAILED", "CANCELLED"})


class Cards:
    """One run. Every scene uses REST alone; only the payer's and the provider's parts are played at the sandbox."""

    def __init__(self, client: rest.Client, sandbox: str, *, user: Person, stranger: Person, admin: Person) -> None:
        self._client = client
        self._http = client.http
        self._report = client.report
        self._sandbox = sandbox
        self._user = user
        self._stranger = stranger
        self._admin = admin

    def play(self) -> None:
        """Play every scene in order."""
        self._report.step("A user with a token, and no money yet")
        self._report.note(f"{self._user.id}: {self._user.token[:24]}…")
        self._report.check("the user has no wallet", expected=[], actual=self._client.wallets(self._user))
        payment = self._top_up()
        self._deliver_thrice(payment)
        self._decline()
        self._three_d_secure()
        self._gourdes()
        self._strangers(payment)
        self._analytics()
        self._verify()

    def _top_up(self) -> Json:
        self._report.step("A top-up of 100.00 USD with a good card")
        key = str(uuid.uuid4())
        first = self._pay("100.00", "USD", "pm_card_visa", key=key)
        payment = self._settled(first.json())
        self._report.check("the payment is accepted", expected=201, actual=first.status_code)
        self._report.check("the payment completes", expected="COMPLETED", actual=payment["status"])
        self._report.check(
            "the wallet shows 100.00 USD", expected={"USD": "100.00"}, actual=self._client.balances(self._user)
        )
        transactions = self._transactions("USD")
        self._report.check(
            "it holds one DEPOSIT, linked to the payment",
            expected=[("DEPOSIT", "100.00", payment["id"])],
            actual=[(each["type"], each["amount"], each["paymentId"]) for each in transactions],
        )
        again = self._pay("100.00", "USD", "pm_card_visa", key=key)
        self._report.check(
            "the same call again is called a replay", expected="true", actual=again.headers.get("Idempotency-Replayed")
        )
        self._report.check("its answer is the same, byte for byte", expected=first.content, actual=again.content)
        self._report.check("it moves no money", expected={"USD": "100.00"}, actual=self._client.balances(self._user))
        other = self._pay("100.01", "USD", "pm_card_visa", key=key)
        self._report.check("the key with another amount is refused", expected=422, actual=other.status_code)
        return payment

    def _deliver_thrice(self, payment: Json) -> None:
        self._report.step("The provider delivers its webhook three times more")
        event = self._event(payment["stripePaymentIntentId"])
        self._control("POST", f"events/{event}/deliver", {"times": 3})
        self._report.check(
            "all are delivered", expected=True, actual=self._control("POST", "webhooks/wait", {})["idle"]
        )
        self._report.check(
            "the wallet is unchanged", expected={"USD": "100.00"}, actual=self._client.balances(self._user)
        )
        self._report.check("the payment is unchanged", expected=payment, actual=self._payment(payment["id"]))

    def _decline(self) -> None:
        self._report.step("A card without funds")
        payment = self._settled(self._pay("50.00", "USD", "pm_card_visa_chargeDeclinedInsufficientFunds").json())
        self._report.check(
            "the payment fails and says why",
            expected=("FAILED", "insufficient_funds"),
            actual=(payment["status"], payment["failureCode"]),
        )
        self._report.check("no money moves", expected={"USD": "100.00"}, actual=self._client.balances(self._user))

    def _three_d_secure(self) -> None:
        self._report.step("A card whose bank asks the payer (3-D Secure)")
        payment = self._pay("25.00", "USD", "pm_card_threeDSecure2Required").json()
        action = payment.get("nextAction", {})
        self._report.check(
            "the payment waits for the payer",
            expected=("PROCESSING", "redirect_to_url"),
            actual=(payment["status"], action.get("type")),
        )
        self._report.check("no money moves yet", expected={"USD": "100.00"}, actual=self._client.balances(self._user))
        self._report.note(f"the payer opens {action.get('redirectUrl')} and agrees")
        self._control("POST", f"payment_intents/{payment['stripePaymentIntentId']}/complete", {})
        payment = self._settled(payment)
        self._report.check("the payment completes", expected="COMPLETED", actual=payment["status"])
        self._report.check(
            "the wallet shows 125.00 USD", expected={"USD": "125.00"}, actual=self._client.balances(self._user)
        )

    def _gourdes(self) -> None:
        self._report.step("A payment in gourdes, recorded first and confirmed afterwards")
        body = {"amount": 2500, "method": "STRIPE", "description": "Wallet top-up"}
        created = self._client.call(self._user, "POST", "/payments", body).json()
        self._report.check(
            "it is recorded, in HTG by default",
            expected=("PENDING", "2500.00", "HTG"),
            actual=(created["status"], created["amount"], created["currency"]),
        )
        confirmed = self._client.call(
            self._user, "POST", f"/payments/{created['id']}/confirm", {"paymentMethodId": "pm_card_visa"}
        )
        payment = self._settled(confirmed.json())
        self._report.check("the payment completes", expected="COMPLETED", actual=payment["status"])
        self._report.check(
            "there is a wallet of its own for HTG",
            expected={"HTG": "2500.00", "USD": "125.00"},
            actual=self._client.balances(self._user),
        )

    def _strangers(self, payment: Json) -> None:
        self._report.step("Somebody else")
        path = f"/payments/{payment['id']}"
        statuses = [
            self._client.call(self._stranger, "GET", path).status_code,
            self._client.call(self._stranger, "GET", f"/payments/user/{self._user.id}").status_code,
            self._client.call(self._user, "DELETE", path).status_code,
            self._http.get(self._client.url + path).status_code,
        ]
        self._report.check(
            "another user finds nothing, may not ask, nobody but admins deletes, nobody comes in without a token",
            expected=[404, 403, 403, 401],
            actual=statuses,
        )

    def _analytics(self) -> None:
        self._report.step("An admin looks at the figures")
        total = self._client.call(self._admin, "GET", "/payments/analytics?groupBy=DAY").json()["total"]
        self._report.check(
            "payments are counted by status",
            expected={"COMPLETED": 3, "FAILED": 1},
            actual={each["status"]: each["count"] for each in total["statuses"]},
        )
        self._report.check(
            "volumes are summed per currency, never across",
            expected={"HTG": "2500.00", "USD": "125.00"},
            actual={each["currency"]: each["amount"] for each in total["volumes"]},
        )

    def _verify(self) -> None:
        self._report.step("The books")
        ledger = self._client.call(self._admin, "GET", "/ledger/verify").json()
        self._report.check("the ledger is balanced", expected=(True, []), actual=(ledger["balanced"], ledger["breaks"]))
        owed = {each["currency"]: each["userBalance"] for each in ledger["totals"]}
        self._report.check("it owes users what they paid in", expected={"HTG": "2500.00", "USD": "125.00"}, actual=owed)
        movements = self._control("GET", "ledger")["movements"]
        collected = sum(each["amount"] for each in movements if each["kind"] == "charge" and each["currency"] == "usd")
        self._report.check("the provider collected the same", expected=12500, actual=collected)

    def _pay(self, amount: str, currency: str, card: str, *, key: str | None = None) -> httpx.Response:
        body = {"amount": amount, "currency": currency, "paymentMethodId": card, "description": "Wallet deposit"}
        return self._client.call(self._user, "POST", "/payments/stripe/process", body, key=key)

    def _settled(self, payment: Json) -> Json:
        """Wait until the payment has reached its end; a payment that does not is returned as it is."""
        return rest.waited(lambda: self._payment(payment["id"]), lambda seen: seen.get("status") in _FINAL)

    def _payment(self, payment_id: str) -> Json:
        return self._client.look(self._user, f"/payments/{payment_id}")

    def _transactions(self, currency: str) -> list[Json]:
        path = f"/wallets/{self._client.wallet(self._user, currency)['id']}/transactions"
        transactions: list[Json] = self._client.call(self._user, "GET", path).json()["transactions"]
        return transactions

    def _event(self, intent: str) -> str:
        """Return the id of the provider's event that an intent succeeded."""
        query = {"type": "payment_intent.succeeded", "limit": "100"}
        headers = {"Authorization": f"Bearer {stack.SANDBOX_KEY}"}
        listed = self._http.get(f"{self._sandbox}/v1/events", params=query, headers=headers).json()["data"]
        return next(str(event["id"]) for event in listed if event["data"]["object"]["id"] == intent)

    def _control(self, method: str, path: str, body: Json | None = None) -> Json:
        answer: Json = self._http.request(method, f"{self._sandbox}/_sandbox/{path}", json=body).json()
        return answer
