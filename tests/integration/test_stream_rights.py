"""A stream lasts no longer than its caller's right to it."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import grpc
import pydantic
import pytest

from deploy.local import identity
from kobklein import errors, server
from kobklein.payments.v1 import payments_pb2 as pb
from kobklein.payments.v1 import payments_pb2_grpc as pb_grpc
from kobklein.settings import AuthSettings, ServiceSettings
from tests import databases, wallets, wallets_gateway, watching

PATIENCE: Final = 60
ID: Final = "0198c5b0-7d2a-7c3e-9f61-2b8f4d1c9a10"


class Watched(pb_grpc.PaymentsServiceServicer):
    """Says something once and then nothing, or never stops saying a lot; knows whether it has ended."""

    def __init__(self) -> None:
        self.ended = asyncio.Event()

    async def WatchPayment(self, request: pb.WatchPaymentRequest, context: Any) -> AsyncIterator[pb.Payment]:
        try:
            yield pb.Payment(id=request.id)
            while request.id.endswith("1"):
                yield pb.Payment(description="x" * 100_000)
            await asyncio.Event().wait()
        finally:
            self.ended.set()


@contextlib.asynccontextmanager
async def serving(auth_settings: AuthSettings, servicer: Watched) -> AsyncIterator[pb_grpc.PaymentsServiceStub]:
    configured = ServiceSettings.model_validate(
        {
            "auth": auth_settings,
            "database_url": "postgresql://nowhere",
            "page_token_key": "ab" * 32,
            "recheck_seconds": 0.05,
        }
    )

    async def probe() -> None: ...

    def add(grpc_server: grpc.aio.Server) -> None:
        pb_grpc.add_PaymentsServiceServicer_to_server(servicer, grpc_server)

    async with (
        server.running(["kobklein.payments.v1.PaymentsService"], add, configured, probe=probe) as port,
        grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel,
    ):
        yield pb_grpc.PaymentsServiceStub(channel)


async def refused(stream: Any) -> errors.Status:
    """Return how a stream ends that has nothing more to say."""
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await asyncio.wait_for(stream.read(), PATIENCE)
    return errors.from_rpc_error(raised.value)


@pytest.fixture
def local(tmp_path: Path) -> identity.Identity:
    return identity.load(tmp_path)


def watch(stub: Any, token: str, last: str = "0") -> Any:
    request = pb.WatchPaymentRequest(id=ID[:-1] + last)
    return stub.WatchPayment(request, metadata=(("authorization", f"Bearer {token}"),))


async def test_a_quiet_stream_ends_when_its_token_expires(local: identity.Identity) -> None:
    servicer = Watched()
    strict = local.settings.model_copy(update={"leeway_seconds": 0})
    async with serving(strict, servicer) as stub:
        stream = watch(stub, local.token("user-1", "user", lifetime_seconds=4))
        assert (await stream.read()).id == ID
        status = await refused(stream)
        assert (status.code, status.reason) == (grpc.StatusCode.UNAUTHENTICATED, "UNAUTHENTICATED")
        await asyncio.wait_for(servicer.ended.wait(), PATIENCE)


async def test_a_quiet_stream_ends_when_its_subject_is_revoked_and_others_go_on(
    local: identity.Identity, tmp_path: Path
) -> None:
    revocations = tmp_path / "revocations.json"
    with_file = local.settings.model_copy(update={"revocations_file": revocations})
    async with serving(with_file, Watched()) as stub:
        mine, others = (watch(stub, local.token(subject, "user")) for subject in ("user-1", "user-2"))
        assert [(await stream.read()).id for stream in (mine, others)] == [ID, ID]
        revocations.write_text(json.dumps({"subjects": ["user-1"]}))
        assert (await refused(mine)).code == grpc.StatusCode.UNAUTHENTICATED
        assert not others.done()
        others.cancel()


async def test_a_stream_that_nobody_reads_ends_when_its_subject_is_revoked(
    local: identity.Identity, tmp_path: Path
) -> None:
    revocations, servicer = tmp_path / "revocations.json", Watched()
    with_file = local.settings.model_copy(update={"revocations_file": revocations})
    async with serving(with_file, servicer) as stub:
        stream = watch(stub, local.token("user-1", "user"), "1")
        assert (await stream.read()).id == ID[:-1] + "1"
        revocations.write_text(json.dumps({"subjects": ["user-1"]}))
        await asyncio.wait_for(servicer.ended.wait(), PATIENCE)


async def test_a_stream_that_its_client_leaves_is_no_longer_watched_over(local: identity.Identity) -> None:
    servicer = Watched()
    before = len(asyncio.all_tasks())
    async with serving(local.settings, servicer) as stub:
        stream = watch(stub, local.token("user-1", "user"))
        await stream.read()
        during = {task.get_coro().__qualname__ for task in asyncio.all_tasks()}  # type: ignore[union-attr]
        assert "Streams._guard" in during
        stream.cancel()
        await asyncio.wait_for(servicer.ended.wait(), PATIENCE)
    assert len(asyncio.all_tasks()) == before


async def test_over_rest_a_watch_of_a_wallet_ends_for_a_revoked_user(
    wallets_database: databases.Database, tmp_path: Path
) -> None:
    revocations = tmp_path / "revocations.json"
    settings = AuthSettings(hs256_secret=pydantic.SecretStr(wallets.SECRET), revocations_file=revocations)
    async with wallets_gateway.running(wallets_database, service={"auth": settings, "recheck_seconds": 0.05}) as (
        gateway,
        client,
    ):
        await client.fund("user-1", 100)
        wallet = (await client.account("user/user-1")).id
        url = f"/wallets/{wallet}/transactions:watch"
        async with gateway.http.stream("GET", url, timeout=PATIENCE) as answer:
            lines = answer.aiter_lines()
            assert list(json.loads(await anext(lines))) == ["cursor"]
            assert json.loads(await anext(lines))["transaction"]["amount"] == "1.00"
            revocations.write_text(json.dumps({"subjects": ["user-1"]}))
            mark, problem = json.loads(await anext(lines))
            assert (mark, problem["status"]) == ("problem", 401)
            assert [line async for line in lines] == []


async def test_a_watch_of_a_wallet_ends_for_a_revoked_user(
    wallets_database: databases.Database, tmp_path: Path
) -> None:
    revocations = tmp_path / "revocations.json"
    settings = AuthSettings(hs256_secret=pydantic.SecretStr(wallets.SECRET), revocations_file=revocations)
    async with wallets.running(wallets_database, auth=settings, recheck_seconds=0.05) as client:
        await client.fund("ana", 100)
        wallet = (await client.account("user/ana")).id
        watch_ = watching.transactions(client, wallet, wallets.metadata("ana", "user"))
        assert (await watch_.next()).transaction.amount == 100
        revocations.write_text(json.dumps({"subjects": ["ana"]}))
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await watch_.next()
        assert raised.value.code() == grpc.StatusCode.UNAUTHENTICATED
