"""What hostile input costs: processor time per MiB of the worst of it, beside an ordinary batch of transfers."""

import uuid
from typing import Any, Final

import orjson

from tests import hostile
from tests.bench import rows

_SIZE: Final = 256 * 1024
_MOST_TIMES_THE_ORDINARY: Final = 10


async def run() -> list[dict[str, Any]]:
    """Measure every reader of input with each fragment that is bad for it."""
    seconds, what = max(hostile.worst(_SIZE))
    return [
        rows.below(
            f"input: the worst, {what}",
            _milliseconds(seconds, _SIZE),
            "ms/MiB",
            baseline=_ordinary(),
            target=_MOST_TIMES_THE_ORDINARY,
        )
    ]


def _ordinary() -> float:
    transfer = {
        "debitAccount": "provider/stripe",
        "creditAccount": "user/u-1",
        "amount": "0.01",
        "currency": "HTG",
        "type": "DEPOSIT",
    }
    text = orjson.dumps({"transfers": [{"id": str(uuid.uuid4()), **transfer} for _ in range(1000)]}).decode()
    return _milliseconds(hostile.seconds(hostile.READERS["a batch"], text, times=5), len(text))


def _milliseconds(seconds: float, size: int) -> float:
    return seconds * 1000 * 2**20 / size
