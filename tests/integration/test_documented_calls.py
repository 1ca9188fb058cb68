"""The calls that the API guide shows in full are sent, in its order, and answered as it says."""

import dataclasses
import json
import re
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests import databases, wallets, wallets_gateway

GUIDE = Path(__file__).parents[2] / "docs" / "api.md"
CALL = re.compile(r"^```http\n(\w+) (\S+) as (\w+)-(\d)\n(.*?)\n*(\d{3})\n(.*?)\n```$", re.MULTILINE | re.DOTALL)
CHANGING = re.compile(
    r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{64,128}|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z"
)
"""Ids, hashes and times: another run has others, each in the same places."""


@dataclasses.dataclass(frozen=True)
class Call:
    method: str
    path: str
    role: str
    subject: str
    body: str
    status: int
    answer: Any


def documented() -> Iterator[Call]:
    for method, path, role, number, body, status, answer in CALL.findall(GUIDE.read_text()):
        yield Call(method, path, role, f"{role}-{number}", body, int(status), json.loads(answer))


def met(shown: Any, found: Any, names: dict[str, str]) -> Any:
    """Return what was found in the names of the guide, and learn there which of them mean what."""
    if isinstance(shown, dict) and isinstance(found, dict):
        return {key: met(shown.get(key), value, names) for key, value in found.items()}
    if isinstance(shown, list) and isinstance(found, list) and len(shown) == len(found):
        return [met(one, other, names) for one, other in zip(shown, found, strict=True)]
    if isinstance(shown, str) and CHANGING.fullmatch(shown) and CHANGING.fullmatch(str(found)):
        return shown if names.setdefault(shown, found) == found else found
    return found


def in_names(text: str, names: dict[str, str]) -> str:
    return CHANGING.sub(lambda name: names.get(name[0], name[0]), text)


async def test_the_documented_calls_are_answered_as_documented(wallets_database: databases.Database) -> None:
    calls, names = list(documented()), dict[str, str]()
    async with wallets_gateway.running(wallets_database) as (gateway, client):
        await client.fund("user-1", 100_00, "USD")
        for call in calls:
            await client.sealed(int(call.answer.get("sequence") or call.answer.get("sealedCount") or 0))
            answer = await gateway.http.request(
                call.method,
                in_names(call.path, names),
                content=in_names(call.body, names),
                headers={
                    "authorization": f"Bearer {wallets.token(call.subject, call.role)}",
                    "content-type": "application/json",
                    **({"idempotency-key": str(uuid.uuid4())} if call.method == "POST" else {}),
                },
            )
            found = met(call.answer, answer.json(), names)
            assert (answer.status_code, found) == (call.status, call.answer), f"{call.method} {call.path}"
    assert len(calls) == GUIDE.read_text().count("\n```http\n") >= 12
