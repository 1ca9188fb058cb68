"""Payments as records: update, delete, list, watch."""

import asyncio
import datetime
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc
import prometheus_client
import psycopg
import pytest
from google.protobuf import timestamp_pb2

from kobklein import database
from kobklein.payments.v1 import payments_pb2
from payments_service import housekeeping
from payments_service.settings import MoneyPathSettings
from tests import databases, payments
from tests.payments import AS_ADMIN, by, refused

PENDING = payments_pb2.PAYMENT_STATUS_PENDING
PROCESSING = payments_pb2.PAYMENT_STATUS_PROCESSING
COMPLETED = payments_pb2.PAYMENT_STATUS_COMPLETED
FAILED = payments_pb2.PAYMENT_STATUS_FAILED
CANCELLED = payments_pb2.PAYMENT_STATUS_CANCELLED


@pytest.fixture
async def client(fresh: Callable[[], Awaitable[payments.Client]]) -> payments.Client:
    return await fresh()


async def test_the_owner_changes_description_and_metadata_only_where_the_mask_says_so(client: payments.Client) -> None:
    payment = await client.create(description="old", metadata={"a": 1})
    updated = await client.update(payment, "description", description="new", metadata={}, status=CANCELLED)
    assert (updated.description, updated.metadata["a"], updated.status) == ("new", 1, PENDING)
    assert (updated.version, updated.etag) == (2, "2")
    updated = await _update_metadata(client, payment, {"b": [True, None]})
    assert updated.metadata["b"][0] is True


async def _update_metadata(
    client: payments.Client, payment: payments_pb2.Payment, metadata: dict[str, Any]
) -> payments_pb2.Payment:
    request = payments_pb2.UpdatePaymentRequest(
        id=payment.id, payment={"metadata": metadata}, update_mask={"paths": ["metadata"]}
    )
    return await client.stub.UpdatePayment(request, metadata=by(client.user))


@pytest.mark.parametrize("paths", [("description", "userId"), ("*",), ("metadata.a",)])
async def test_a_mask_that_names_something_else_is_refused(client: payments.Client, paths: tuple[str, ...]) -> None:
    payment = await client.create()
    async with refused("INVALID_ARGUMENT", field="update_mask"):
        await client.update(payment, *paths, description="x")


async def test_a_status_in_the_mask_needs_a_value(client: payments.Client) -> None:
    payment = await client.create()
    async with refused("INVALID_ARGUMENT", field="payment.status"):
        await client.update(payment, "status", metadata=AS_ADMIN)


async def test_an_update_that_changes_nothing_leaves_the_payment_as_it_is(client: payments.Client) -> None:
    payment = await client.create(description="a", metadata={"n": 1e16, "yes": True})
    whole = payments_pb2.UpdatePaymentRequest(id=payment.id.upper(), payment=payment)
    for paths in ([], ["description"], ["metadata", "status", "amount", "etag"]):
        masked = payments_pb2.UpdatePaymentRequest(id=payment.id, payment=payment, update_mask={"paths": paths})
        for request in (whole, masked):
            assert await client.stub.UpdatePayment(request, metadata=by(client.user)) == payment
    async with refused("ETAG_MISMATCH"):
        await client.update(payment, "description", description="a", etag="9")
    assert await client.rows("SELECT what FROM payment_changes") == [("created",)]
    whole.payment.description = "b"
    changed = await client.stub.UpdatePayment(whole, metadata=by(client.user))
    assert (changed.description, changed.version, changed.status) == ("b", 2, PENDING)
    assert (await _update_metadata(client, payment, {"n": 1e16, "yes": 1})).version == 3


async def test_a_cancelled_payment_stays_as_it_is_when_it_is_cancelled_again(client: payments.Client) -> None:
    payment = await client.create(description="a")
    ended = await client.update(payment, "status", metadata=AS_ADMIN, status=CANCELLED)
    assert await client.update(payment, "status", metadata=AS_ADMIN, status=CANCELLED) == ended
    whole = payments_pb2.UpdatePaymentRequest(id=payment.id, payment=ended)
    assert await client.stub.UpdatePayment(whole, metadata=by(client.user)) == ended
    whole.payment.description = "b"
    changed = await client.stub.UpdatePayment(whole, metadata=by(client.user))
    assert (changed.status, changed.description, changed.version) == (CANCELLED, "b", ended.version + 1)


async def test_the_largest_amount_is_kept_and_found(client: payments.Client) -> None:
    most = 999_999_999_999_999
    payment = await client.create(amount=most, currency="KWD", method=payments_pb2.PAYMENT_METHOD_CASH)
    assert (await client.get(payment)).amount == most
    request = payments_pb2.ListPaymentsRequest(currency="KWD", min_amount=most, max_amount=most)
    assert [each.id for each in (await client.stub.ListPayments(request, metadata=by(client.user))).payments] == [
        payment.id
    ]


async def test_the_owner_cannot_change_the_status(client: payments.Client) -> None:
    payment, said = await client.create(), "changing status needs admin; this token has user"
    async with refused("PERMISSION_DENIED", said=said):
        await client.update(payment, "status", status=CANCELLED)
    async with refused("PERMISSION_DENIED", said=said):
        await client.update(payment, "status", status=COMPLETED)


@pytest.mark.parametrize("status", [CANCELLED, FAILED])
async def test_an_admin_ends_a_pending_payment(client: payments.Client, status: Any) -> None:
    payment = await client.create()
    ended = await client.update(payment, "status", "description", metadata=AS_ADMIN, status=status, description="by us")
    assert (ended.status, ended.description) == (status, "by us")


@pytest.mark.parametrize("status", [COMPLETED, payments_pb2.PAYMENT_STATUS_REFUNDED])
async def test_nobody_gives_a_payment_a_status_that_only_money_gives(client: payments.Client, status: Any) -> None:
    payment = await client.create()
    async with refused("ILLEGAL_MOVE"):
        await client.update(payment, "status", metadata=AS_ADMIN, status=status)


async def test_a_completed_payment_is_not_cancelled(client: payments.Client) -> None:
    payment = await client.process()
    async with refused("ILLEGAL_MOVE"):
        await client.update(payment, "status", metadata=AS_ADMIN, status=CANCELLED)


async def test_a_stale_etag_is_refused(client: payments.Client) -> None:
    payment = await client.create()
    await client.update(payment, "description", description="first", etag=payment.etag)
    async with refused("ETAG_MISMATCH"):
        await client.update(payment, "description", description="second", etag=payment.etag)
    async with refused("ETAG_MISMATCH"):
        await _delete(client, payment, etag=payment.etag)


async def test_a_payment_that_never_held_money_is_deleted_softly(client: payments.Client) -> None:
    payment = await client.create()
    await _delete(client, payment)
    async with refused("PAYMENT_NOT_FOUND"):
        await client.get(payment)
    async with refused("PAYMENT_NOT_FOUND"):
        await _delete(client, payment)
    assert (await _list(client)).payments == []
    assert await client.rows("SELECT what, actor FROM payment_changes ORDER BY version") == [
        ("created", client.user),
        ("deleted", "root"),
    ]


async def test_a_payment_that_touched_money_is_never_deleted(client: payments.Client) -> None:
    for card in ("pm_card_visa", "pm_card_threeDSecure2Required"):
        async with refused("PAYMENT_NOT_DELETABLE"):
            await _delete(client, await client.process(card=card))


async def test_only_admins_delete(client: payments.Client) -> None:
    payment = await client.create()
    async with refused("PERMISSION_DENIED"):
        await client.stub.DeletePayment(payments_pb2.DeletePaymentRequest(id=payment.id), metadata=by(client.user))


async def test_the_application_cannot_touch_the_audit_trail_or_delete_a_payment(client: payments.Client) -> None:
    await client.create()
    async with await psycopg.AsyncConnection.connect(client.database.application_url, autocommit=True) as connection:
        for statement in (
            "UPDATE payment_changes SET actor = 'nobody'",
            "DELETE FROM payment_changes",
            "TRUNCATE payment_changes",
            "DELETE FROM payments",
            "DROP TABLE payments CASCADE",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                await connection.execute(statement)
    with pytest.raises(psycopg.errors.RestrictViolation):
        await client.rows("UPDATE payment_changes SET actor = 'nobody'")


async def _delete(client: payments.Client, payment: payments_pb2.Payment, *, etag: str = "") -> None:
    request = payments_pb2.DeletePaymentRequest(id=payment.id, etag=etag)
    await client.stub.DeletePayment(request, metadata=AS_ADMIN)


async def test_lists_show_users_their_own_and_admins_everything(client: payments.Client) -> None:
    mine, other = await client.create(), await client.create(user="bob")
    assert list((await _list(client)).payments) == [mine]
    assert list((await _list(client, metadata=AS_ADMIN)).payments) == [other, mine]
    assert list((await _list(client, metadata=AS_ADMIN, user_id="bob")).payments) == [other]
    async with refused("PERMISSION_DENIED"):
        await _list(client, user_id="bob")


@pytest.mark.parametrize(
    ("sort", "expected"),
    [
        (payments_pb2.PAYMENT_SORT_UNSPECIFIED, [4, 3, 2, 1, 0]),
        (payments_pb2.PAYMENT_SORT_CREATED_ASC, [0, 1, 2, 3, 4]),
        (payments_pb2.PAYMENT_SORT_AMOUNT_ASC, [1, 3, 0, 2, 4]),
        (payments_pb2.PAYMENT_SORT_AMOUNT_DESC, [4, 2, 0, 3, 1]),
    ],
)
async def test_pages_join_without_gap_or_repetition_in_every_order(
    client: payments.Client, sort: Any, expected: list[int]
) -> None:
    made = [await client.create(amount=amount) for amount in (500, 100, 500, 100, 900)]
    seen, token = [], ""
    while True:
        page = await _list(client, sort=sort, page_size=2, page_token=token)
        seen += [made.index(payment) for payment in page.payments]
        token = page.next_page_token
        if not token:
            break
    if sort in (payments_pb2.PAYMENT_SORT_UNSPECIFIED, payments_pb2.PAYMENT_SORT_CREATED_ASC):
        assert seen == expected
    assert [made[index].amount for index in seen] == [made[index].amount for index in expected]
    assert sorted(seen) == [0, 1, 2, 3, 4]


async def test_every_filter_holds(client: payments.Client) -> None:
    cash = await client.create(method=payments_pb2.PAYMENT_METHOD_CASH, currency="HTG", amount=300, reference="R-1")
    card = await client.process(amount=200)
    for conditions, expected in (
        ({"status": [PENDING]}, [cash]),
        ({"status": [COMPLETED, FAILED]}, [card]),
        ({"method": [payments_pb2.PAYMENT_METHOD_CASH]}, [cash]),
        ({"currency": "USD"}, [card]),
        ({"currency": "HTG", "min_amount": 300, "max_amount": 300}, [cash]),
        ({"currency": "HTG", "min_amount": 301}, []),
        ({"reference": "R-1"}, [cash]),
        ({"created_from": card.created_time}, [card]),
        ({"created_before": card.created_time}, [cash]),
        ({"created_from": cash.created_time, "created_before": card.created_time}, [cash]),
        ({"created_from": _later(card.created_time)}, []),
        ({"created_from": cash.created_time, "created_before": _later(cash.created_time)}, [cash]),
        ({"status": [PENDING], "currency": "USD"}, []),
    ):
        assert list((await _list(client, **conditions)).payments) == expected, conditions


def _later(time: timestamp_pb2.Timestamp) -> timestamp_pb2.Timestamp:
    """Return the next nanosecond, which the table cannot tell apart."""
    return timestamp_pb2.Timestamp(seconds=time.seconds, nanos=time.nanos + 1)


async def test_a_page_token_of_another_list_is_refused(client: payments.Client) -> None:
    for _ in range(3):
        await client.create()
    token = (await _list(client, page_size=1)).next_page_token
    assert (await _list(client, page_size=2, page_token=token)).payments
    for conditions in ({"currency": "USD"}, {"sort": payments_pb2.PAYMENT_SORT_AMOUNT_ASC}):
        async with refused("INVALID_ARGUMENT", field="page_token"):
            await _list(client, page_token=token, **conditions)
    async with refused("INVALID_ARGUMENT", field="page_token"):
        await _list(client, page_token=token, metadata=by("bob"))


async def test_ranges_that_end_before_they_start_are_refused(client: payments.Client) -> None:
    async with refused("INVALID_ARGUMENT", field="max_amount"):
        await _list(client, currency="USD", min_amount=2, max_amount=1)
    later = datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC)
    async with refused("INVALID_ARGUMENT", field="created_before"):
        await _list(client, created_from=later, created_before=later - datetime.timedelta(days=1))


async def _list(client: payments.Client, *, metadata: Any = None, **conditions: Any) -> Any:
    request = payments_pb2.ListPaymentsRequest(**conditions)
    return await client.stub.ListPayments(request, metadata=metadata or by(client.user))


async def test_a_payments_trail_shows_its_owner_states_and_times_and_staff_who(client: payments.Client) -> None:
    payment = await client.create()
    await client.update(payment, "description", description="new")
    completed = await client.confirm(payment, card="pm_card_visa")
    own = (await _changes(client, payment)).changes
    statuses = [(change.version, change.before, change.after) for change in own]
    assert statuses == [
        (1, payments_pb2.PAYMENT_STATUS_UNSPECIFIED, PENDING),
        (2, PENDING, PENDING),
        (3, PENDING, PROCESSING),
        (4, PROCESSING, PROCESSING),
        (5, PROCESSING, COMPLETED),
    ]
    assert own[4].version == completed.version
    times = [change.time.ToDatetime() for change in own]
    assert times == sorted(times)
    assert payment.created_time.ToDatetime() <= times[0]
    assert [change.trigger for change in own] == [payments_pb2.PAYMENT_TRIGGER_CALL] * 4 + [
        payments_pb2.PAYMENT_TRIGGER_SETTLEMENT
    ]
    assert {(change.actor, change.what, change.event_id) for change in own} == {("", "", "")}
    seen = (await _changes(client, payment, metadata=by("helper", "support"))).changes
    assert [(change.actor, change.what) for change in seen] == [
        (client.user, "created"),
        (client.user, "updated: description"),
        (client.user, "charged"),
        ("money_path", "paid"),
        ("settlement", "settled"),
    ]


async def test_the_pages_of_a_trail_join(client: payments.Client) -> None:
    payment = await client.process()
    whole, seen, token = (await _changes(client, payment)).changes, [], ""
    for _ in whole:
        page = await _changes(client, payment, page_size=1, page_token=token)
        seen += page.changes
        token = page.next_page_token
    assert (seen, token) == (list(whole), "")
    async with refused("INVALID_ARGUMENT", field="page_token"):
        other = await client.create()
        token = (await _changes(client, payment, page_size=1)).next_page_token
        await _changes(client, other, page_token=token)


async def test_the_trail_of_another_users_payment_is_not_found(client: payments.Client) -> None:
    payment = await client.create()
    async with refused("PAYMENT_NOT_FOUND"):
        await _changes(client, payment, metadata=by("bob"))


async def test_only_staff_see_the_trail_of_a_deleted_payment(client: payments.Client) -> None:
    payment = await client.create()
    await _delete(client, payment)
    async with refused("PAYMENT_NOT_FOUND"):
        await _changes(client, payment)
    trail = (await _changes(client, payment, metadata=AS_ADMIN)).changes
    assert [change.what for change in trail] == ["created", "deleted"]


async def _changes(client: payments.Client, payment: payments_pb2.Payment, *, metadata: Any = None, **page: Any) -> Any:
    request = payments_pb2.ListPaymentChangesRequest(id=payment.id, **page)
    return await client.stub.ListPaymentChanges(request, metadata=metadata or by(client.user))


async def test_only_the_owner_sees_what_pays_a_payment(client: payments.Client) -> None:
    payment = await client.process(card="pm_card_threeDSecure2Required")
    assert payment.next_action.client_secret
    assert payment.next_action.redirect_url
    for staff in (AS_ADMIN, by("helper", "support"), by("books", "finance"), by("inside", "service")):
        got = await client.stub.GetPayment(payments_pb2.GetPaymentRequest(id=payment.id), metadata=staff)
        (listed,) = (await _list(client, metadata=staff)).payments
        watch = client.stub.WatchPayment(payments_pb2.WatchPaymentRequest(id=payment.id), metadata=staff)
        watched = await watch.read()
        watch.cancel()
        for answer in (got, listed, watched):
            assert answer.next_action == payments_pb2.NextAction(type="redirect_to_url")
    (own,) = (await _list(client)).payments
    assert own == payment == await client.get(payment)


async def test_replays_show_staff_no_more_than_the_first_answer(client: payments.Client) -> None:
    request = payments_pb2.ProcessStripePaymentRequest(
        amount=500, currency="USD", payment_method_id="pm_card_threeDSecure2Required", user_id=client.user
    )
    metadata = by("root", "admin", key="k")
    answers = [await client.stub.ProcessStripePayment(request, metadata=metadata) for _ in range(2)]
    assert [answer.next_action for answer in answers] == [payments_pb2.NextAction(type="redirect_to_url")] * 2
    assert (await client.get(answers[0])).next_action.client_secret
    update = payments_pb2.UpdatePaymentRequest(
        id=answers[0].id, payment={"description": "x"}, update_mask={"paths": ["description"]}
    )
    for _ in range(2):
        changed = await client.stub.UpdatePayment(update, metadata=by("root", "admin", key="u"))
        assert changed.next_action == payments_pb2.NextAction(type="redirect_to_url")
    own = await client.process(key="mine", card="pm_card_threeDSecure2Required")
    assert (await client.process(key="mine", card="pm_card_threeDSecure2Required")) == own
    assert own.next_action.client_secret


async def test_a_payment_by_a_method_without_provider_says_so_and_is_cancelled_in_the_end(
    client: payments.Client,
) -> None:
    old, young = [await client.create(method=payments_pb2.PAYMENT_METHOD_CASH) for _ in range(2)]
    card = await client.create()
    assert [payment.processable for payment in (old, young, card)] == [False, False, True]
    await client.rows(
        "UPDATE payments SET created_time = created_time - interval '7 days' WHERE id = ANY (%s::uuid[])",
        [old.id, card.id],
    )
    engine = database.engine(client.database.application_url, pool_size=2)
    sessions = database.sessions(engine)
    seconds = MoneyPathSettings().unprocessable_seconds
    await asyncio.gather(*(housekeeping.run(sessions, unprocessable_seconds=seconds) for _ in range(2)))
    await housekeeping.run(sessions, unprocessable_seconds=seconds)
    await engine.dispose()
    ended = await client.get(old)
    assert (ended.status, ended.failure_code, ended.version) == (CANCELLED, "method_not_processable", 2)
    assert [(await client.get(payment)).status for payment in (young, card)] == [PENDING, PENDING]
    trail = (await _changes(client, old, metadata=AS_ADMIN)).changes
    assert [(change.actor, change.what, change.trigger) for change in trail[1:]] == [
        ("expiry", "cancelled: method not processable", payments_pb2.PAYMENT_TRIGGER_TIMER)
    ]


async def test_the_service_itself_cancels_what_cannot_be_processed(
    payments_database: databases.Database, wallets_database: databases.Database, tmp_path: Path
) -> None:
    """It looks when it starts, and then now and then."""
    async with payments.running(payments_database, wallets_database, tmp_path, webhooks=False) as client:
        payment = await client.create(method=payments_pb2.PAYMENT_METHOD_MONCASH)
    async with payments.running(
        payments_database, wallets_database, tmp_path, webhooks=False, money_path={"unprocessable_seconds": 0.001}
    ) as client:
        assert (await client.ended(payment)).status == CANCELLED


async def test_the_gauges_tell_what_waits(client: payments.Client) -> None:
    payment = await client.process(card="pm_card_threeDSecure2Required")
    await client.rows(
        "UPDATE payments SET due_time = now() - interval '1 h', leased_until = now() + interval '1 min', fence = 9"
    )
    engine = database.engine(client.database.application_url, pool_size=1)
    await database.transaction(database.sessions(engine), housekeeping.measure)
    await engine.dispose()
    registry = prometheus_client.REGISTRY
    assert registry.get_sample_value("payments_count", {"status": "PROCESSING"}) == 1
    assert registry.get_sample_value("payments_count", {"status": "COMPLETED"}) == 0
    assert (registry.get_sample_value("payments_overdue_seconds", {"step": "FETCH"}) or 0) > 3_000
    assert registry.get_sample_value("payments_inbox_waiting") == 0
    assert (await client.get(payment)).status == PROCESSING


async def test_a_watch_shows_every_stage_up_to_the_end(client: payments.Client) -> None:
    payment = await client.create()
    stages: list[int] = []

    async def watch() -> None:
        request = payments_pb2.WatchPaymentRequest(id=payment.id)
        async for seen in client.stub.WatchPayment(request, metadata=by(client.user)):
            stages.append(seen.status)
            started.set()

    started = asyncio.Event()
    watching = asyncio.create_task(watch())
    await started.wait()
    await client.confirm(payment, card="pm_card_visa")
    await asyncio.wait_for(watching, 10)
    assert stages[0] == PENDING
    assert stages[-1] == COMPLETED
    assert stages == sorted(stages)


async def test_a_watch_of_another_users_payment_finds_nothing(client: payments.Client) -> None:
    payment = await client.create()
    async with refused("PAYMENT_NOT_FOUND"):
        request = payments_pb2.WatchPaymentRequest(id=payment.id)
        async for _ in client.stub.WatchPayment(request, metadata=by("bob")):
            pass


async def test_a_watch_has_a_longest_time(
    payments_database: databases.Database, wallets_database: databases.Database, tmp_path: Path
) -> None:
    async with payments.running(
        payments_database, wallets_database, tmp_path, webhooks=False, longest_watch_seconds=0.2
    ) as client:
        payment = await client.create()
        request = payments_pb2.WatchPaymentRequest(id=payment.id)
        watch = client.stub.WatchPayment(request, metadata=by(client.user))
        assert await watch.read() == payment
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await watch.read()
        assert raised.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
