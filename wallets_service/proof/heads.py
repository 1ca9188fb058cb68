"""The head of the ledger: the signed end of its chain of seals."""

import datetime
from typing import Final

import sqlalchemy as sa

from kobklein.database import Session
from wallets_service.models import Seal
from wallets_service.proof import chain

_EPOCH: Final = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_MICROSECOND: Final = datetime.timedelta(microseconds=1)


async def get(session: Session) -> chain.Head | None:
    """Return the head; None while nothing is sealed."""
    columns = (Seal.sequence, Seal.hash, Seal.sealed_time, Seal.signature, Seal.public_key)
    row = (await session.execute(sa.select(*columns).order_by(Seal.number.desc()).limit(1))).one_or_none()
    if row is None:
        return None
    sequence, hash_, sealed_time, signature, public_key = row
    return chain.Head(sequence, hash_, microseconds(sealed_time), signature, public_key)


def microseconds(time: datetime.datetime) -> int:
    """Return an instant as microseconds since 1970."""
    return (time - _EPOCH) // _MICROSECOND


def time(microseconds: int) -> datetime.datetime:
    """Return the instant of microseconds since 1970."""
    return _EPOCH + microseconds * _MICROSECOND
