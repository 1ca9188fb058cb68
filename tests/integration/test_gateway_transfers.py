"""Transfers, fees and reversals over REST: the gateway in front of the real service."""

import itertools
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from gateway import app, backends
from tests import databases, gateways, wallets

_keys = itertools.count(1)


class Rest:
    """Calls REST as anybody."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http

    async def __call__(
        self, method: str, path: str, *caller: str, body: Any = None, key: str = "", raw: bytes | None = None
    ) -> httpx.Response:
        headers = {"authorization": f"Bearer {wallets.token(*caller)}"}
        if method != "GET":
            headers["idempotency-key"] = key or f"k-{next(_keys)}"
        if raw is not None:
            headers["content-type"] = "application/json"
        return await self._http.request(method, path, headers=headers, json=body, content=raw)


@pytest.fixture
async def client(wallets_database: databases.Database) -> AsyncIterator[wallets.Client]:
    async with wallets.running(wallets_database) as client:
        await client.fund("ana", 10_000)
        yield client


@pytest.fixture
async def rest(client: wallets.Client) -> AsyncIterator[Rest]:
    configured = gateways.settings(auth={"hs256_secret": wallets.SECRET})
    application = app.create(configured, [backends.of_package("wallets", "kobklein.wallets", client.channel)])
    async with gateways.running(application, configured) as gateway:
        yield Rest(gateway.http)


ANA = ("ana", "user")
ADMIN = ("root", "admin")
FEE = {"fixedAmount": "0.25", "partsPerMillion": 10_000, "floorAmount": "0.30", "capAmount": "5.00"}


async def test_a_transfer_is_made_read_and_made_only_once(rest: Rest) -> None:
    await rest("PUT", "/fees/HTG/TRANSFER?reason=launch", *ADMIN, body=FEE)
    metadata = b'{"z": 1, "a": 1e23, "m": [1, {"y": 2, "x": 3}], "lwqz": 4, "bwqa": 5}'
    body = b'{"toUserId": "ben", "toNewUser": true, "amount": 25.00, "reference": "r-1", "metadata": %s}' % metadata
    made = await rest("POST", "/transfers", *ANA, raw=body, key="k")
    assert made.status_code == 201
    assert "idempotency-replayed" not in made.headers
    assert made.json() == {
        "id": made.json()["id"],
        "userId": "ana",
        "toUserId": "ben",
        "amount": "25.00",
        "feeAmount": "0.50",
        "currency": "HTG",
        "balanceAfter": "74.50",
        "reversedAmount": "0.00",
        "reference": "r-1",
        "description": "",
        "metadata": json.loads(metadata),
        "createdTime": made.json()["createdTime"],
        "dryRun": False,
    }
    await rest("DELETE", "/fees/HTG/TRANSFER?reason=launch", *ADMIN)
    again = await rest("POST", "/transfers", *ANA, raw=body, key="k")
    assert (again.status_code, again.headers["idempotency-replayed"], again.content) == (201, "true", made.content)
    read = await rest("GET", f"/transfers/{made.json()['id']}", *ANA)
    assert (read.status_code, read.content) == (200, made.content)
    by_ben = (await rest("GET", f"/transfers/{made.json()['id']}", "ben", "user")).json()
    assert (by_ben.get("feeAmount"), by_ben["balanceAfter"]) == (None, "25.00")
    other = await rest("POST", "/transfers", *ANA, raw=body.replace(b"25.00", b"25.01"), key="k")
    assert (other.status_code, other.json()["reason"]) == (422, "IDEMPOTENCY_KEY_REUSED")


async def test_a_transfer_without_the_money_is_a_problem(rest: Rest) -> None:
    await rest("PUT", "/fees/HTG/TRANSFER?reason=launch", *ADMIN, body=FEE)
    answer = await rest("POST", "/transfers", *ANA, body={"toUserId": "ben", "toNewUser": True, "amount": "99.80"})
    problem = answer.json()
    assert (answer.status_code, problem["reason"]) == (400, "INSUFFICIENT_FUNDS")
    assert problem["detail"] == (
        "user/ana has 100.00 HTG available, 0.00 held, and needs 101.04, of which 1.24 are its fee"
    )


async def test_a_dry_run_is_not_recorded(rest: Rest, client: wallets.Client) -> None:
    body = {"toUserId": "ben", "amount": "25.00", "dryRun": True}
    answer = await rest("POST", "/transfers", *ANA, body=body)
    assert answer.status_code == 200
    tried = answer.json()
    assert (tried["dryRun"], tried["balanceAfter"], "createdTime" in tried) == (True, "75.00", False)
    assert (await rest("GET", f"/transfers/{tried['id']}", *ANA)).status_code == 404
    assert (await client.account("user/ana")).version == 1


async def test_a_fee_is_set_by_the_names_in_its_path(rest: Rest) -> None:
    answer = await rest("PUT", "/fees/JOD/CONVERSION?reason=launch", *ADMIN, body={"fixedAmount": "0.005"})
    fee = {
        "currency": "JOD",
        "type": "CONVERSION",
        "fixedAmount": "0.005",
        "partsPerMillion": 0,
        "floorAmount": "0.000",
        "updatedTime": answer.json()["updatedTime"],
    }
    assert (answer.status_code, answer.json()) == (200, fee)
    same = await rest("PUT", "/fees/JOD/CONVERSION?reason=over", *ADMIN, body={**fee, "updatedTime": None})
    assert same.json() == fee
    assert (await rest("GET", "/fees", *ANA)).json() == {"fees": [fee]}
    assert (await rest("DELETE", "/fees/JOD/CONVERSION?reason=over", *ADMIN)).status_code == 204
    gone = await rest("DELETE", "/fees/JOD/CONVERSION?reason=over", *ADMIN)
    assert (gone.status_code, gone.json()["reason"]) == (404, "FEE_NOT_FOUND")
    assert (await rest("GET", "/fees", *ANA)).json() == {"fees": []}


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/fees/HTG/GIFT", {}, "type"),
        ("/fees/HTG/UNSPECIFIED", {}, "type"),
        ("/fees/HTG/TRANSFER_TYPE_DEPOSIT", {}, "type"),
        ("/fees/HTG/0", {}, "type"),
        ("/fees/HTG/FEE", {}, "type"),
        ("/fees/HTG/DEPOSIT", {}, "type"),
        ("/fees/XXX/TRANSFER", {}, "currency"),
        ("/fees/HTG/TRANSFER", {"type": "DEPOSIT"}, "type"),
        ("/fees/HTG/TRANSFER", {"currency": "USD"}, "currency"),
        ("/fees/HTG/TRANSFER", {"fixedAmount": "0.001"}, "fixedAmount"),
        ("/fees/HTG/TRANSFER", {"floorAmount": "2", "capAmount": "1"}, "capAmount"),
        ("/fees/HTG/TRANSFER", {"partsPerMillion": 1_000_001}, "partsPerMillion"),
    ],
)
async def test_what_is_wrong_with_a_fee_is_named(rest: Rest, path: str, body: dict[str, Any], field: str) -> None:
    answer = await rest("PUT", f"{path}?reason=launch", *ADMIN, body=body)
    assert answer.status_code == 400
    assert [error["field"] for error in answer.json()["errors"]] == [field]


@pytest.mark.parametrize("reason", ["", "?reason=", "?reason=%20%09"])
async def test_a_fee_changes_with_a_reason_only(rest: Rest, reason: str) -> None:
    await rest("PUT", "/fees/HTG/TRANSFER?reason=launch", *ADMIN, body=FEE)
    before = (await rest("GET", "/fees", *ANA)).json()
    for method, body in (("PUT", {}), ("DELETE", None)):
        answer = await rest(method, f"/fees/HTG/TRANSFER{reason}", *ADMIN, body=body)
        assert (answer.status_code, [error["field"] for error in answer.json()["errors"]]) == (400, ["reason"])
    assert (await rest("GET", "/fees", *ANA)).json() == before


async def test_who_sets_a_fee_for_what_is_never_charged_for_is_told_what_is(rest: Rest) -> None:
    answer = await rest("PUT", "/fees/HTG/WITHDRAWAL?reason=launch", *ADMIN, body={"fixedAmount": "1.00"})
    wrong = {"field": "type", "detail": "is not one of TRANSFER, CONVERSION"}
    assert (answer.status_code, answer.json()["errors"]) == (400, [wrong])
    assert (await rest("GET", "/fees", *ANA)).json() == {"fees": []}


async def test_a_kind_that_is_not_there_cannot_be_deleted(rest: Rest) -> None:
    answer = await rest("DELETE", "/fees/HTG/GIFT?reason=over", *ADMIN)
    assert (answer.status_code, [error["field"] for error in answer.json()["errors"]]) == (400, ["type"])


async def test_a_transaction_is_reversed(rest: Rest) -> None:
    sent = (
        await rest("POST", "/transfers", *ANA, body={"toUserId": "ben", "toNewUser": True, "amount": "25.00"})
    ).json()
    path, body = f"/transactions/{sent['id']}:reverse", {"amount": "10.00", "currency": "HTG", "reason": "a mistake"}
    assert (await rest("POST", path, *ANA, body=body)).status_code == 403
    made = await rest("POST", path, "fin", "finance", body=body, key="k")
    assert made.status_code == 200
    shown = {name: made.json()[name] for name in ("amount", "currency", "type", "description", "reversesId")}
    assert shown == {
        "amount": "10.00",
        "currency": "HTG",
        "type": "REFUND",
        "description": "a mistake",
        "reversesId": sent["id"],
    }
    again = await rest("POST", path, "fin", "finance", body=body, key="k")
    assert (again.headers["idempotency-replayed"], again.content) == ("true", made.content)
    assert (await rest("GET", f"/transfers/{sent['id']}", *ANA)).json()["reversedAmount"] == "10.00"
    rest_of_it = await rest("POST", path, "fin", "finance", body={"reason": "the rest"})
    assert rest_of_it.json()["amount"] == "15.00"
    refused = await rest("POST", path, "fin", "finance", body={"reason": "more"})
    assert (refused.status_code, refused.json()["reason"]) == (400, "REVERSAL_EXCEEDED")
    missing = await rest("POST", f"/transactions/{wallets.transfer('a', 'b', 1).id}:reverse", *ADMIN, body=body)
    assert (missing.status_code, missing.json()["reason"]) == (404, "ORIGINAL_NOT_FOUND")


async def test_the_description_leaves_out_of_a_body_what_its_path_gives(rest: Rest) -> None:
    document = (await rest("GET", "/openapi.json", *ANA)).json()
    operation = document["paths"]["/fees/{feeCurrency}/{feeType}"]["put"]
    schemas = {parameter["name"]: parameter["schema"] for parameter in operation["parameters"]}
    assert schemas["feeType"]["enum"] == ["TRANSFER", "CONVERSION"]
    body = operation["requestBody"]["content"]["application/json"]["schema"]
    assert set(body["properties"]) == {"fixedAmount", "partsPerMillion", "floorAmount", "capAmount"}
    assert "required" not in body
