"""The real contract through the gateway, with a payments service that only remembers."""

import time
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from grpc_status import rpc_status

from gateway import webhooks
from kobklein import errors
from kobklein.payments.v1 import payments_pb2 as pb
from kobklein.payments.v1 import payments_pb2_grpc
from tests import gateways
from tests.gateways import Gateway

ID = "0198c5b0-7d2a-7c3e-9f61-2b8f4d1c9a10"
KEY = {"idempotency-key": "k"}


def signed(offset: float = 0) -> dict[str, str]:
    """Return the header of a signature made now, or so many seconds later."""
    return {"stripe-signature": f"t={int(time.time() + offset)},v1=abc"}


class Payments(payments_pb2_grpc.PaymentsServiceServicer):
    """Remembers what it was asked."""

    def __init__(self) -> None:
        self.received: list[Any] = []
        self.refusal: errors.Error | None = None

    async def _serve(self, request: Any, context: Any) -> pb.Payment:
        self.received.append(request)
        return pb.Payment(id=ID, amount=10010, currency="HTG", status=pb.PAYMENT_STATUS_PENDING, etag="1")

    CreatePayment = GetPayment = UpdatePayment = _serve

    async def ListPayments(self, request: Any, context: Any) -> pb.ListPaymentsResponse:
        self.received.append(request)
        return pb.ListPaymentsResponse(payments=[pb.Payment(id=ID)], next_page_token="next")

    async def ReceiveWebhook(self, request: Any, context: Any) -> pb.ReceiveWebhookResponse:
        self.received.append(request)
        if self.refusal is not None:
            await context.abort_with_status(rpc_status.to_status(errors.to_status(self.refusal)))
        return pb.ReceiveWebhookResponse(event_id="evt_1")

    def add_to(self, server: grpc.aio.Server) -> None:
        payments_pb2_grpc.add_PaymentsServiceServicer_to_server(self, server)


@pytest.fixture(scope="module")
async def served() -> AsyncIterator[tuple[Gateway, Payments]]:
    payments = Payments()
    async with gateways.serving("kobklein.payments", payments.add_to) as gateway:
        yield gateway, payments


@pytest.fixture
def gateway(served: tuple[Gateway, Payments]) -> Gateway:
    return served[0]


@pytest.fixture
def payments(served: tuple[Gateway, Payments]) -> Payments:
    served[1].received.clear()
    served[1].refusal = None
    return served[1]


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
@pytest.mark.parametrize("end", [":foo", ":watched", "/foo", ":foo:bar"])
async def test_an_unknown_verb_on_an_id_is_404(gateway: Gateway, payments: Payments, method: str, end: str) -> None:
    answer = await gateway.http.request(method, f"/payments/{ID}{end}")
    assert (answer.status_code, answer.json()["reason"]) == (404, "NOT_FOUND")
    assert answer.json()["detail"].startswith(f"no route /payments/{ID}{end}")
    assert payments.received == []


@pytest.mark.parametrize(
    ("path", "meant"),
    [
        ("/payments/", "/payments"),
        ("/payment", "/payments"),
        ("/v1/payments", "/payments"),
        ("/api/payments/user/user-1", "/payments/user/user-1"),
        (f"/payments/{ID}:wacth", f"/payments/{ID}:watch"),
        ("/v1/payments/stripe/webhook", "/payments/stripe/webhook"),
        (f"/payments/{ID}/", f"/payments/{ID}"),
        ("/invoices", ""),
    ],
)
async def test_an_unknown_route_is_told_apart_from_an_unknown_payment(gateway: Gateway, path: str, meant: str) -> None:
    detail = (await gateway.http.get(path)).json()["detail"]
    assert detail == f"no route {path}" + (f"; did you mean {meant}?" if meant else "")


@pytest.mark.parametrize("body", [b'{"amount": "10.00",}', b"[]", b"\xff", b"{" * 40])
async def test_what_cannot_be_read_is_all_that_is_said_of_a_body(gateway: Gateway, body: bytes) -> None:
    headers = {**KEY, "content-type": "application/json"}
    for method, path in (("POST", "/payments"), ("PATCH", f"/payments/{ID}")):
        answer = await gateway.http.request(method, path, content=body, headers=headers)
        assert answer.status_code == 400
        assert len(answer.json()["errors"]) == 1, answer.text


async def test_a_body_may_begin_with_a_byte_order_mark(gateway: Gateway, payments: Payments) -> None:
    body = b'\xef\xbb\xbf{"amount": "100.10", "method": "STRIPE"}'
    answer = await gateway.http.post("/payments", content=body, headers={**KEY, "content-type": "application/json"})
    assert (answer.status_code, payments.received[0].amount) == (201, 10010)
    twice = b"\xef\xbb\xbf" + body
    answer = await gateway.http.post("/payments", content=twice, headers={**KEY, "content-type": "application/json"})
    assert answer.json()["errors"][0]["field"] == "body"


async def test_a_page_may_be_asked_to_be_larger_than_pages_are(gateway: Gateway, payments: Payments) -> None:
    assert (await gateway.http.get("/payments?pageSize=201")).status_code == 200


async def test_a_payment_is_created_with_exact_money(gateway: Gateway, payments: Payments) -> None:
    body = b'{"amount": 100.10, "method": "STRIPE", "description": "Wallet top-up", "metadata": {"order": 7}}'
    answer = await gateway.http.post("/payments", content=body, headers={**KEY, "content-type": "application/json"})
    assert (answer.status_code, answer.headers["etag"]) == (201, '"1"')
    expected = pb.CreatePaymentRequest(amount=10010, method=pb.PAYMENT_METHOD_STRIPE, description="Wallet top-up")
    expected.metadata.update({"order": 7})
    assert payments.received == [expected]
    assert {name: answer.json()[name] for name in ("amount", "refundedAmount", "status", "description")} == {
        "amount": "100.10", "refundedAmount": "0.00", "status": "PENDING", "description": "",
    }  # fmt: skip
    assert "method" not in answer.json()


async def test_amounts_follow_the_decimals_of_their_currency(gateway: Gateway, payments: Payments) -> None:
    for amount, currency in (("500", "JPY"), ("1.234", "KWD"), ("0.5", "USD")):
        body = {"amount": amount, "currency": currency, "method": "STRIPE"}
        assert (await gateway.http.post("/payments", json=body, headers=KEY)).status_code == 201
    assert [request.amount for request in payments.received] == [500, 1234, 50]


async def test_an_unknown_currency_names_itself_and_not_the_amount(gateway: Gateway, payments: Payments) -> None:
    body = {"amount": "1.00", "currency": "ABC", "method": "STRIPE"}
    answer = await gateway.http.post("/payments", json=body, headers=KEY)
    assert answer.json()["errors"] == [{"field": "currency", "detail": "is not a currency of ISO 4217"}]


async def test_a_list_takes_its_filters_from_the_query_and_the_path(gateway: Gateway, payments: Payments) -> None:
    await gateway.http.get(
        "/payments?status=PENDING&status=FAILED&minAmount=1.5&currency=HTG&page_size=5&sort=AMOUNT_ASC"
    )
    await gateway.http.get("/payments/user/user-1?createdFrom=2024-01-01T00:00:00Z")
    first, second = payments.received
    assert first == pb.ListPaymentsRequest(
        status=[pb.PAYMENT_STATUS_PENDING, pb.PAYMENT_STATUS_FAILED],
        min_amount=150,
        currency="HTG",
        page_size=5,
        sort=pb.PAYMENT_SORT_AMOUNT_ASC,
    )
    assert (second.user_id, second.created_from.seconds) == ("user-1", 1704067200)


async def test_a_patch_says_what_it_changes(gateway: Gateway, payments: Payments) -> None:
    await gateway.http.patch(f"/payments/{ID}", json={"description": "x"}, headers={"if-match": '"3"'})
    expected = pb.UpdatePaymentRequest(id=ID, payment=pb.Payment(description="x"), etag="3")
    expected.update_mask.paths.append("description")
    assert payments.received == [expected]


async def test_a_payment_is_patched_as_it_was_read(gateway: Gateway, payments: Payments) -> None:
    whole = (await gateway.http.get(f"/payments/{ID}")).json()
    assert {"id", "amount", "etag", "version"} <= whole.keys()
    for body, paths in ((whole | {"description": "new"}, ["description", "status"]), ({}, [])):
        answer = await gateway.http.patch(f"/payments/{ID.upper()}", json=body)
        assert answer.status_code == 200, answer.text
        request = payments.received[-1]
        assert (request.id, sorted(request.update_mask.paths)) == (ID, paths)
        assert (request.payment.id, request.payment.amount) == ("", 0)


async def test_enums_dates_and_lists_are_taken_as_clients_write_them(gateway: Gateway, payments: Payments) -> None:
    answer = await gateway.http.get(
        "/payments?status=completed,PAYMENT_STATUS_FAILED&status=1&method=stripe&sort=amountAsc&pageSize=201"
        "&createdFrom=2024-01-01T00:00:00+02:00"
    )
    assert answer.status_code == 200, answer.text
    (request,) = payments.received
    assert (list(request.status), list(request.method)) == ([3, 4, 1], [1])
    assert (request.sort, request.page_size) == (pb.PAYMENT_SORT_AMOUNT_ASC, 201)
    assert request.created_from.seconds == 1704060000
    answer = await gateway.http.get("/payments?status=0&status=COMPLETED,LOST")
    names = "PENDING, PROCESSING, COMPLETED, FAILED, CANCELLED, REFUNDED"
    assert answer.json()["errors"] == [{"field": f"status[{at}]", "detail": f"is not one of {names}"} for at in (0, 2)]


@pytest.mark.parametrize("name", ["id", "refundedAmount", "version", "status", "createdTime", "etag"])
async def test_fields_that_the_service_sets_cannot_be_assigned(gateway: Gateway, payments: Payments, name: str) -> None:
    body = {"amount": "1.00", "method": "STRIPE", name: "1"}
    answer = await gateway.http.post("/payments", json=body, headers=KEY)
    assert answer.json()["errors"] == [{"field": name, "detail": "is not a known field"}]
    assert payments.received == []


@pytest.mark.parametrize("names", ["a," * 1000, ",".join(f"field{number}" for number in range(1000)), "a" * 5000])
async def test_a_mask_without_measure_is_refused(gateway: Gateway, payments: Payments, names: str) -> None:
    for answer in (
        await gateway.http.patch(f"/payments/{ID}?updateMask={names}", json={"description": "x"}),
        await gateway.http.patch(f"/payments/{ID}", json={"description": "x", "updateMask": names}),
    ):
        fields = {error["field"] for error in answer.json()["errors"]}
        assert (answer.status_code, "updateMask" in fields, len(answer.content) < 2000) == (400, True, True)
    assert payments.received == []


async def test_a_webhook_reaches_the_service_byte_for_byte_and_without_a_token(
    gateway: Gateway, payments: Payments
) -> None:
    raw = b'{ "id":"evt_1",\n "x": "\xc3\xa9" }'
    signature = f"t={int(time.time())},v1=abc"
    headers = {"stripe-signature": signature, "authorization": ""}
    answer = await gateway.http.post("/payments/stripe/webhook", content=raw, headers=headers)
    assert (answer.status_code, answer.json()) == (200, {"received": True})
    assert payments.received == [pb.ReceiveWebhookRequest(provider="stripe", payload=raw, signature=signature)]


async def test_a_webhook_without_a_signature_reaches_nobody(gateway: Gateway, payments: Payments) -> None:
    answer = await gateway.http.post("/payments/stripe/webhook", content=b"{}")
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, "Stripe-Signature")
    assert payments.received == []


async def test_a_forged_webhook_is_refused(gateway: Gateway, payments: Payments) -> None:
    payments.refusal = errors.InvalidArgument.of("signature", "is not the provider's")
    answer = await gateway.http.post("/payments/stripe/webhook", content=b"{}", headers=signed())
    assert (answer.status_code, answer.json()["reason"]) == (400, "INVALID_ARGUMENT")


@pytest.mark.parametrize("second", [b"t=2", b"t=1,v1=abc"])
async def test_a_webhook_with_two_signatures_is_refused(gateway: Gateway, payments: Payments, second: bytes) -> None:
    headers = [("stripe-signature", "t=1,v1=abc"), ("stripe-signature", second.decode())]
    answer = await gateway.http.post("/payments/stripe/webhook", content=b"{}", headers=headers)
    assert (answer.status_code, payments.received) == (400, [])


async def test_a_webhook_has_a_size_limit_and_one_method(gateway: Gateway, payments: Payments) -> None:
    path, headers = webhooks.path("stripe"), signed()
    long = await gateway.http.post(path, content=b"x" * (512 * 1024 + 1), headers=headers)
    assert (long.status_code, payments.received) == (413, [])
    assert (await gateway.http.get(path)).headers["allow"] == "POST"


async def test_only_a_token_makes_a_caller_and_each_role_has_its_routes(gateway: Gateway, payments: Payments) -> None:
    def bearer(*roles: str) -> dict[str, str]:
        return {"authorization": f"Bearer {gateways.token(*roles)}"}

    assert (await gateway.http.get("/payments/analytics", headers=bearer("user"))).status_code == 403
    assert (await gateway.http.get("/payments/analytics", headers=bearer("finance"))).status_code == 501
    assert (await gateway.http.delete(f"/payments/{ID}", headers=bearer("support"))).status_code == 403
    assert (await gateway.http.post("/payments", json={}, headers=bearer())).status_code == 403


async def test_a_caller_who_calls_too_often_is_told_when_to_come_back() -> None:
    payments = Payments()
    async with gateways.serving("kobklein.payments", payments.add_to, rates={"read": "3/minute"}) as gateway:
        answers = [await gateway.http.get(f"/payments/{ID}") for _ in range(4)]
        other = {"authorization": f"Bearer {gateways.token('user', subject='user-2')}", "x-forwarded-for": "1.2.3.4"}
        assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
        assert 1 <= int(answers[3].headers["retry-after"]) <= 61
        assert (await gateway.http.get(f"/payments/{ID}", headers=other)).status_code == 200


async def test_a_service_that_is_away_is_503_within_the_deadline() -> None:
    payments = Payments()
    async with gateways.serving("kobklein.payments", payments.add_to, served=False) as gateway:
        start = time.monotonic()
        answer = await gateway.http.get(f"/payments/{ID}", headers={"grpc-timeout": "1S"})
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert answer.json()["reason"] == "UNAVAILABLE"
        assert answer.json()["detail"] == "the payments service is out of reach for now"
        assert answer.json()["metadata"] == {"part": "the payments service"}
        assert time.monotonic() - start < 3
        assert "127.0.0.1" not in answer.text
        assert (await gateway.http.get("/readyz")).status_code == 503
