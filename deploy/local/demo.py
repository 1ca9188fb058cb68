"""The main job, played through the public REST API: money from a card reaches a wallet, once, or not at all."""

import time
import uuid
from typing import Any, Final

import httpx

from deploy.local import checks, stack

_PATIENCE_SECONDS: Final = 30
_FINAL: Final = frozenset({"COMPLETED", "FAILED", "CANCELLED"})
Json = dict[str, Any]


def play(running: stack.Stack, report: checks.Report) -> None:
    """Play every scene; what does not hold is in the report."""
    with httpx.Client(timeout=30) as http:
        Demo(running, report, http).play()


class Demo:
    """One run. Every scene uses REST alone; only the payer's and the provider's parts are played at the sandbox."""

    def __init__(self, running: stack.Stack, report: checks.Report, http: httpx.Client) -> None:
        if running.sandbox_url is None:
            raise ValueError("the demo plays with test cards; unset STRIPE_SECRET_KEY")
        self._gateway = running.gateway_url
        self._sandbox = running.sandbox_url
        self._report = report
        self._http = http
        self._user = f"user-{uuid.uuid4().hex[:8]}"
        self._token = running.identity.token(self._user, "user")
        self._stranger = running.identity.token(f"user-{uuid.uuid4().hex[:8]}", "user")
        self._admin = running.identity.token("admin-1", "admin")

    def play(self) -> None:
        """Play every scene in order."""
        self._report.step("A user with a token, and no money yet")
        self._report.note(f"{self._user}: {self._token[:24]}…")
        self._report.check("the user has no wallet", expected=[], actual=self._wallets())
        try:
            payment = self._top_up()
            self._deliver_thrice(payment)
            self._decline()
            self._three_d_secure()
            self._gourdes()
            self._strangers(payment)
            self._analytics()
            self._verify()
        except (
            KeyError,
            ValueError,
            StopIteration,
            httpx.HTTPError,
        ) as error:  # An answer that no scene can go on from.
            self._report.check("the story goes on", expected="an answer with what it needs", actual=repr(error))

    def _top_up(self) -> Json:
        self._report.step("A top-up of 100.00 USD with a good card")
        key = str(uuid.uuid4())
        first = self._pay("100.00", "USD", "pm_card_visa", key=key)
        payment = self._settled(first.json())
        self._report.check("the payment is accepted", expected=201, actual=first.status_code)
        self._report.check("the payment completes", expected="COMPLETED", actual=payment["status"])
        self._report.check("the wallet shows 100.00 USD", expected={"USD": "100.00"}, actual=self._balances())
        transactions = self._transactions("USD")
        self._report.check(
            "it holds one DEPOSIT, linked to the payment",
            expected=[("DEPOSIT", "100.00", payment["id"])],
            actual=[(each["type"], each["amount"], each["paymentId"]) for each in transactions],
        )
        again = self._pay("100.00", "USD", "pm_card_visa", key=key)
        self._report.check("the same call again is called a replay", expected="true", actual=_replayed(again))
        self._report.check("its answer is the same, byte for byte", expected=first.content, actual=again.content)
        self._report.check("it moves no money", expected={"USD": "100.00"}, actual=self._balances())
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
        self._report.check("the wallet is unchanged", expected={"USD": "100.00"}, actual=self._balances())
        self._report.check("the payment is unchanged", expected=payment, actual=self._payment(payment["id"]))

    def _decline(self) -> None:
        self._report.step("A card without funds")
        payment = self._settled(self._pay("50.00", "USD", "pm_card_visa_chargeDeclinedInsufficientFunds").json())
        self._report.check(
            "the payment fails and says why",
            expected=("FAILED", "insufficient_funds"),
            actual=(payment["status"], payment["failureCode"]),
        )
        self._report.check("no money moves", expected={"USD": "100.00"}, actual=self._balances())

    def _three_d_secure(self) -> None:
        self._report.step("A card whose bank asks the payer (3-D Secure)")
        payment = self._pay("25.00", "USD", "pm_card_threeDSecure2Required").json()
        action = payment.get("nextAction", {})
        self._report.check(
            "the payment waits for the payer",
            expected=("PROCESSING", "redirect_to_url"),
            actual=(payment["status"], action.get("type")),
        )
        self._report.check("no money moves yet", expected={"USD": "100.00"}, actual=self._balances())
        self._report.note(f"the payer opens {action.get('redirectUrl')} and agrees")
        self._control("POST", f"payment_intents/{payment['stripePaymentIntentId']}/complete", {})
        payment = self._settled(payment)
        self._report.check("the payment completes", expected="COMPLETED", actual=payment["status"])
        self._report.check("the wallet shows 125.00 USD", expected={"USD": "125.00"}, actual=self._balances())

    def _gourdes(self) -> None:
        self._report.step("A payment in gourdes, recorded first and confirmed afterwards")
        body = {"amount": 2500, "method": "STRIPE", "description": "Wallet top-up"}
        created = self._call("POST", "/payments", body, key=str(uuid.uuid4())).json()
        self._report.check(
            "it is recorded, in HTG by default",
            expected=("PENDING", "2500.00", "HTG"),
            actual=(created["status"], created["amount"], created["currency"]),
        )
        confirmed = self._call("POST", f"/payments/{created['id']}/confirm", {"paymentMethodId": "pm_card_visa"})
        payment = self._settled(confirmed.json())
        self._report.check("the payment completes", expected="COMPLETED", actual=payment["status"])
        self._report.check(
            "there is a wallet of its own for HTG",
            expected={"HTG": "2500.00", "USD": "125.00"},
            actual=self._balances(),
        )

    def _strangers(self, payment: Json) -> None:
        self._report.step("Somebody else")
        path = f"/payments/{payment['id']}"
        statuses = [
            self._call("GET", path, token=self._stranger).status_code,
            self._call("GET", f"/payments/user/{self._user}", token=self._stranger).status_code,
            self._call("DELETE", path, token=self._token).status_code,
            self._http.get(self._gateway + path).status_code,
        ]
        self._report.check(
            "another user finds nothing, may not ask, nobody but admins deletes, nobody comes in without a token",
            expected=[404, 403, 403, 401],
            actual=statuses,
        )

    def _analytics(self) -> None:
        self._report.step("An admin looks at the figures")
        total = self._call("GET", "/payments/analytics?groupBy=DAY", token=self._admin).json()["total"]
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
        ledger = self._call("GET", "/ledger/verify", token=self._admin).json()
        self._report.check("the ledger is balanced", expected=(True, []), actual=(ledger["balanced"], ledger["breaks"]))
        owed = {each["currency"]: each["userBalance"] for each in ledger["totals"]}
        self._report.check("it owes users what they paid in", expected={"HTG": "2500.00", "USD": "125.00"}, actual=owed)
        movements = self._control("GET", "ledger")["movements"]
        collected = sum(each["amount"] for each in movements if each["kind"] == "charge" and each["currency"] == "usd")
        self._report.check("the provider collected the same", expected=12500, actual=collected)

    def _pay(self, amount: str, currency: str, card: str, *, key: str | None = None) -> httpx.Response:
        body = {"amount": amount, "currency": currency, "paymentMethodId": card, "description": "Wallet deposit"}
        return self._call("POST", "/payments/stripe/process", body, key=key or str(uuid.uuid4()))

    def _call(
        self, method: str, path: str, body: Json | None = None, *, token: str | None = None, key: str | None = None
    ) -> httpx.Response:
        headers = {"Authorization": f"Bearer {token or self._token}"}
        if key is not None:
            headers["Idempotency-Key"] = key
        answer = self._http.request(method, self._gateway + path, json=body, headers=headers)
        self._report.note(f"{method} {path} → {answer.status_code}")
        return answer

    def _settled(self, payment: Json) -> Json:
        """Wait until the payment has reached its end; a payment that does not is returned as it is."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while payment.get("status") not in _FINAL and time.monotonic() < deadline:
            time.sleep(0.1)
            payment = self._payment(payment["id"])
        return payment

    def _payment(self, payment_id: str) -> Json:
        url = f"{self._gateway}/payments/{payment_id}"
        answer: Json = self._http.get(url, headers={"Authorization": f"Bearer {self._token}"}).json()
        return answer

    def _wallets(self) -> list[Json]:
        wallets: list[Json] = self._call("GET", f"/wallets/user/{self._user}").json()["wallets"]
        return wallets

    def _balances(self) -> dict[str, str]:
        return {wallet["currency"]: wallet["balance"] for wallet in self._wallets()}

    def _transactions(self, currency: str) -> list[Json]:
        wallet = next(wallet for wallet in self._wallets() if wallet["currency"] == currency)
        transactions: list[Json] = self._call("GET", f"/wallets/{wallet['id']}/transactions").json()["transactions"]
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


def _replayed(answer: httpx.Response) -> str | None:
    value: str | None = answer.headers.get("Idempotency-Replayed")
    return value
