"""The script that the API guide gives to watch a wallet from a browser, run by Node, whose `fetch` is a browser's."""

import asyncio
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import structlog.testing

from tests import databases, waiting, wallets_gateway

GUIDE = Path(__file__).parents[2] / "docs" / "api.md"
DRIVER = """
const [url, ...tokens] = process.argv.slice(1);
const show = (transaction) => console.log(JSON.stringify(transaction.amount));
const newToken = async () => (tokens.length > 1 ? tokens.shift() : tokens[0]);
watch(url, newToken, show).catch((problem) => console.log(JSON.stringify(problem.reason)));
"""


def watched(logs: list[Any]) -> int:
    """Return how many watches have ended well."""
    return sum(each.get("route", "").endswith(":watch") and each.get("status") == 200 for each in logs)


@pytest.mark.skipif(shutil.which("node") is None, reason="needs Node")
async def test_the_script_of_the_guide_shows_each_transaction_once(wallets_database: databases.Database) -> None:
    script = "\n".join(re.findall(r"^```js\n(.*?)^```$", GUIDE.read_text(), re.MULTILINE | re.DOTALL)) + DRIVER
    async with wallets_gateway.running(wallets_database, longest_stream_seconds=0.5) as (gateway, client):
        await client.fund("user-1", 100_00, "USD")
        (wallet,) = (await gateway.http.get("/wallets/user/user-1")).json()["wallets"]
        url = f"http://127.0.0.1:{gateway.port}/wallets/{wallet['id']}/transactions:watch"
        token = gateway.http.headers["authorization"].removeprefix("Bearer ")
        node = await asyncio.create_subprocess_exec(
            *("node", "-e", script, url, "expired", token), stdout=asyncio.subprocess.PIPE
        )
        assert node.stdout is not None
        try:
            with structlog.testing.capture_logs() as logs:
                shown = [json.loads(await node.stdout.readline())]
                for amount in ("1.00", "2.00"):
                    ended = watched(logs)
                    await waiting.until("a watch ends and goes on", lambda ended=ended: watched(logs) > ended)
                    body = {"toUserId": "user-2", "amount": amount, "currency": "USD", "toNewUser": True}
                    answer = await gateway.http.post("/transfers", json=body, headers={"idempotency-key": amount})
                    assert answer.status_code == 201, answer.text
                    shown.append(json.loads(await node.stdout.readline()))
        finally:
            node.kill()
            await node.wait()
        assert watched(logs) >= 2
        assert shown == ["100.00", "1.00", "2.00"]
