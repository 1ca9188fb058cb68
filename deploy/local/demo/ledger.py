"""The ledger: money that a wallet holds moves on, and the books prove where it is."""

import datetime
import uuid
from typing import Any

from deploy.local.demo import rest
from deploy.local.demo.rest import Json, Person

_FEE = {"fixedAmount": "0.25", "partsPerMillion": 10_000}
_REASON = {"reason": "the demo needs it"}
_RATE = {"rate": "131.25", "spreadPartsPerMillion": 15_000}


class Ledger:
    """One run. It begins with the 125.00 USD and 2500.00 HTG that the user has paid in by card."""

    def __init__(self, client: rest.Client, *, user: Person, payee: Person, admin: Person) -> None:
        self._client = client
        self._report = client.report
        self._user = user
        self._payee = payee
        self._admin = admin
        self._before = datetime.datetime.now(datetime.UTC) - datetime.timedelta(hours=1)

    def play(self) -> None:
        """Play every scene in order."""
        head = self._kept_head()
        self._transfer()
        self._hold()
        self._conversion()
        self._statement()
        self._proof(head)

    def _kept_head(self) -> Json:
        """Return the signed end of the chain once the three deposits are in it."""
        head = rest.waited(
            lambda: self._client.look(self._admin, "/ledger/head"), lambda seen: seen.get("sequence") == "3"
        )
        self._check("the signed end of its chain, three transfers long, is kept elsewhere", 3, int(head["sequence"]))
        return head

    def _transfer(self) -> None:
        self._report.step("20.00 USD to a second user, with a fee of 0.25 and 1 %")
        self._client.call(self._admin, "PUT", "/fees/USD/TRANSFER", _FEE, query=_REASON)
        body, key = {"toUserId": self._payee.id, "amount": "20.00", "currency": "USD"}, str(uuid.uuid4())
        tried = self._client.call(self._user, "POST", "/transfers", body | {"dryRun": True}).json()
        self._check("a dry run says what it would cost and leave", ("0.45", "104.55"), _cost(tried))
        self._check("and that the payee has no wallet yet", True, tried["payeeIsNew"])
        mistyped = self._client.call(self._user, "POST", "/transfers", body, key=key).json()
        self._check("so the transfer has to say that it is for a new user", "PAYEE_IS_NEW", mistyped["reason"])
        made = self._client.call(self._user, "POST", "/transfers", body | {"toNewUser": True}, key=key)
        self._check(
            "the transfer does cost 0.45, and leaves 104.55",
            (201, "0.45", "104.55"),
            (made.status_code, *_cost(made.json())),
        )
        again = self._client.call(self._user, "POST", "/transfers", body, key=key)
        self._check("the same call again gets the same answer", made.content, again.content)
        self._check("the second user has 20.00 USD, once", {"USD": "20.00"}, self._client.balances(self._payee))

    def _hold(self) -> None:
        self._report.step("30.00 USD are held, and the payee takes a part")
        body = {"toUserId": self._payee.id, "amount": "30.00", "currency": "USD"}
        hold = self._client.call(self._user, "POST", "/holds", body).json()
        self._check("its fee is reserved beside it", ("PENDING", "0.55"), (hold["status"], hold["feeAmount"]))
        self._check(
            "what is held stays in the wallet, and only 74.00 can be spent",
            ("104.55", "30.55", "74.00"),
            self._dollars(),
        )
        part = {"amount": "10.00", "currency": "USD", "releaseRest": True}
        posted = self._client.call(self._payee, "POST", f"/holds/{hold['id']}:post", part).json()
        self._check(
            "10.00 are taken, the rest is given back", ("POSTED", "10.00"), (posted["status"], posted["postedAmount"])
        )
        self._check(
            "the fee is that of 10.00, and nothing is held any more", ("94.20", "0.00", "94.20"), self._dollars()
        )
        late = self._client.call(self._payee, "POST", f"/holds/{hold['id']}:post", {}).json()
        self._check("what has ended cannot be taken from", "HOLD_ENDED", late["reason"])

    def _conversion(self) -> None:
        self._report.step("40.00 USD into gourdes, at a price that is locked")
        self._client.call(self._admin, "PUT", "/rates/USD/HTG", _RATE, query=_REASON)
        body = {"sell": {"amount": "40.00", "currency": "USD"}, "buy": {"currency": "HTG"}}
        quote = self._client.call(self._user, "POST", "/quotes", body).json()
        self._report.note(
            f"1 USD = {quote['rate']} HTG, {quote['effectiveRate']} after the spread of {quote['spread']['amount']}"
        )
        self._check("the quote says that this buys 5171.25 HTG", "5171.25", quote["buy"]["amount"])
        self._client.call(self._admin, "PUT", "/rates/USD/HTG", _RATE | {"rate": "100.00"}, query=_REASON)
        accept = f"/quotes/{quote['id']}:accept"
        accepted = self._client.call(self._user, "POST", accept).json()
        self._check(
            "it is accepted at its price, whatever the rate is by now",
            ("ACCEPTED", quote["buy"]),
            (accepted["status"], accepted["buy"]),
        )
        self._check(
            "both wallets change at once", {"HTG": "7671.25", "USD": "54.20"}, self._client.balances(self._user)
        )
        self._check(
            "nobody accepts it twice",
            "QUOTE_ALREADY_ACCEPTED",
            self._client.call(self._user, "POST", accept).json()["reason"],
        )

    def _statement(self) -> None:
        self._report.step("The statement of the dollar wallet")
        path = f"/wallets/{self._client.wallet(self._user, 'USD')['id']}/statement"
        query = {"fromTime": self._before.isoformat()}
        statement = self._client.call(self._user, "GET", path, query=query).json()
        for line in statement["transactions"]:
            self._report.note(_line(line))
        totals = [statement[name] for name in ("openingBalance", "creditAmount", "debitAmount", "closingBalance")]
        self._check(
            "nothing at first, 125.00 in, 70.80 out: 54.20 are left", ["0.00", "125.00", "70.80", "54.20"], totals
        )
        file = self._client.call(self._user, "GET", f"{path}:export", query=query | {"format": "CSV"}).text
        self._check("its CSV file ends with the same", totals[1:], file.splitlines()[-1].split(",")[-3:])

    def _proof(self, head: Json) -> None:
        self._report.step("The proof")
        report = self._verified(head)
        self._check(
            "everything holds, and the chain leads through the end that was kept",
            (True, []),
            (report["balanced"], report["breaks"]),
        )
        forged = self._verified(head | {"hash": head["hash"][::-1]})
        self._check(
            "it does not lead through a forged one", ["HEAD_NOT_FOUND"], [each["check"] for each in forged["breaks"]]
        )
        totals = self._client.call(self._admin, "GET", "/ledger/trial-balance").json()
        self._check(
            "each currency sums to zero",
            {"HTG": "0.00", "USD": "0.00"},
            {each["currency"]: each["balance"] for each in totals["totals"]},
        )
        earned = next(each["balance"] for each in totals["lines"] if each["kind"] == "fees")
        self._check("the fees, 0.45 and 0.35, are where fees go", "0.80", earned)

    def _verified(self, head: Json) -> Json:
        query = {f"head.{name}": str(value) for name, value in head.items()}
        report: Json = self._client.call(self._admin, "GET", "/ledger/verify", query=query).json()
        return report

    def _dollars(self) -> tuple[str, str, str]:
        """Return what the user's dollar wallet holds, how much of it is held, and how much is available."""
        wallet = self._client.wallet(self._user, "USD")
        return wallet["balance"], wallet["heldAmount"], wallet["availableAmount"]

    def _check(self, rule: str, expected: Any, actual: Any) -> None:
        self._report.check(rule, expected=expected, actual=actual)


def _cost(transfer: Json) -> tuple[str, str]:
    return transfer["feeAmount"], transfer["balanceAfter"]


def _line(transaction: Json) -> str:
    """Return a transaction as a line of a table: what it is, what it moved, what that left."""
    sign = "-" if transaction["direction"] == "DEBIT" else "+"
    return f"{transaction['type']:<10} {sign + transaction['amount']:>8} {transaction['balanceAfter']:>8}"
