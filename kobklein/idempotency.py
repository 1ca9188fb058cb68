"""Idempotency keys: the first answer to a call, kept beside its effect and given again to every repetition.

A key belongs to its caller, and to the one request it first came with. The row is written in the effect's own
transaction, so either both exist or neither does. A method whose effect needs several transactions claims the key with
the first one, under a lease, and stores the answer with the last one; when its process dies in between, a repetition
takes over after the lease. A method whose effect can be repeated under an id needs no lease: every call with the key
shares one id.
"""

import dataclasses
import datetime
import hashlib
import uuid
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeVar

import sqlalchemy as sa
from google.protobuf import message
from sqlalchemy.dialects import postgresql

from kobklein import calls, database, errors, ids

M = TypeVar("M", bound=message.Message)
_CLAIMS: Final = 5
"""How often a key may be freed by others while it is being claimed."""
LEASE: Final = datetime.timedelta(seconds=30)
KEPT: Final = datetime.timedelta(hours=72)
"""How long an answer is kept; longer than the 24 hours that clients may rely on."""

metadata = sa.MetaData()
keys = sa.Table(
    "idempotency_keys",
    metadata,
    sa.Column("subject", sa.Text, primary_key=True),
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("fingerprint", sa.LargeBinary, nullable=False),
    sa.Column("resource_id", sa.Uuid),
    sa.Column("answer", sa.LargeBinary),
    sa.Column("leased_until", sa.DateTime(timezone=True)),
    sa.Column("created_time", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.clock_timestamp()),
)


@dataclasses.dataclass(frozen=True, slots=True)
class Claim:
    """A key as its claimant finds it."""

    first: bool
    """Whether this call is the first with its key, so that it makes the effect."""
    answer: bytes | None = None
    """The first call's answer, if it has ended."""
    resource_id: uuid.UUID | None = None
    """What the first call works on, for taking over after it died."""


async def once(
    maker: database.Sessions,
    request: message.Message,
    work: Callable[[database.Session], Awaitable[M]],
    answer_type: type[M],
) -> M:
    """Run `work` in one transaction with the key of the current call, or return the first answer again.

    Without a key, `work` just runs. Raises IdempotencyKeyReused, and what `work` raises: then the key stays free.
    """

    async def effect(session: database.Session) -> M:
        claim_ = await claim(session, request)
        if claim_.answer is not None:
            return replay(claim_.answer, answer_type)
        answer = await work(session)
        await store(session, answer)
        return answer

    return await database.transaction(maker, effect)


async def repeatable(
    maker: database.Sessions,
    request: message.Message,
    work: Callable[[uuid.UUID], Awaitable[M]],
    answer_type: type[M],
) -> M:
    """Run `work` outside of any transaction and keep its answer, or return the first answer again.

    `work` gets an id that every call with the same key shares, even once the key is forgotten, and must have its effect
    at most once under it, however often and however concurrently it runs. So nobody waits for anybody and no lease can
    be left behind: a process that dies before the answer is kept leaves the id, and a repetition runs `work` again
    under it. Of concurrent answers the first that is kept is everybody's. Without a key, `work` runs under an id of its
    own. Raises IdempotencyKeyReused, and what `work` raises: the same request may then try again with the key.
    """
    if not calls.current().idempotency_key:
        return await work(ids.new())
    shared = await database.transaction(maker, lambda session: _shared(session, request))
    if shared.answer is not None:
        return replay(shared.answer, answer_type)
    assert shared.resource_id is not None  # noqa: S101  # with this fingerprint, every row has one
    answer = await work(shared.resource_id)
    first = await database.transaction(maker, lambda session: keep(session, answer))
    return answer if first is None else replay(first, answer_type)


async def _shared(session: database.Session, request: message.Message) -> Claim:
    """Claim the key of the current call together with everybody who makes the same call."""
    call, fingerprint = calls.current(), _fingerprint(request)
    own_id = ids.derived(ids.of_key(call.subject, call.idempotency_key), request.DESCRIPTOR.full_name)
    if await _inserted(session, call, fingerprint, resource_id=own_id):
        return Claim(first=True, resource_id=own_id)
    row = (await session.execute(sa.select(keys).where(_mine(call)))).one()
    if row.fingerprint != fingerprint:
        raise errors.IdempotencyKeyReused
    return Claim(first=False, answer=row.answer, resource_id=row.resource_id)


async def claim(
    session: database.Session,
    request: message.Message,
    *,
    resource_id: uuid.UUID | None = None,
    lease: datetime.timedelta | None = None,
) -> Claim:
    """Claim the key of the current call in the session's transaction; a call without a key is always the first.

    With a `lease`, the claim outlives its transaction, and others are refused until it ends or the answer is stored.
    Concurrent claims wait for each other's transaction. Raises IdempotencyKeyReused and IdempotencyKeyInUse.
    """
    call = calls.current()
    if not call.idempotency_key:
        return Claim(first=True)
    fingerprint = _fingerprint(request)
    for _ in range(_CLAIMS):
        if await _inserted(session, call, fingerprint, resource_id=resource_id, lease=lease):
            return Claim(first=True)
        if (found := await _found(session, call, fingerprint, lease)) is not None:
            return found
    raise errors.IdempotencyKeyInUse


async def _inserted(
    session: database.Session,
    call: calls.Call,
    fingerprint: bytes,
    *,
    resource_id: uuid.UUID | None,
    lease: datetime.timedelta | None = None,
) -> bool:
    """Insert the call's key, unless it is there; a concurrent transaction that inserts it is waited for."""
    inserted = await session.execute(
        postgresql.insert(keys)
        .values(
            subject=call.subject,
            key=call.idempotency_key,
            fingerprint=fingerprint,
            resource_id=resource_id,
            leased_until=sa.func.clock_timestamp() + lease if lease else None,
        )
        .on_conflict_do_nothing()
        .returning(keys.c.key)
    )
    return inserted.first() is not None


async def _found(
    session: database.Session,
    call: calls.Call,
    fingerprint: bytes,
    lease: datetime.timedelta | None,
) -> Claim | None:
    """Return the key as it is there; None if it has been freed since it was not inserted."""
    mine = _mine(call)
    leased = sa.func.coalesce(keys.c.leased_until > sa.func.clock_timestamp(), sa.false()).label("leased")
    row = (await session.execute(sa.select(keys, leased).where(mine).with_for_update())).one_or_none()
    if row is None:
        return None
    if row.fingerprint != fingerprint:
        raise errors.IdempotencyKeyReused
    if row.answer is None:
        if row.leased:
            raise errors.IdempotencyKeyInUse
        await session.execute(
            sa.update(keys).where(mine).values(leased_until=sa.func.clock_timestamp() + (lease or LEASE))
        )
    return Claim(first=False, answer=row.answer, resource_id=row.resource_id)


async def known(session: database.Session, given: Sequence[tuple[str, str]]) -> set[tuple[str, str]]:
    """Return which of the given keys, each with its subject, have come with a call before."""
    query = sa.select(keys.c.subject, keys.c.key).where(sa.tuple_(keys.c.subject, keys.c.key).in_(given))
    return {(row.subject, row.key) for row in await session.execute(query)}


async def store(session: database.Session, answer: message.Message) -> bool:
    """Keep the answer to the current call under its key, in the session's transaction; return whether it was kept."""
    call = calls.current()
    if not call.idempotency_key:
        return False
    stored = await session.execute(
        sa.update(keys)
        .where(_mine(call), keys.c.answer.is_(None))
        .values(answer=answer.SerializeToString(), leased_until=None)
        .returning(keys.c.key)
    )
    return stored.first() is not None


async def keep(session: database.Session, answer: message.Message) -> bytes | None:
    """Keep the answer to the current call under its key, unless there is one; return the one that is there."""
    if await store(session, answer):
        return None
    return (await session.execute(sa.select(keys.c.answer).where(_mine(calls.current())))).scalar_one_or_none()


async def release(session: database.Session) -> None:
    """End the lease of the current call's key without an answer: a repetition takes over at once."""
    call = calls.current()
    if call.idempotency_key:
        await session.execute(sa.update(keys).where(_mine(call)).values(leased_until=None))


def id_of_call() -> uuid.UUID:
    """Return the id of the current call's effect: that of its key, so that a repetition has the same one.

    Without a key, a repetition is another call, with a new id.
    """
    call = calls.current()
    return ids.of_key(call.subject, call.idempotency_key) if call.idempotency_key else ids.new()


async def free(session: database.Session, resource_id: uuid.UUID) -> None:
    """Forget every key of the calls that work on a resource: their repetitions begin anew, with any content."""
    await session.execute(sa.delete(keys).where(keys.c.resource_id == resource_id))


def replay(answer: bytes, answer_type: type[M]) -> M:
    """Return an earlier answer, and mark the current call as a repetition."""
    calls.current().replayed = True
    return answer_type.FromString(answer)


async def forget(session: database.Session) -> int:
    """Delete keys older than KEPT, at most 10,000; return how many."""
    old = sa.select(keys.c.subject, keys.c.key).where(keys.c.created_time < sa.func.now() - KEPT).limit(10_000)
    deleted = await session.execute(
        sa.delete(keys).where(sa.tuple_(keys.c.subject, keys.c.key).in_(old)).returning(keys.c.key)
    )
    return len(deleted.all())


def _mine(call: calls.Call) -> sa.ColumnElement[bool]:
    return sa.and_(keys.c.subject == call.subject, keys.c.key == call.idempotency_key)


def _fingerprint(request: message.Message) -> bytes:
    name = request.DESCRIPTOR.full_name.encode()
    return hashlib.sha256(name + b"\0" + request.SerializeToString(deterministic=True)).digest()
