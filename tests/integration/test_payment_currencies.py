"""Currencies that payments_service offers: of its own setting, and no more than the ledger does."""

import asyncio
import contextlib
import json
import os
import sys
from pathlib import Path

import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from deploy.local import postgres
from kobklein.payments.v1 import payments_pb2
from payments_service import server, servicer
from tests import databases, payments, waiting, wallets
from tests.payments import refused

COMPLETED = payments_pb2.PAYMENT_STATUS_COMPLETED


async def test_a_payment_in_another_currency_is_refused_before_anything_is_charged_or_recorded(
    payments_database: databases.Database, wallets_database: databases.Database, tmp_path: Path
) -> None:
    async with payments.running(
        payments_database, wallets_database, tmp_path, webhooks=False, currencies=("USD", "HTG")
    ) as client:
        for call in (
            client.process(amount=500, currency="EUR"),
            client.create(amount=500, currency="EUR"),
        ):
            async with refused("CURRENCY_NOT_OFFERED", field="currency"):
                await call
        assert await client.rows("SELECT 1 FROM payments") == []
        assert await client.intents() == []
        payment = await client.create(amount=500, currency="USD")
    async with payments.running(
        payments_database, wallets_database, tmp_path, webhooks=False, currencies=("HTG",)
    ) as client:
        assert (await client.confirm(payment, card="pm_card_visa")).status == COMPLETED
        async with refused("CURRENCY_NOT_OFFERED", field="currency"):
            await client.process(amount=500)


async def test_it_is_not_ready_until_the_ledger_says_what_it_offers(
    payments_database: databases.Database, wallets_database: databases.Database, tmp_path: Path
) -> None:
    port = postgres.free_port()
    own = payments.settings(payments_database, tmp_path, wallets_target=f"127.0.0.1:{port}")
    async with server.run(own) as own_port, wallets.channel(own_port) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        request = health_pb2.HealthCheckRequest(service=servicer.SERVICES[0])
        watch = aiter(health.Watch(request))
        async with waiting.patience("it has looked at itself"):
            while (status := (await anext(watch)).status) == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN:
                pass
        assert status == health_pb2.HealthCheckResponse.NOT_SERVING
        async with wallets.running(wallets_database, port=port), waiting.patience("it is ready"):
            assert (await anext(watch)).status == health_pb2.HealthCheckResponse.SERVING
        assert (await health.Check(request)).status == health_pb2.HealthCheckResponse.SERVING


@pytest.mark.parametrize("currencies", ["USD,EUR,JPY", '["EUR", "USD", "JPY"]'])
async def test_it_refuses_to_start_with_a_currency_that_the_ledger_lacks(
    payments_database: databases.Database, wallets_database: databases.Database, tmp_path: Path, currencies: str
) -> None:
    own = payments.settings(payments_database, tmp_path)
    async with wallets.running(wallets_database, currencies=("HTG", "USD")) as ledger:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "payments_service", "serve"),
            env={
                **os.environ,
                "PAYMENTS_AUTH__HS256_SECRET": wallets.SECRET,
                "PAYMENTS_DATABASE_URL": payments_database.application_url,
                "PAYMENTS_PAGE_TOKEN_KEY": "00" * 32,
                "PAYMENTS_SERVICE_KEY_FILE": str(own.service_key_file),
                "PAYMENTS_WALLETS_TARGET": f"127.0.0.1:{ledger.port}",
                "PAYMENTS_STRIPE__SECRET_KEY": "sk_test_sandbox",
                "PAYMENTS_STRIPE__WEBHOOK_SECRETS": json.dumps([payments.WEBHOOK_SECRET]),
                "PAYMENTS_STRIPE__RETURN_URL": "https://app.test/paid",
                "PAYMENTS_LOG_LEVEL": "error",
                "PAYMENTS_CURRENCIES": currencies,
            },
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with waiting.patience("it has left"):
                _, said = await process.communicate()
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
    assert process.returncode == 2
    assert said.decode() == (
        "payments_service does not start: PAYMENTS_CURRENCIES has EUR, JPY, which the ledger does not offer:"
        " its WALLETS_CURRENCIES are HTG, USD\n"
    )
