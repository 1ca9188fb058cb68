"""Lists of payments: which, in which order, and which page of them."""

import dataclasses
import datetime
import uuid
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa

from kobklein import database
from payments_service import models
from payments_service.models import Payment, payments
from payments_service.states import Method, Status


@dataclasses.dataclass(frozen=True, slots=True)
class Filters:
    """Conditions of a list; an empty one says nothing."""

    statuses: tuple[Status, ...] = ()
    methods: tuple[Method, ...] = ()
    currency: str = ""
    user_id: str = ""
    created_from: datetime.datetime | None = None
    created_before: datetime.datetime | None = None
    min_amount: int | None = None
    max_amount: int | None = None
    reference: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Sort:
    """Order of a list: by a column, and by id among equals."""

    column: str
    descending: bool


async def page(
    session: database.Session, filters: Filters, sort: Sort, *, after: tuple[Any, uuid.UUID] | None, limit: int
) -> list[Payment]:
    """Return payments in order, from behind the position `after` on; an index serves each order, without OFFSET."""
    column = payments.c[sort.column]
    query = sa.select(payments).where(payments.c.deleted_time.is_(None), *_conditions(filters)).limit(limit)
    if after is not None:
        position = sa.tuple_(
            *(sa.literal(value, each.type) for value, each in zip(after, (column, payments.c.id), strict=True))
        )
        here = sa.tuple_(column, payments.c.id)
        query = query.where(here < position if sort.descending else here > position)
    order = (column.desc(), payments.c.id.desc()) if sort.descending else (column, payments.c.id)
    return [models.payment(row) for row in await session.execute(query.order_by(*order))]


def _conditions(filters: Filters) -> Iterator[sa.ColumnElement[bool]]:
    if filters.statuses:
        yield payments.c.status.in_(filters.statuses)
    if filters.methods:
        yield payments.c.method.in_(filters.methods)
    for name in ("currency", "user_id", "reference"):
        if value := getattr(filters, name):
            yield payments.c[name] == value
    if filters.created_from is not None:
        yield payments.c.created_time >= filters.created_from
    if filters.created_before is not None:
        yield payments.c.created_time < filters.created_before
    if filters.min_amount is not None:
        yield payments.c.amount >= filters.min_amount
    if filters.max_amount is not None:
        yield payments.c.amount <= filters.max_amount
