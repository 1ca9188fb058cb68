"""A key finds the first answer to its call, whoever asks again and whenever the first caller died."""

import asyncio
import contextlib
import datetime
import uuid
from collections.abc import AsyncIterator, Iterator

import pytest
import sqlalchemy as sa

from deploy.local import postgres as embedded
from kobklein import auth, calls, database, errors, idempotency
from kobklein.payments.v1 import payments_pb2 as pb

REQUEST = pb.CreatePaymentRequest(amount=100)
LEASE = datetime.timedelta(seconds=60)


@pytest.fixture
async def sessions(postgres: embedded.Server) -> AsyncIterator[database.Sessions]:
    name = f"keys_{uuid.uuid4().hex}"
    postgres.create_database(name, owner=embedded.SUPERUSER)
    engine = database.engine(postgres.url(database=name), pool_size=20)
    async with engine.begin() as connection:
        await connection.run_sync(idempotency.metadata.create_all)
    yield database.sessions(engine)
    await engine.dispose()
    postgres.drop_database(name)


@contextlib.contextmanager
def calling(subject: str = "user-1", key: str = "key-1") -> Iterator[calls.Call]:
    call = calls.Call(auth.Caller(subject, frozenset()), unrestricted=False, request_id="r", idempotency_key=key)
    token = calls.enter(call)
    try:
        yield call
    finally:
        calls.leave(token)


class Effect:
    """Counts how often it happened."""

    def __init__(self) -> None:
        self.count = 0

    async def __call__(self, session: database.Session) -> pb.Payment:
        self.count += 1
        return pb.Payment(description=f"effect {self.count}")


async def once(sessions: database.Sessions, effect: Effect, request: pb.CreatePaymentRequest = REQUEST) -> pb.Payment:
    return await idempotency.once(sessions, request, effect, pb.Payment)


async def test_a_repeated_call_gets_the_first_answer_and_is_marked(sessions: database.Sessions) -> None:
    effect = Effect()
    with calling() as first:
        answer = await once(sessions, effect)
    with calling() as second:
        assert await once(sessions, effect) == answer
    assert (first.replayed, second.replayed, effect.count) == (False, True, 1)


async def test_fifty_calls_at_once_have_one_effect(sessions: database.Sessions) -> None:
    effect = Effect()

    async def one() -> pb.Payment:
        with calling():
            return await once(sessions, effect)

    answers = await asyncio.gather(*(one() for _ in range(50)))
    assert effect.count == 1
    assert {answer.SerializeToString() for answer in answers} == {answers[0].SerializeToString()}


async def test_another_request_under_the_same_key_is_refused(sessions: database.Sessions) -> None:
    effect = Effect()
    with calling():
        await once(sessions, effect)
        with pytest.raises(errors.IdempotencyKeyReused):
            await once(sessions, effect, pb.CreatePaymentRequest(amount=101))
    assert effect.count == 1


async def test_callers_do_not_share_keys(sessions: database.Sessions) -> None:
    effect = Effect()
    for subject in ("user-1", "user-2"):
        with calling(subject):
            await once(sessions, effect)
    assert effect.count == 2


async def test_without_a_key_every_call_has_its_effect(sessions: database.Sessions) -> None:
    effect = Effect()
    with calling(key=""):
        await once(sessions, effect)
        await once(sessions, effect)
    assert effect.count == 2


async def test_a_call_that_failed_leaves_its_key_free(sessions: database.Sessions) -> None:
    async def failing(_session: database.Session) -> pb.Payment:
        raise errors.PermissionDenied("not this caller")

    effect = Effect()
    with calling():
        with pytest.raises(errors.PermissionDenied):
            await idempotency.once(sessions, REQUEST, failing, pb.Payment)
        await once(sessions, effect)
    assert effect.count == 1


async def claimed(sessions: database.Sessions, lease: datetime.timedelta, resource: uuid.UUID) -> idempotency.Claim:
    with calling():
        async with sessions.begin() as session:
            return await idempotency.claim(session, REQUEST, resource_id=resource, lease=lease)


async def test_a_call_is_refused_while_the_first_one_runs(sessions: database.Sessions) -> None:
    assert (await claimed(sessions, LEASE, uuid.uuid4())).first
    with pytest.raises(errors.IdempotencyKeyInUse):
        await claimed(sessions, LEASE, uuid.uuid4())


async def test_a_call_takes_over_after_the_first_one_died(sessions: database.Sessions) -> None:
    resource = uuid.uuid4()
    await claimed(sessions, -LEASE, resource)
    assert await claimed(sessions, LEASE, uuid.uuid4()) == idempotency.Claim(first=False, resource_id=resource)


async def test_only_one_of_many_takes_over(sessions: database.Sessions) -> None:
    await claimed(sessions, -LEASE, uuid.uuid4())
    claims = await asyncio.gather(*(claimed(sessions, LEASE, uuid.uuid4()) for _ in range(20)), return_exceptions=True)
    assert sum(isinstance(claim, idempotency.Claim) for claim in claims) == 1
    assert sum(isinstance(claim, errors.IdempotencyKeyInUse) for claim in claims) == 19


async def test_a_stored_answer_ends_the_lease(sessions: database.Sessions) -> None:
    await claimed(sessions, LEASE, uuid.uuid4())
    with calling():
        async with sessions.begin() as session:
            await idempotency.store(session, pb.Payment(description="done"))
    claim = await claimed(sessions, LEASE, uuid.uuid4())
    assert claim.answer == pb.Payment(description="done").SerializeToString()


async def test_old_keys_are_forgotten_and_younger_ones_are_not(sessions: database.Sessions) -> None:
    effect = Effect()
    for key in ("old", "young"):
        with calling(key=key):
            await once(sessions, effect)
    async with sessions.begin() as session:
        old = sa.update(idempotency.keys).where(idempotency.keys.c.key == "old")
        await session.execute(old.values(created_time=sa.func.now() - idempotency.KEPT - LEASE))
        assert await idempotency.forget(session) == 1
    with calling(key="young") as call:
        await once(sessions, effect)
    assert call.replayed


class Repeatable:
    """An effect that has an id and happens once under it, however often it is asked for."""

    def __init__(self) -> None:
        self.ids: list[uuid.UUID] = []
        self.refusing = False

    async def __call__(self, id_: uuid.UUID) -> pb.Payment:
        self.ids.append(id_)
        await asyncio.sleep(0)
        if self.refusing:
            raise errors.Unavailable(part="the effect")
        return pb.Payment(id=str(id_), description=f"answer {len(self.ids)}")


async def repeatable(
    sessions: database.Sessions, effect: Repeatable, request: pb.CreatePaymentRequest = REQUEST
) -> pb.Payment:
    return await idempotency.repeatable(sessions, request, effect, pb.Payment)


async def test_calls_that_share_a_key_share_an_id_and_the_first_answer_that_is_kept(
    sessions: database.Sessions,
) -> None:
    effect = Repeatable()

    async def call() -> tuple[pb.Payment, bool]:
        with calling() as made:
            return await repeatable(sessions, effect), made.replayed

    found = await asyncio.gather(*(call() for _ in range(10)))
    assert len(set(effect.ids)) == 1
    assert all(answer == found[0][0] for answer, _ in found)
    assert [replayed for _, replayed in found].count(False) == 1
    calls_before = len(effect.ids)
    assert await call() == (found[0][0], True)
    assert len(effect.ids) == calls_before


async def test_an_effect_that_failed_is_tried_again_under_its_id_at_once(sessions: database.Sessions) -> None:
    effect = Repeatable()
    effect.refusing = True
    with calling(), pytest.raises(errors.Unavailable):
        await repeatable(sessions, effect)
    effect.refusing = False
    with calling() as again:
        answer = await repeatable(sessions, effect)
    assert (effect.ids, answer.id, again.replayed) == ([effect.ids[0]] * 2, str(effect.ids[0]), False)
    with calling(), pytest.raises(errors.IdempotencyKeyReused):
        await repeatable(sessions, effect, pb.CreatePaymentRequest(amount=101))


async def test_a_repeatable_call_has_its_id_when_its_key_is_forgotten(sessions: database.Sessions) -> None:
    effect = Repeatable()
    for _ in range(2):
        with calling():
            await repeatable(sessions, effect)
        async with sessions.begin() as session:
            await session.execute(sa.delete(idempotency.keys))
    with calling(key="another"):
        await repeatable(sessions, effect)
    assert effect.ids[0] == effect.ids[1] != effect.ids[2]


async def test_a_repeatable_call_without_a_key_has_an_id_of_its_own(sessions: database.Sessions) -> None:
    effect = Repeatable()
    with calling(key=""):
        answers = [await repeatable(sessions, effect) for _ in range(2)]
    assert len({answer.id for answer in answers}) == 2
