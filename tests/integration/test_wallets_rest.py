"""Balances, statements, files and watches over REST, through a real gateway and a real service."""

import csv
import html
import io
import json
import uuid
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import pytest

from kobklein.wallets.v1 import ledger_pb2
from tests import databases, wallets, wallets_gateway
from tests.gateways import Gateway

FINANCE = {"authorization": f"Bearer {wallets.token('finance-1', 'finance')}"}
SUPPORT = {"authorization": f"Bearer {wallets.token('s', 'support')}"}
EVENTS = {"accept": "text/event-stream"}
SINCE = "fromTime=2020-01-01T00:00:00Z"


@pytest.fixture
async def served(wallets_database: databases.Database) -> AsyncIterator[tuple[Gateway, wallets.Client]]:
    async with wallets_gateway.running(wallets_database) as running:
        yield running


@pytest.fixture
def gateway(served: tuple[Gateway, wallets.Client]) -> Gateway:
    return served[0]


@pytest.fixture
async def wallet(served: tuple[Gateway, wallets.Client]) -> str:
    """A wallet of user-1 that got 100.00 and paid 0.30 and 0.20 of it."""
    client = served[1]
    await client.fund("user-1", 10_000)
    await client.post(
        wallets.transfer("user/user-1", "user/ben", 30, reference="=1+1", metadata={"order.id": "a[7]"}),
        wallets.transfer("user/user-1", "user/ben", 20, description="<b>lunch</b>"),
    )
    return (await client.account("user/user-1")).id


async def answer(gateway: Gateway, path: str, **arguments: Any) -> Any:
    found = await gateway.http.get(path, **arguments)
    assert found.status_code == 200, found.text
    return found.json()


async def test_a_balance_and_a_statement_show_money_as_decimals(gateway: Gateway, wallet: str) -> None:
    now = await answer(gateway, f"/wallets/{wallet}/balance")
    assert (now["balance"], now["version"], now["basis"]) == ("99.50", "3", "RECORDED")
    then = await answer(gateway, f"/wallets/{wallet}/balance?time=2020-01-01T00:00:00Z&basis=EFFECTIVE")
    assert (then["balance"], then["version"], then["basis"]) == ("0.00", "0", "EFFECTIVE")
    first = await answer(gateway, f"/wallets/{wallet}/statement?{SINCE}&pageSize=2")
    assert [line["balanceAfter"] for line in first["transactions"]] == ["100.00", "99.70"]
    token = first["nextPageToken"]
    second = await answer(gateway, f"/wallets/{wallet}/statement?{SINCE}&pageSize=2&pageToken={token}")
    for page in (first, second):
        totals = [page[name] for name in ("openingBalance", "creditAmount", "debitAmount", "closingBalance")]
        assert totals == ["0.00", "100.00", "0.50", "99.50"]
    assert [line["balanceAfter"] for line in second["transactions"]] == ["99.50"]


async def test_who_may_get_accounts_reaches_every_one_by_its_own_path_and_support_only_wallets(
    gateway: Gateway, served: tuple[Gateway, wallets.Client], wallet: str
) -> None:
    provider = (await served[1].account("provider/stripe")).id
    found = await answer(gateway, f"/accounts/{provider}/balance", headers=FINANCE)
    assert found["balance"] == "-100.00"
    assert (await answer(gateway, f"/accounts/{wallet}/statement?{SINCE}", headers=FINANCE))["address"] == "user/user-1"
    for path in ("balance", f"statement?{SINCE}", f"statement:export?{SINCE}"):
        for headers in ({}, SUPPORT):
            for name in ("accounts", "wallets"):
                refused = await gateway.http.get(f"/{name}/{provider}/{path}", headers=headers)
                assert (refused.status_code, refused.json()["reason"]) == (404, "WALLET_NOT_FOUND")
        assert (await gateway.http.get(f"/accounts/{wallet}/{path}", headers=SUPPORT)).status_code == 200


async def test_who_may_get_accounts_is_told_of_a_missing_one_as_by_the_account_itself(gateway: Gateway) -> None:
    missing = f"/accounts/{uuid.uuid4()}"
    told = [
        (await gateway.http.get(f"{missing}{path}", headers=FINANCE | {"x-request-id": "r"})).json()
        for path in ("", "/balance", f"/statement?{SINCE}", f"/statement:export?{SINCE}", "/transactions")
    ]
    assert told[0]["reason"] == "ACCOUNT_NOT_FOUND"
    assert [{**each, "instance": missing} for each in told] == [told[0]] * len(told)


async def test_the_transactions_of_an_account_that_is_no_wallet_are_filtered_for_staff_only(
    gateway: Gateway, served: tuple[Gateway, wallets.Client], wallet: str
) -> None:
    client = served[1]
    for amount, reference in ((5, "mon"), (7, "tue")):
        await client.post(
            wallets.transfer(
                "user/user-1", "fees", amount, type_="FEE", reference=reference, metadata={"day": reference}
            )
        )
    fees, provider = [(await client.account(address)).id for address in ("fees", "provider/stripe")]
    for account, filters, amounts in (
        (fees, {}, ["0.07", "0.05"]),
        (fees, {"reference": "mon"}, ["0.05"]),
        (fees, {"metadata[day]": "tue"}, ["0.07"]),
        (fees, {"counterparty": "user/user-1", "type": "FEE"}, ["0.07", "0.05"]),
        (fees, {"type": "DEPOSIT"}, []),
        (provider, {"counterparty": "user/user-1"}, ["100.00"]),
    ):
        found = await answer(gateway, f"/accounts/{account}/transactions", params=filters, headers=FINANCE)
        assert [each["amount"] for each in found["transactions"]] == amounts
    support = {"authorization": f"Bearer {wallets.token('support-1', 'support')}"}
    for path in (f"/accounts/{fees}/transactions", f"/wallets/{fees}/transactions"):
        for caller in ({}, support):
            refused = await gateway.http.get(path, headers=caller)
            assert (refused.status_code, refused.json()["reason"]) == (404, "WALLET_NOT_FOUND")
    seen = await answer(gateway, f"/accounts/{wallet}/transactions", headers=support)
    assert [each["amount"] for each in seen["transactions"]][-1] == "100.00"


async def test_a_transfer_between_accounts_that_are_no_wallets_is_found_by_those_who_audit(
    gateway: Gateway, served: tuple[Gateway, wallets.Client]
) -> None:
    client = served[1]
    await client.post(wallets.transfer("provider/stripe", "fees", 500))
    asked = wallets.transfer("fees", "fx/spread", 5, reference="r-1", metadata={"why": "moved"})
    (result,) = await client.post(asked)
    path = f"/ledger/transfers/{asked.id}"
    found = await answer(gateway, path, headers=FINANCE)
    shown = {
        "id": asked.id, "debitAccount": "fees", "creditAccount": "fx/spread", "amount": "0.05", "reference": "r-1",
        "metadata": {"why": "moved"}, "debitBalanceAfter": "4.95", "creditBalanceAfter": "0.05",
    }  # fmt: skip
    assert {name: found[name] for name in shown} == shown
    assert {"linked", "releasesHold"}.isdisjoint(found)
    request = ledger_pb2.GetLedgerTransferRequest(id=asked.id)
    assert await client.ledger.GetLedgerTransfer(request, metadata=wallets.AS_SERVICE) == result.transfer
    missing = await gateway.http.get(f"/ledger/transfers/{uuid.uuid4()}", headers=FINANCE)
    assert (missing.status_code, missing.json()["reason"]) == (404, "TRANSFER_NOT_FOUND")
    assert (await gateway.http.get(path)).status_code == 403


async def test_a_csv_file_is_saved_under_its_name(gateway: Gateway, wallet: str) -> None:
    found = await gateway.http.get(f"/wallets/{wallet}/statement:export?{SINCE}&timeZone=America/Port-au-Prince")
    assert found.status_code == 200
    assert found.headers["content-type"] == "text/csv; charset=utf-8; header=present"
    name = f"statement-{wallet[:8]}-HTG-20191231-"
    assert found.headers["content-disposition"].startswith(f'attachment; filename="{name}')
    assert found.content.startswith(b"\xef\xbb\xbfrecord,")
    rows = list(csv.DictReader(io.StringIO(found.content.decode("utf-8-sig"), newline=""), strict=True))
    assert [row["balance"] for row in rows] == ["0.00", "100.00", "99.70", "99.50", "99.50"]
    assert rows[2]["reference"] == "'=1+1"
    assert {row["time_zone"] for row in rows} == {"America/Port-au-Prince"}


@pytest.mark.parametrize(
    ("accept", "format_", "media_type"),
    [
        ("text/html", "", "text/html"),
        ("text/html,application/xhtml+xml,*/*;q=0.8", "", "text/html"),
        ("text/html;q=0.5, text/csv;q=0.9", "", "text/csv"),
        ("text/html;q=0, */*", "", "text/csv"),
        ("*/*", "", "text/csv"),
        ("application/pdf, text/*;q=0.1", "", "text/csv"),
        ("text/csv;q=0, */*", "", "text/html"),
        ("application/pdf", "&format=CSV", "text/csv"),
        ("text/html", "&format=CSV", "text/csv"),
        ("text/csv", "&format=HTML", "text/html"),
    ],
)
async def test_a_file_is_of_the_form_that_is_asked_for_or_else_accepted(
    gateway: Gateway, wallet: str, accept: str, format_: str, media_type: str
) -> None:
    path = f"/wallets/{wallet}/statement:export?{SINCE}{format_}"
    found = await gateway.http.get(path, headers={"accept": accept})
    assert (found.status_code, found.headers["content-type"].partition(";")[0]) == (200, media_type)


@pytest.mark.parametrize("accept", ["application/pdf", "application/pdf, text/csv;q=0", "*/*;q=0", "a" * 1_000])
async def test_a_file_of_no_form_that_there_is_is_not_acceptable(gateway: Gateway, wallet: str, accept: str) -> None:
    found = await gateway.http.get(f"/wallets/{wallet}/statement:export?{SINCE}", headers={"accept": accept})
    problem = found.json()
    assert (found.status_code, problem["reason"]) == (406, "NOT_ACCEPTABLE")
    assert problem["detail"].endswith(f"is made as text/csv or text/html, and Accept takes neither: {accept[:100]}")
    assert "content-disposition" not in found.headers


async def test_a_page_is_shown_and_may_run_nothing(gateway: Gateway, wallet: str) -> None:
    found = await gateway.http.get(f"/wallets/{wallet}/statement:export?{SINCE}&format=HTML")
    assert found.headers["content-type"] == "text/html; charset=utf-8"
    assert found.headers["content-disposition"].startswith("inline; ")
    assert "sandbox" in found.headers["content-security-policy"]
    assert "&lt;b&gt;lunch&lt;/b&gt;" in found.text
    assert "<b>" not in found.text


async def test_a_wrong_range_is_a_problem_and_no_file(gateway: Gateway, wallet: str) -> None:
    path = f"/wallets/{wallet}/statement:export?{SINCE}&beforeTime=2019-01-01T00:00:00Z"
    refused = await gateway.http.get(path)
    assert (refused.status_code, refused.headers["content-type"]) == (400, "application/problem+json")
    assert refused.json()["errors"] == [{"field": "beforeTime", "detail": "is before fromTime"}]
    assert refused.json()["detail"] == "beforeTime: is before fromTime"


async def test_transactions_are_filtered_by_a_map_in_the_query(gateway: Gateway, wallet: str) -> None:
    filters = {"metadata[order.id]": "a[7]", "reference": "=1+1", "counterparty": "user/ben"}
    found = await answer(gateway, f"/wallets/{wallet}/transactions", params=filters)
    assert [each["amount"] for each in found["transactions"]] == ["0.30"]
    assert (await answer(gateway, f"/wallets/{wallet}/transactions?metadata[order.id]=b"))["transactions"] == []


@pytest.mark.parametrize("watched", ["wallet", "ledger"])
async def test_a_watch_is_a_stream_of_events_that_goes_on_at_its_last_id(
    gateway: Gateway, served: tuple[Gateway, wallets.Client], wallet: str, watched: str
) -> None:
    path = f"/wallets/{wallet}/transactions:watch" if watched == "wallet" else "/ledger/transfers:watch"
    headers = EVENTS if watched == "wallet" else EVENTS | FINANCE
    events = await events_of(gateway, path, 3, headers)
    assert [show(event)["amount"] for event in events] == ["100.00", "0.30", "0.20"]
    assert [event["id"] for event in events] == [event["data"]["cursor"] for event in events]
    for number in (0, 1):
        again = headers | {"last-event-id": events[number]["id"]}
        assert await events_of(gateway, path + "?onlyNew=true", 2 - number, again) == events[number + 1 :]
    new = (await served[1].fund("user-1", 5)).transfer
    (event,) = await events_of(gateway, path, 1, headers | {"last-event-id": events[-1]["id"]})
    assert show(event)["id"] == new.id
    refused = await gateway.http.get(path, headers=headers | {"last-event-id": "made-up"})
    assert (refused.status_code, [each["field"] for each in refused.json()["errors"]]) == (400, ["cursor"])


@pytest.mark.parametrize("watched", ["wallet", "ledger", "account"])
async def test_a_browser_whose_watch_breaks_off_before_its_first_event_misses_nothing(
    gateway: Gateway, served: tuple[Gateway, wallets.Client], wallet: str, watched: str
) -> None:
    path = f"/wallets/{wallet}/transactions:watch" if watched == "wallet" else "/ledger/transfers:watch"
    path += "?onlyNew=true" + (f"&accountId={wallet}" if watched == "account" else "")
    headers = EVENTS if watched == "wallet" else EVENTS | FINANCE
    async with gateway.http.stream("GET", path, headers=headers, timeout=60) as stream:
        first = await anext(stream.aiter_lines())
    name, _, start = first.partition(": ")
    assert name == "id"
    missed = [(await served[1].fund("user-1", amount)).transfer.id for amount in (5, 6)]
    events = await events_of(gateway, path, 2, headers | {"last-event-id": start})
    assert [show(event)["id"] for event in events] == missed
    new = (await served[1].fund("user-1", 7)).transfer
    (event,) = await events_of(gateway, path, 1, headers | {"last-event-id": events[-1]["id"]})
    assert show(event)["id"] == new.id


async def test_a_quiet_watch_begins_at_once_and_just_ends_when_its_time_is_over(
    wallets_database: databases.Database,
) -> None:
    async with wallets_gateway.running(
        wallets_database, service={"longest_watch_seconds": 0.5}, heartbeat_seconds=3600
    ) as (gateway, _):
        opened = (await gateway.http.post("/wallets", json={})).json()["id"]
        path = f"/wallets/{opened}/transactions:watch"
        async with gateway.http.stream("GET", path, headers=EVENTS, timeout=60) as stream:
            assert (stream.status_code, stream.headers["content-type"]) == (200, "text/event-stream")
            assert (await stream.aread()).startswith(b"id: ")
        path = path.replace(opened, "0198c5b0-7d2a-7c3e-9f61-2b8f4d1c9a10")
        assert (await gateway.http.get(path, headers=EVENTS)).status_code == 404


def show(event: dict[str, Any]) -> Any:
    return event["data"].get("transaction") or event["data"]["transfer"]


async def events_of(gateway: Gateway, path: str, count: int, headers: dict[str, str]) -> list[dict[str, Any]]:
    """Return the first events of a stream, and leave it."""
    events: list[dict[str, Any]] = [{}]
    async with gateway.http.stream("GET", path, headers=headers, timeout=60) as stream:
        assert stream.headers["content-type"] == "text/event-stream"
        async for line in stream.aiter_lines():
            name, _, value = line.partition(": ")
            if not line and "data" in events[-1]:  # An id alone is kept, and is no event.
                if len(events) == count:
                    return events
                events.append({})
            elif name in ("id", "data"):
                events[-1][name] = json.loads(value) if name == "data" else value
    raise AssertionError("the stream has ended")


@pytest.mark.parametrize(
    "subject",
    [
        "auth0|5f7c8ec7c33c6c004bbafe82",
        "jean@example.ht",
        "=1+1;\"<b>&'%2C{}[]\\",
        "bob:watch",
        "%2e%2E",
        "a" * 255,
    ],
)
async def test_a_subject_of_any_identity_provider_is_a_user_everywhere(
    gateway: Gateway, served: tuple[Gateway, wallets.Client], subject: str
) -> None:
    client, own = served[1], {"authorization": f"Bearer {wallets.token(subject, 'user')}"}
    await client.fund(subject, 10_000)
    sent = await gateway.http.post(
        "/transfers",
        headers=own | {"idempotency-key": str(uuid.uuid4())},
        json={"toUserId": f"to.{subject}"[:255], "amount": "1.00", "currency": "HTG", "toNewUser": True},
    )
    assert sent.status_code == 201, sent.text
    [wallet] = (await answer(gateway, f"/wallets/user/{quote(subject, safe='')}", headers=own))["wallets"]
    assert (wallet["userId"], wallet["balance"]) == (subject, "99.00")
    found = await answer(gateway, "/accounts", params={"addressPrefix": f"user/{subject}"}, headers=FINANCE)
    assert f"user/{subject}" in [account["address"] for account in found["accounts"]]
    by_counterparty = {"counterparty": f"user/{subject}"}
    provider = (await client.account("provider/stripe")).id
    path = f"/accounts/{provider}/transactions"
    [deposit] = (await answer(gateway, path, params=by_counterparty, headers=FINANCE))["transactions"]
    assert deposit["counterparty"] == f"user/{subject}"
    path = f"/wallets/{wallet['id']}/statement:export?{SINCE}"
    exported = (await gateway.http.get(path, headers=own)).content.decode("utf-8-sig")
    assert f"to.{subject}"[:255] in "".join(cell for row in csv.reader(io.StringIO(exported)) for cell in row)
    page = (await gateway.http.get(path, headers=own | {"accept": "text/html"})).text
    assert html.escape(f"to.{subject}"[:255]) in page
    assert "<b>" not in page
    (event, _) = await events_of(gateway, f"/wallets/{wallet['id']}/transactions:watch", 2, EVENTS | own)
    assert show(event)["amount"] == "100.00"
