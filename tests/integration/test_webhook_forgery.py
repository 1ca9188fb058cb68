"""Forged, altered and replayed webhooks: nothing but the provider's own words, said now, moves a payment."""

import ast
import asyncio
import hashlib
import hmac
import itertools
import json
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import grpc
import pytest

from deploy.local.postgres import Server
from kobklein import server
from tests import payments
from tests.integration.test_webhooks_inbox import all_applied, event, intent_of
from tests.payments import WEBHOOK_SECRET, refused, signed

OTHER_SECRET = "whsec_of_another_endpoint"
NEXT_SECRET = "whsec_next"
MUTANTS = 500
_EDGE_SECONDS = 20
"""How far from the limit a timestamp is, so that a slow machine does not change the verdict."""


@pytest.fixture(scope="module")
async def fresh(
    postgres: Server, payments_template: str, wallets_template: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Callable[[], Awaitable[payments.Client]]]:
    """A service that is replacing its secret, and whose payment waits for an event that says it was paid."""
    templates, folder = (payments_template, wallets_template), tmp_path_factory.mktemp("keys")
    async with payments.shared(
        postgres,
        templates,
        folder,
        webhooks=False,
        money_path={"provider_schedule": (600.0,)},
        stripe={"webhook_secrets": (NEXT_SECRET, WEBHOOK_SECRET)},
    ) as fresh:
        yield fresh


@pytest.fixture
async def client(fresh: Callable[[], Awaitable[payments.Client]]) -> payments.Client:
    return await fresh()


async def test_five_hundred_mutants_change_nothing(client: payments.Client) -> None:
    payment, body = await _paid(client)
    mutants = list(itertools.islice(_mutants(body), MUTANTS))
    verdicts = await asyncio.gather(*(_verdict(client, *mutant) for mutant in mutants))
    assert len(mutants) == MUTANTS
    assert set(verdicts) == {grpc.StatusCode.INVALID_ARGUMENT}
    assert await client.rows("SELECT count(*) FROM inbox_events") == [(0,)]
    assert await client.get(payment) == payment
    assert await client.balance() == 0
    await client.receive(body)
    assert (await client.ended(payment)).status == payments.payments_pb2.PAYMENT_STATUS_COMPLETED


async def test_a_hundred_replays_of_a_good_event_have_one_effect(client: payments.Client) -> None:
    payment, body = await _paid(client)
    header = signed(body)
    answers = await asyncio.gather(*(client.receive(body, header) for _ in range(100)))
    assert [answer.duplicate for answer in answers].count(False) == 1
    ended = await client.ended(payment)
    await all_applied(client)
    assert await client.get(payment) == ended
    assert await client.balance() == 10_000


@pytest.mark.parametrize("secret", [WEBHOOK_SECRET, NEXT_SECRET])
async def test_both_secrets_count_during_a_rotation(client: payments.Client, secret: str) -> None:
    body = event("customer.created", {"object": "customer", "id": "cus_1"})
    assert not (await client.receive(body, signed(body, secret=secret))).duplicate
    both = f"{signed(body, secret=OTHER_SECRET)},v1={signed(body, secret=secret).rpartition('=')[2]}"
    assert (await client.receive(body, both)).duplicate


@pytest.mark.parametrize("offset", [-300 + _EDGE_SECONDS, 300 - _EDGE_SECONDS])
async def test_clocks_may_differ_by_less_than_five_minutes(client: payments.Client, offset: int) -> None:
    body = event("customer.created", {"object": "customer", "id": "cus_1"})
    await client.receive(body, signed(body, time=int(time.time()) + offset))


async def test_a_body_that_is_too_long_is_refused(client: payments.Client) -> None:
    body = event("customer.created", {"object": "customer", "id": "cus_1", "text": "x" * 600_000})
    async with refused("INVALID_ARGUMENT", field="payload"):
        await client.receive(body)


async def test_a_request_that_is_too_long_is_refused_before_it_is_received(client: payments.Client) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await client.receive(b"x" * (server.LONGEST_REQUEST_BYTES + 1))
    assert raised.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.mark.parametrize(
    "body",
    [b"", b"{}", b"[]", b"null", b'"text"', b"{", b'{"object": "event"}', b'{"object": "v2.core.event", "id": "x"}']
    + [json.dumps({"object": "event", "id": identity, "type": "a"}).encode() for identity in (1, "", "x" * 256, None)],
)
async def test_a_signed_body_that_is_no_event_is_refused(client: payments.Client, body: bytes) -> None:
    async with refused("INVALID_ARGUMENT", field="payload"):
        await client.receive(body)


def test_no_code_compares_signatures_or_tokens_with_equality() -> None:
    folders = [Path(__file__).parents[2] / name for name in ("kobklein", "payments_service", "gateway")]
    found = [
        f"{file.name}:{node.lineno}"
        for folder in folders
        for file in folder.rglob("*.py")
        if "_pb2" not in file.name
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Compare) and _compares_secret(node)
    ]
    assert found == []


def _compares_secret(node: ast.Compare) -> bool:
    if not any(isinstance(operator, ast.Eq | ast.NotEq) for operator in node.ops):
        return False
    names = [
        side.id if isinstance(side, ast.Name) else getattr(side, "attr", "") for side in [node.left, *node.comparators]
    ]
    return any(name in {"signature", "token", "secret", "digest", "mac", "signatures"} for name in names)


async def _paid(client: payments.Client) -> tuple[payments.payments_pb2.Payment, bytes]:
    """Return a payment that is paid at the provider and does not know it, and the event that says so."""
    payment = await client.process(card="pm_card_threeDSecure2Required")
    await client.control(f"/payment_intents/{payment.stripe_payment_intent_id}/complete")
    return payment, event("payment_intent.succeeded", await intent_of(client, payment))


async def _verdict(client: payments.Client, body: bytes, header: str) -> grpc.StatusCode:
    try:
        await client.receive(body, header)
    except grpc.aio.AioRpcError as error:
        return error.code()
    return grpc.StatusCode.OK


def _mutants(body: bytes) -> Iterator[tuple[bytes, str]]:
    """Yield bodies with headers of which every one is wrong in one way, for ever."""
    chance = random.Random(21)
    for round_ in itertools.count():
        for mutate in _MUTATIONS:
            yield mutate(body, chance, round_)


Mutation = Callable[[bytes, random.Random, int], tuple[bytes, str]]


def _no_signature(body: bytes, chance: random.Random, round_: int) -> tuple[bytes, str]:
    headers = (
        "",
        " ",
        ",",
        "=",
        f"t={_now()}",
        f"t={_now()},v1=",
        "v1=" + _hex(body),
        "t=,v1=" + _hex(body),
        "t==,v1=",
    )
    return body, headers[round_ % len(headers)]


def _old_scheme(body: bytes, chance: random.Random, round_: int) -> tuple[bytes, str]:
    return body, signed(body).replace("v1=", chance.choice(["v0=", "v2=", "V1=", "v1 =", "v11="]))


def _another_endpoints_secret(body: bytes, chance: random.Random, round_: int) -> tuple[bytes, str]:
    return body, signed(body, secret=chance.choice([OTHER_SECRET, WEBHOOK_SECRET.upper(), WEBHOOK_SECRET + " ", "x"]))


def _too_old(body: bytes, chance: random.Random, round_: int) -> tuple[bytes, str]:
    return body, signed(body, time=_now() - 300 - chance.randint(_EDGE_SECONDS, 10_000_000))


def _of_the_future(body: bytes, chance: random.Random, round_: int) -> tuple[bytes, str]:
    return body, signed(body, time=_now() + 300 + chance.randint(_EDGE_SECONDS, 10_000_000))


def _moved_in_time(body: bytes, chance: random.Random, round_: int) -> tuple[bytes, str]:
    old = _now() - 1000
    return body, signed(body, time=old).replace(f"t={old}", f"t={_now()}")


def _several_times(body: bytes, chance: random.Random, round_: int) -> tuple[bytes, str]:
    old = _now() - 1000
    good, stale = f"t={_now()}", signed(body, time=old)
    return body, chance.choice([f"{good},{stale}", f"{stale},{good}", f"{good},{signed(body)}"])


def _odd_time(body: bytes, chance: random.Random, round_: int) -> tuple[bytes, str]:
    text = chance.choice(["-1", "0x10", "1e9", "now", "²", "1" * 400, f" {_now()}", f"+{_now()}", "99999999999999"])
    return (
        body,
        f"t={text},v1={hmac.new(WEBHOOK_SECRET.encode(), f'{text}.'.encode() + body, hashlib.sha256).hexdigest()}",
    )


def _flipped_bit(body: bytes, chance: random.Random, round_: int) -> tuple[bytes, str]:
    header = signed(body)
    position = header.index("v1=") + 3 + chance.randrange(64)
    flipped = format(int(header[position], 16) ^ (1 << chance.randrange(4)), "x")
    return body, header[:position] + flipped + header[position + 1 :]


def _cut_signature(body: bytes, chance: random.Random, round_: int) -> tuple[bytes, str]:
    return body, signed(body)[: -chance.randint(1, 63)]


def _changed_body(body: bytes, chance: random.Random, round_: int) -> tuple[bytes, str]:
    position = chance.randrange(len(body))
    changed = bytearray(body)
    changed[position] ^= 1 << chance.randrange(8)
    return bytes(changed), signed(body)


def _written_anew(body: bytes, chance: random.Random, round_: int) -> tuple[bytes, str]:
    anew = json.dumps(json.loads(body), indent=chance.randint(1, 8), sort_keys=chance.random() < 0.5)
    return anew.encode(), signed(body)


def _more_money(body: bytes, chance: random.Random, round_: int) -> tuple[bytes, str]:
    return body.replace(b"10000", str(chance.randint(10_001, 99_999)).encode()), signed(body)


def _longer_body(body: bytes, chance: random.Random, round_: int) -> tuple[bytes, str]:
    return body + chance.choice([b" ", b"\n", b"\x00", b"{}", b"\xff"]), signed(body)


def _signed_otherwise(body: bytes, chance: random.Random, round_: int) -> tuple[bytes, str]:
    algorithm = chance.choice([hashlib.sha1, hashlib.sha512, hashlib.md5])
    digest = hmac.new(WEBHOOK_SECRET.encode(), f"{_now()}.".encode() + body, algorithm).hexdigest()
    return body, f"t={_now()},v1={digest}"


_MUTATIONS: tuple[Mutation, ...] = (
    _no_signature,
    _old_scheme,
    _another_endpoints_secret,
    _too_old,
    _of_the_future,
    _moved_in_time,
    _several_times,
    _odd_time,
    _flipped_bit,
    _cut_signature,
    _changed_body,
    _written_anew,
    _more_money,
    _longer_body,
    _signed_otherwise,
)


def _now() -> int:
    return int(time.time())


def _hex(body: bytes) -> str:
    return signed(body).rpartition("=")[2]
