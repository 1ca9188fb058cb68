"""Every call to a service passes one interceptor, and nothing reaches a servicer that the contract does not allow."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import structlog
from google.protobuf import empty_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from deploy.local import identity
from kobklein import calls, client, contract, errors, server
from kobklein.payments.v1 import payments_pb2 as pb
from kobklein.payments.v1 import payments_pb2_grpc as pb_grpc
from kobklein.settings import RateSettings, ServiceSettings, TlsSettings
from tests import certificates

SERVICE = "kobklein.payments.v1.PaymentsService"
ID = "0198c5b0-7d2a-7c3e-9f61-2b8f4d1c9a10"
RUNNING = 20
BURST = 1_200
"""More than gRPC by itself lets wait."""


class Broken(errors.Error):
    code = grpc.StatusCode.FAILED_PRECONDITION
    message = "payment {id} is broken"


class OutOfReach(errors.Error):
    code = grpc.StatusCode.UNAVAILABLE
    message = "out of reach, however often it is tried"
    repeated_by_channels = False


class Servicer(pb_grpc.PaymentsServiceServicer):
    """Answers with what the interceptor made of the call."""

    def __init__(self) -> None:
        self.deletions: list[str] = []
        self.released = asyncio.Event()

    async def DeletePayment(self, request: pb.DeletePaymentRequest, context: Any) -> empty_pb2.Empty:
        self.deletions.append(request.id)
        raise errors.Unavailable(part="a part") if request.id.endswith("1") else OutOfReach

    async def CreatePayment(self, request: pb.CreatePaymentRequest, context: Any) -> pb.Payment:
        call = calls.current()
        call.replayed = request.reference == "again"
        return pb.Payment(user_id=request.user_id, currency=request.currency, description=call.request_id)

    async def GetPayment(self, request: pb.GetPaymentRequest, context: Any) -> pb.Payment:
        if request.id.endswith("1"):
            raise Broken(id=request.id)
        if request.id.endswith("2"):
            raise RuntimeError("the password is hunter2")
        if request.id.endswith("3"):
            await self.released.wait()
        return pb.Payment(id=request.id, user_id=calls.current().owner or "everybody")

    async def GetPaymentAnalytics(self, request: pb.GetPaymentAnalyticsRequest, context: Any) -> pb.PaymentAnalytics:
        return pb.PaymentAnalytics(time_zone=request.time_zone)

    async def WatchPayment(self, request: pb.WatchPaymentRequest, context: Any) -> AsyncIterator[pb.Payment]:
        yield pb.Payment(user_id=calls.current().subject)
        if request.id.endswith("4"):
            await asyncio.Event().wait()
        raise Broken(id=request.id)


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> identity.Identity:
    return identity.load(tmp_path_factory.mktemp("identity"))


def settings(local: identity.Identity, **changes: Any) -> ServiceSettings:
    values = {"auth": local.settings, "database_url": "postgresql://nowhere", "page_token_key": "ab" * 32}
    return ServiceSettings.model_validate({**values, "longest_call_seconds": 0.3, **changes})


@contextlib.asynccontextmanager
async def serving(
    configured: ServiceSettings, *, healthy: bool = True, servicer: Servicer | None = None
) -> AsyncIterator[int]:
    async def probe() -> None:
        if not healthy:
            raise ConnectionError

    def add(grpc_server: grpc.aio.Server) -> None:
        pb_grpc.add_PaymentsServiceServicer_to_server(servicer or Servicer(), grpc_server)

    async with server.running([SERVICE], add, configured, probe=probe) as port:
        yield port


@pytest.fixture(scope="module")
async def payments(local: identity.Identity) -> AsyncIterator[Any]:
    configured = settings(local, rates=RateSettings(report="2/hour"))
    async with serving(configured) as port, client.channel(f"127.0.0.1:{port}", None) as channel:
        yield pb_grpc.PaymentsServiceStub(channel)


def bearer(local: identity.Identity, subject: str, *roles: str, key: str = "k") -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {local.token(subject, *roles)}"), ("idempotency-key", key))


async def refused(call: Any) -> errors.Status:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call
    return errors.from_rpc_error(raised.value)


def good(**changes: Any) -> pb.CreatePaymentRequest:
    return pb.CreatePaymentRequest(**{"amount": 1, "method": pb.PAYMENT_METHOD_STRIPE, **changes})


async def test_a_good_call_arrives_with_its_subject_defaults_and_id(payments: Any, local: identity.Identity) -> None:
    metadata = (*bearer(local, "user-1", "user"), ("x-request-id", "request-7"))
    answer = await payments.CreatePayment(good(), metadata=metadata)
    assert answer == pb.Payment(user_id="user-1", currency="HTG", description="request-7")


async def test_without_a_token_nobody_is_served(payments: Any) -> None:
    for metadata in ((), (("authorization", "Basic dTpw"),), (("authorization", "Bearer x.y.z"),)):
        status = await refused(payments.CreatePayment(good(), metadata=metadata))
        assert (status.code, status.reason) == (grpc.StatusCode.UNAUTHENTICATED, "UNAUTHENTICATED")


async def test_a_role_outside_of_the_contract_is_refused(payments: Any, local: identity.Identity) -> None:
    status = await refused(payments.CreatePayment(good(), metadata=bearer(local, "s", "support")))
    assert status.code == grpc.StatusCode.PERMISSION_DENIED


async def test_another_subject_is_refused(payments: Any, local: identity.Identity) -> None:
    status = await refused(payments.CreatePayment(good(user_id="user-2"), metadata=bearer(local, "user-1", "user")))
    assert status.code == grpc.StatusCode.PERMISSION_DENIED


async def test_a_bad_request_names_its_fields(payments: Any, local: identity.Identity) -> None:
    status = await refused(payments.CreatePayment(good(amount=0), metadata=bearer(local, "user-1", "user")))
    assert status.violations == (errors.Violation("amount", "is required"),)


async def test_a_key_is_optional(payments: Any, local: identity.Identity) -> None:
    await payments.CreatePayment(good(), metadata=bearer(local, "user-1", "user", key=""))  # Raises nothing.


async def test_where_keys_are_required_one_of_the_callers_own_is(local: identity.Identity) -> None:
    by_client = bearer(local, "user-1", "user")
    without, by_gateway = by_client[:1], (*by_client, ("idempotency-key-made", "true"))
    async with (
        serving(settings(local, require_idempotency_keys=True)) as port,
        client.channel(f"127.0.0.1:{port}", None) as channel,
    ):
        stub = pb_grpc.PaymentsServiceStub(channel)
        for metadata in (without, by_gateway):
            status = await refused(stub.CreatePayment(good(), metadata=metadata))
            assert (status.reason, "Idempotency-Key" in status.message) == ("IDEMPOTENCY_KEY_MISSING", True)
        await stub.CreatePayment(good(), metadata=by_client)  # Raises nothing.


async def test_a_key_that_is_too_long_is_refused(payments: Any, local: identity.Identity) -> None:
    status = await refused(payments.CreatePayment(good(), metadata=bearer(local, "user-1", "user", key="k" * 256)))
    assert status.violations[0].field == "idempotency_key"


async def test_a_replayed_answer_says_so(payments: Any, local: identity.Identity) -> None:
    call = payments.CreatePayment(good(reference="again"), metadata=bearer(local, "user-1", "user"))
    await call
    assert ("idempotency-replayed", "true") in tuple(await call.trailing_metadata())


async def test_an_owner_is_restricted_and_support_is_not(payments: Any, local: identity.Identity) -> None:
    request = pb.GetPaymentRequest(id=ID)
    assert (await payments.GetPayment(request, metadata=bearer(local, "user-1", "user"))).user_id == "user-1"
    assert (await payments.GetPayment(request, metadata=bearer(local, "s", "support"))).user_id == "everybody"


async def test_an_error_of_ours_arrives_whole(payments: Any, local: identity.Identity) -> None:
    broken = ID[:-1] + "1"
    status = await refused(payments.GetPayment(pb.GetPaymentRequest(id=broken), metadata=bearer(local, "a", "admin")))
    assert (status.code, status.reason, status.metadata) == (
        grpc.StatusCode.FAILED_PRECONDITION,
        "BROKEN",
        {"id": broken},
    )


@pytest.mark.parametrize(("last", "reason", "times"), [("1", "UNAVAILABLE", 4), ("0", "OUT_OF_REACH", 1)])
async def test_a_channel_repeats_unavailable_unless_the_error_says_otherwise(
    local: identity.Identity, last: str, reason: str, times: int
) -> None:
    servicer, request = Servicer(), pb.DeletePaymentRequest(id=ID[:-1] + last)
    async with (
        serving(settings(local, longest_call_seconds=10), servicer=servicer) as port,
        client.channel(f"127.0.0.1:{port}", None, contract.methods([SERVICE]).values()) as channel,
    ):
        stub = pb_grpc.PaymentsServiceStub(channel)
        status = await refused(stub.DeletePayment(request, metadata=bearer(local, "root", "admin")))
    assert (status.code, status.reason) == (grpc.StatusCode.UNAVAILABLE, reason)
    assert servicer.deletions == [request.id] * times


async def test_an_unforeseen_error_tells_nothing(payments: Any, local: identity.Identity) -> None:
    request = pb.GetPaymentRequest(id=ID[:-1] + "2")
    status = await refused(payments.GetPayment(request, metadata=bearer(local, "a", "admin")))
    assert (status.code, status.message) == (grpc.StatusCode.INTERNAL, "internal error")


async def test_a_call_without_a_deadline_gets_one(payments: Any, local: identity.Identity) -> None:
    request = pb.GetPaymentRequest(id=ID[:-1] + "3")
    status = await refused(payments.GetPayment(request, metadata=bearer(local, "a", "admin")))
    assert status.code == grpc.StatusCode.DEADLINE_EXCEEDED


async def test_a_stream_sends_what_it_has_and_then_its_error(payments: Any, local: identity.Identity) -> None:
    stream = payments.WatchPayment(pb.WatchPaymentRequest(id=ID), metadata=bearer(local, "user-1", "user"))
    assert (await stream.read()).user_id == "user-1"
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await stream.read()
    assert errors.from_rpc_error(raised.value).reason == "BROKEN"


async def test_a_caller_has_only_so_many_streams_open(payments: Any, local: identity.Identity) -> None:
    held = ID[:-1] + "4"
    metadata = bearer(local, "watcher", "user")
    streams = [payments.WatchPayment(pb.WatchPaymentRequest(id=held), metadata=metadata) for _ in range(20)]
    for stream in streams:
        await stream.read()
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await payments.WatchPayment(pb.WatchPaymentRequest(id=held), metadata=metadata).read()
    assert errors.from_rpc_error(raised.value).reason == "RATE_LIMITED"
    other = payments.WatchPayment(pb.WatchPaymentRequest(id=held), metadata=bearer(local, "other", "user"))
    assert (await other.read()).user_id == "other"
    for stream in (*streams, other):
        stream.cancel()


async def test_a_server_that_is_full_is_something_to_come_back_for(local: identity.Identity) -> None:
    """More calls on one channel than run at a time, and than gRPC by itself would let wait: none ends as CANCELLED."""
    configured = settings(
        local, concurrent_calls=RUNNING, longest_call_seconds=60, rates=RateSettings(read="1000000/second")
    )
    async with (
        serving(configured, servicer=(servicer := Servicer())) as port,
        grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel,
    ):
        stub, metadata = pb_grpc.PaymentsServiceStub(channel), bearer(local, "user-1", "user")
        held = pb.GetPaymentRequest(id=ID[:-1] + "3")
        burst = [asyncio.create_task(outcome(stub.GetPayment(held, metadata=metadata))) for _ in range(BURST)]
        ended = asyncio.as_completed(burst)
        refusals = [await next(ended) for _ in range(BURST - RUNNING)]
        assert {(each.code, each.reason, each.http_status, each.retry_after_seconds) for each in refusals} == {
            (grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED", 503, 1)
        }
        assert (await stub.CreatePayment(good(), metadata=metadata)).currency == "HTG"  # A call of another kind.
        servicer.released.set()
        assert [(await each).id for each in ended] == [held.id] * RUNNING


async def outcome(call: Any) -> Any:
    """Return the answer, or the status of the refusal."""
    try:
        return await call
    except grpc.aio.AioRpcError as error:
        return errors.from_rpc_error(error)


async def test_streams_leave_most_of_the_calls_to_others(local: identity.Identity) -> None:
    async with (
        serving(settings(local, concurrent_calls=8)) as port,
        client.channel(f"127.0.0.1:{port}", None) as channel,
    ):
        stub = pb_grpc.PaymentsServiceStub(channel)

        def watched(subject: str) -> Any:
            return stub.WatchPayment(pb.WatchPaymentRequest(id=ID[:-1] + "4"), metadata=bearer(local, subject, "user"))

        streams = [watched("user-1"), watched("user-2")]
        for stream in streams:
            await stream.read()
        for subject in ("user-1", "user-3"):
            status = await refused(watched(subject).read())
            assert (status.code, status.reason, status.http_status, status.retry_after_seconds) == (
                grpc.StatusCode.RESOURCE_EXHAUSTED,
                "TOO_MANY_STREAMS",
                503,
                5,
            )
        request = pb.GetPaymentRequest(id=ID)
        answers = [stub.GetPayment(request, metadata=bearer(local, "user-3", "user")) for _ in range(6)]
        assert {answer.id for answer in await asyncio.gather(*answers)} == {ID}
        streams[0].cancel()
        while True:
            freed = watched("user-3")
            with contextlib.suppress(grpc.aio.AioRpcError):
                assert (await freed.read()).user_id == "user-3"
                break


async def test_a_budget_is_kept_on_direct_calls_too(payments: Any, local: identity.Identity) -> None:
    request = pb.GetPaymentAnalyticsRequest()
    for _ in range(2):
        await payments.GetPaymentAnalytics(request, metadata=bearer(local, "f", "finance"))
    status = await refused(payments.GetPaymentAnalytics(request, metadata=bearer(local, "f", "finance")))
    assert status.reason == "RATE_LIMITED"
    assert status.retry_after_seconds is not None


async def test_a_service_has_a_budget_for_each_user_that_it_acts_for(local: identity.Identity) -> None:
    configured = settings(local, rates=RateSettings(payment="2/hour", write="2/hour", read="2/hour"))
    async with serving(configured) as port, client.channel(f"127.0.0.1:{port}", None) as channel:
        stub = pb_grpc.PaymentsServiceStub(channel)
        till, user = bearer(local, "till", "service"), bearer(local, "user-1", "user")
        for number in range(3):
            for _ in range(2):
                await stub.CreatePayment(good(user_id=f"user-{number}"), metadata=till)
        for _ in range(2):
            await stub.CreatePayment(good(), metadata=user)
        for one_more, metadata in (
            (good(user_id="user-1"), till),
            (good(), user),
        ):
            status = await refused(stub.CreatePayment(one_more, metadata=metadata))
            assert (status.code, status.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "RATE_LIMITED")
        await stub.CreatePayment(good(user_id="user-1"), metadata=bearer(local, "kiosk", "service"))
        for _ in range(4):
            await stub.GetPayment(pb.GetPaymentRequest(id=ID), metadata=till)
        for _ in range(2):
            await stub.GetPayment(pb.GetPaymentRequest(id=ID), metadata=user)
        assert (await refused(stub.GetPayment(pb.GetPaymentRequest(id=ID), metadata=user))).reason == "RATE_LIMITED"


@pytest.mark.parametrize(("healthy", "status"), [(True, "SERVING"), (False, "NOT_SERVING")])
async def test_health_says_whether_the_service_can_work(local: identity.Identity, healthy: bool, status: str) -> None:
    async with serving(settings(local), healthy=healthy) as port, client.channel(f"127.0.0.1:{port}", None) as channel:
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(service=SERVICE))
        async for answer in watch:
            if answer.status != health_pb2.HealthCheckResponse.SERVICE_UNKNOWN:
                assert health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status) == status
                break
        watch.cancel()


async def listed(port: int) -> set[str]:
    async with client.channel(f"127.0.0.1:{port}", None) as channel:
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        requests = iter([reflection_pb2.ServerReflectionRequest(list_services="")])
        async for answer in stub.ServerReflectionInfo(requests):
            return {service.name for service in answer.list_services_response.service}
    return set()


async def test_reflection_lists_the_service(local: identity.Identity) -> None:
    async with serving(settings(local)) as port:
        assert SERVICE in await listed(port)


async def test_reflection_can_be_switched_off(local: identity.Identity) -> None:
    async with serving(settings(local, reflection=False)) as port:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await listed(port)
    assert raised.value.code() == grpc.StatusCode.UNIMPLEMENTED


async def test_mutual_tls_lets_only_our_own_certificates_in(local: identity.Identity, tmp_path: Path) -> None:
    ours, theirs = certificates.authority("ours"), certificates.authority("theirs")
    configured = settings(local, tls=certificates.certified(tmp_path, "server", ours))
    friend = certificates.certified(tmp_path, "friend", ours)
    stranger = certificates.certified(tmp_path, "stranger", theirs).model_copy(
        update={"authority_file": friend.authority_file}
    )
    async with serving(configured) as port:
        assert await answered(port, friend, local)
        assert not await answered(port, stranger, local)
        assert not await answered(port, None, local)


@pytest.mark.parametrize(
    ("name", "given", "client_address"),
    [
        ("gateway", "203.0.113.7", "203.0.113.7"),
        ("gateway", "2001:db8::1", "2001:db8::1"),
        ("gateway", "not an address", "127.0.0.1"),
        ("gateway", "", "127.0.0.1"),
        ("stranger", "203.0.113.7", "127.0.0.1"),
        (None, "203.0.113.7", "203.0.113.7"),
    ],
)
async def test_only_processes_of_ours_say_which_client_they_call_for(
    local: identity.Identity, tmp_path: Path, name: str | None, given: str, client_address: str
) -> None:
    ours, plain = certificates.authority("ours"), name is None
    configured = settings(local, tls=None if plain else certificates.certified(tmp_path, "server", ours))
    tls = None if plain else certificates.certified(tmp_path, str(name), ours)
    metadata = (*bearer(local, "a", "admin"), ("x-client-address", given))
    async with serving(configured) as port, client.channel(f"127.0.0.1:{port}", tls) as channel:
        with structlog.testing.capture_logs() as lines:
            await pb_grpc.PaymentsServiceStub(channel).GetPayment(pb.GetPaymentRequest(id=ID), metadata=metadata)
    assert [line["client"] for line in lines if line["event"] == "call"] == [client_address]


async def answered(port: int, tls: TlsSettings | None, local: identity.Identity) -> bool:
    async with client.channel(f"127.0.0.1:{port}", tls) as channel:
        stub = pb_grpc.PaymentsServiceStub(channel)
        try:
            await stub.GetPayment(pb.GetPaymentRequest(id=ID), metadata=bearer(local, "a", "admin"), timeout=5)
        except grpc.aio.AioRpcError as error:
            assert error.code() == grpc.StatusCode.UNAVAILABLE  # noqa: PT017  # nothing else may be in the way
            return False
        return True


@pytest.mark.parametrize("missing", ["tls", "reflection"])
def test_production_is_strict(local: identity.Identity, tmp_path: Path, missing: str) -> None:
    complete = {
        "environment": "production",
        "tls": certificates.certified(tmp_path, "x", certificates.authority("ours")),
        "reflection": False,
    }
    assert settings(local, **complete).production
    with pytest.raises(ValueError, match=missing):
        settings(local, **{key: value for key, value in complete.items() if key != missing})
