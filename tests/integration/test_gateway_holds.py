"""Holds and the control of accounts over REST: the gateway in front of the real service."""

import contextlib
import dataclasses
import uuid
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from gateway import app, backends, comments
from tests import databases, gateways, wallets

Json = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class System:
    """A gateway, and the service behind it."""

    http: httpx.AsyncClient
    wallets: wallets.Client

    async def call(
        self, verb: str, path: str, subject: str = "root", role: str = "admin", *, key: str = "", **arguments: Any
    ) -> httpx.Response:
        """Call an operation; POST gets a key of its own unless one is given."""
        headers = {"authorization": f"Bearer {wallets.token(subject, role)}", **arguments.pop("headers", {})}
        if verb == "POST":
            headers["idempotency-key"] = key or str(uuid.uuid4())
        return await self.http.request(verb, path, headers=headers, **arguments)


@pytest.fixture
async def system(wallets_database: databases.Database) -> AsyncIterator[System]:
    configured = gateways.settings(auth={"hs256_secret": wallets.SECRET})
    async with contextlib.AsyncExitStack() as stack:
        service = await stack.enter_async_context(wallets.running(wallets_database))
        backend = backends.of_package("wallets", "kobklein.wallets", service.channel)
        application = app.create(configured, [backend], texts=comments.load())
        gateway = await stack.enter_async_context(gateways.running(application, configured))
        await service.fund("ana", 10_000)
        yield System(gateway.http, service)


def shown(answer: httpx.Response, *names: str) -> list[Any]:
    document = answer.json()
    return [document[name] for name in names]


async def test_a_hold_is_made_read_listed_posted_and_voided(system: System) -> None:
    body = {"toUserId": "ben", "toNewUser": True, "amount": "25.00", "currency": "HTG", "reference": "r-1"}
    made = await system.call("POST", "/holds", "ana", "user", key="k", json=body)
    assert made.status_code == 201
    assert shown(made, "debitAccount", "creditAccount", "amount", "postedAmount", "remainingAmount", "status") == [
        "user/ana", "user/ben", "25.00", "0.00", "25.00", "PENDING",
    ]  # fmt: skip
    again = await system.call("POST", "/holds", "ana", "user", key="k", json=body)
    assert (again.content, again.headers["idempotency-replayed"]) == (made.content, "true")
    id_ = made.json()["id"]
    assert (await system.call("GET", f"/holds/{id_}", "ben", "user")).json() == made.json()
    listed = await system.call("GET", "/holds?status=PENDING&reference=r-1", "ana", "user")
    assert listed.json()["holds"] == [made.json()]
    part = {"amount": "10.00", "currency": "HTG"}
    posted = await system.call("POST", f"/holds/{id_}:post", "ben", "user", json=part)
    assert (posted.status_code, shown(posted, "status", "postedAmount")) == (200, ["PENDING", "10.00"])
    voided = await system.call("POST", f"/holds/{id_}:void", "ben", "user", json={})
    assert (voided.status_code, shown(voided, "status", "remainingAmount")) == (200, ["VOIDED", "0.00"])
    account = await system.wallets.account("user/ana")
    assert (account.balance, account.held_amount) == (9_000, 0)


async def test_a_hold_shows_its_fee_to_its_payer_and_is_charged_it(system: System) -> None:
    await system.call("PUT", "/fees/HTG/TRANSFER?reason=launch", json={"partsPerMillion": 10_000})
    body = {"toUserId": "ben", "toNewUser": True, "amount": "10.00"}
    made = await system.call("POST", "/holds", "ana", "user", json=body)
    assert shown(made, "feeAmount", "postedFeeAmount") == ["0.10", "0.00"]
    path = f"/holds/{made.json()['id']}"
    posted = await system.call("POST", f"{path}:post", "ben", "user", json={})
    assert "feeAmount" not in posted.json()
    assert shown(await system.call("GET", path, "ana", "user"), "feeAmount", "postedFeeAmount") == ["0.10", "0.10"]
    refused = await system.call(
        "POST", "/holds", "ana", "user", json={"toUserId": "ben", "toNewUser": True, "amount": "89.50"}
    )
    assert refused.json()["reason"] == "INSUFFICIENT_FUNDS"
    assert [refused.json()["metadata"][name] for name in ("needed", "fee")] == ["90.39", "0.89"]


async def test_a_hold_with_a_number_beyond_64_bits_is_posted(system: System) -> None:
    body = {"toUserId": "ben", "toNewUser": True, "amount": "25.00", "metadata": {"n": 1e20}}
    made = await system.call("POST", "/holds", "ana", "user", json=body)
    posted = await system.call("POST", f"/holds/{made.json()['id']}:post", "ben", "user", json={})
    assert (made.status_code, posted.status_code) == (201, 200)
    assert posted.json()["metadata"] == {"n": 1e20}


@pytest.mark.parametrize(
    ("caller", "path", "body", "refusal"),
    [
        ("ana", ":post", {}, (403, "PERMISSION_DENIED")),
        ("ana", ":void", {}, (403, "PERMISSION_DENIED")),
        ("eva", ":post", {}, (404, "HOLD_NOT_FOUND")),
        ("ben", ":post", {"amount": "25.01", "currency": "HTG"}, (400, "HOLD_EXCEEDED")),
        ("ben", ":post", {"amount": "1.00"}, (400, "INVALID_ARGUMENT")),
        ("ben", ":post", {"amount": "0.00", "currency": "HTG"}, (400, "INVALID_ARGUMENT")),
    ],
)
async def test_a_refusal_about_a_hold_is_a_problem(
    system: System, caller: str, path: str, body: Json, refusal: tuple[int, str]
) -> None:
    made = await system.call(
        "POST", "/holds", "ana", "user", json={"toUserId": "ben", "toNewUser": True, "amount": "25.00"}
    )
    answer = await system.call("POST", f"/holds/{made.json()['id']}{path}", caller, "user", json=body)
    assert (answer.status_code, answer.json()["reason"]) == refusal


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"userId": "eva"}, "userId names another user: needs admin; this token has user"),
        ({"debitAccount": "user/eva"}, "setting debitAccount needs admin; this token has user"),
    ],
)
async def test_a_caller_without_the_role_is_told_the_field_by_its_name_and_the_roles(
    system: System, fields: Json, said: str
) -> None:
    body = {"toUserId": "ben", "toNewUser": True, "amount": "25.00", **fields}
    answer = await system.call("POST", "/holds", "ana", "user", json=body)
    assert (answer.status_code, answer.json()["detail"]) == (403, said)


async def test_what_has_ended_is_a_conflict_and_not_a_bad_request(system: System) -> None:
    made = await system.call(
        "POST", "/holds", "ana", "user", json={"toUserId": "ben", "toNewUser": True, "amount": "25.00"}
    )
    await system.call("POST", f"/holds/{made.json()['id']}:void", "ben", "user", json={})
    ended = await system.call("POST", f"/holds/{made.json()['id']}:post", "ben", "user", json={})
    assert (ended.status_code, ended.json()["reason"]) == (409, "HOLD_ENDED")
    account = (await system.wallets.account("user/ana")).id
    await system.call("POST", f"/accounts/{account}:freeze", json={"reason": "police", "direction": "DEBIT"})
    frozen = await system.call(
        "POST", "/holds", "ana", "user", json={"toUserId": "ben", "toNewUser": True, "amount": "1.00"}
    )
    assert (frozen.status_code, frozen.json()["reason"]) == (409, "ACCOUNT_FROZEN")


async def test_an_account_is_found_updated_under_its_etag_and_recorded(system: System) -> None:
    listed = await system.call("GET", "/accounts?addressPrefix=user/&currency=HTG", "fin", "finance")
    (account,) = listed.json()["accounts"]
    path = f"/accounts/{account['id']}"
    found = await system.call("GET", path)
    assert (found.json(), found.headers["etag"]) == (account, f'"{account["etag"]}"')
    body = {
        "account": {
            "currency": "HTG",
            "overdraftLimit": "50.00",
            "limits": {"currency": "HTG", "dayAmount": "500.00"},
            "metadata": {"kyc": "2"},
        },
        "reason": "agreed",
    }
    tag = {"if-match": found.headers["etag"]}
    changed = await system.call("PATCH", path, json=body, headers=tag)
    assert changed.status_code == 200, changed.text
    assert shown(changed, "overdraftLimit", "availableAmount", "metadata") == ["50.00", "150.00", {"kyc": "2"}]
    assert changed.json()["limits"] == {"currency": "HTG", "dayAmount": "500.00"}
    stale = await system.call("PATCH", path, json=body, headers=tag)
    assert (stale.status_code, stale.json()["reason"]) == (412, "ETAG_MISMATCH")
    lifted = await system.call("PATCH", path, json={"account": {"limits": {"dayAmount": None}}, "reason": "new"})
    assert "limits" not in lifted.json()
    no_overdraft = {"account": {"currency": "HTG", "overdraftLimit": None}, "reason": "unused"}
    taken = await system.call("PATCH", path, json=no_overdraft)
    assert shown(taken, "overdraftLimit", "unlimitedOverdraft", "availableAmount") == ["0.00", False, "100.00"]
    refused = await system.call("PATCH", path, json={"account": {"unlimitedOverdraft": True}, "reason": "asked"})
    assert [each["field"] for each in refused.json()["errors"]] == ["account.unlimitedOverdraft"]
    answer = await system.call("GET", f"/ledger/audit?subject=account/{account['id']}", "fin", "finance")
    assert [shown_of(entry) for entry in answer.json()["entries"]] == [
        ("UPDATE", "root", None, None), ("UPDATE", "root", "500.00", None), ("UPDATE", "root", None, "500.00"),
    ]  # fmt: skip


def shown_of(entry: Json) -> tuple[str, str, Any, Any]:
    before, after = entry["before"]["limits"]["dayAmount"], entry["after"]["limits"]["dayAmount"]
    return entry["action"], entry["actor"], before, after


async def test_amounts_in_another_currency_than_the_accounts_are_refused_by_name(system: System) -> None:
    id_ = (await system.wallets.account("user/ana")).id
    body = {"account": {"currency": "JPY", "overdraftLimit": "50"}, "reason": "agreed"}
    answer = await system.call("PATCH", f"/accounts/{id_}", json=body)
    assert (answer.status_code, [each["field"] for each in answer.json()["errors"]]) == (400, ["account.currency"])


async def test_an_account_is_frozen_unfrozen_and_closed(system: System) -> None:
    await system.wallets.post(wallets.transfer("user/ana", "user/ben", 10_000))
    path = f"/accounts/{(await system.wallets.account('user/ana')).id}"
    for verb, body, status in (
        ("freeze", {"reason": "police", "direction": "DEBIT"}, "DEBIT_FROZEN"),
        ("unfreeze", {"reason": "cleared"}, "ACTIVE"),
        ("close", {"reason": "left"}, "CLOSED"),
    ):
        answer = await system.call("POST", f"{path}:{verb}", json=body)
        assert (answer.status_code, answer.json()["status"]) == (200, status)
    missing = await system.call("POST", f"{path}:freeze", json={})
    assert (missing.status_code, [each["field"] for each in missing.json()["errors"]]) == (400, ["reason"])
    closed = await system.call("POST", f"{path}:freeze", json={"reason": "police"})
    assert (closed.status_code, closed.json()["reason"]) == (409, "ACCOUNT_CLOSED")


async def test_the_limits_of_a_currency_are_set_and_listed(system: System) -> None:
    limits = {"currency": "HTG", "transferAmount": "75.00"}
    put = await system.call("PUT", "/limits/HTG", json={"limits": {"transferAmount": "75.00"}, "reason": "bank"})
    assert (put.status_code, put.json()) == (200, limits)
    listed = await system.call("GET", "/limits", "ana", "user")
    assert listed.json()["limits"] == [limits]
    answer = await system.call(
        "POST", "/holds", "ana", "user", json={"toUserId": "ben", "toNewUser": True, "amount": "75.01"}
    )
    assert (answer.status_code, answer.json()["reason"]) == (400, "LIMIT_EXCEEDED")
    assert answer.json()["metadata"]["limit"] == "75.00"
    for body, field in (
        ({"limits": {"transferAmount": "75.00"}}, "reason"),
        ({"limits": limits | {"currency": "USD"}, "reason": "bank"}, "limits.currency"),
    ):
        wrong = await system.call("PUT", "/limits/HTG", json=body)
        assert (wrong.status_code, [each["field"] for each in wrong.json()["errors"]]) == (400, [field])
    wrong = await system.call("PUT", "/limits/HTG?reason=bank", json={"limits": {"transferAmount": "75.00"}})
    assert wrong.status_code == 400
    refused = await system.call("PUT", "/limits/HTG", "ana", "user", json={"limits": limits, "reason": "bank"})
    assert refused.status_code == 403
