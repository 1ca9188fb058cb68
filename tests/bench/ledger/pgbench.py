"""pgbench on the tables of the ledger: one transfer a transaction, at the number of clients that suits it best."""

import re
import subprocess
from pathlib import Path
from typing import Final

from deploy.local import postgres as embedded
from tests import databases
from tests.bench.ledger import load

_CLIENT_COUNTS: Final = (4, 8, 16, 32)
_PROBE_SECONDS: Final = 2
_SECONDS: Final = 3
_SCRIPT: Final = """
\\set debit random(1, {accounts})
\\set credit {credit}
BEGIN;
SELECT FROM accounts
    WHERE address IN ('user/' || :debit, 'user/' || :credit) AND currency = 'HTG'
    ORDER BY id FOR NO KEY UPDATE;
WITH debit AS (
    UPDATE accounts SET balance = balance - 1, version = version + 1, updated_time = now()
    WHERE address = 'user/' || :debit AND currency = 'HTG' RETURNING id, balance, version
), credit AS (
    UPDATE accounts SET balance = balance + 1, version = version + 1, updated_time = now()
    WHERE address = 'user/' || :credit AND currency = 'HTG' RETURNING id, balance, version
)
INSERT INTO transfers (
    id, debit_account_id, credit_account_id, amount, currency, type,
    debit_balance_after, credit_balance_after, debit_version, credit_version, created_time
)
SELECT gen_random_uuid(), debit.id, credit.id, 1, 'HTG', 'TRANSFER',
    debit.balance, credit.balance, debit.version, credit.version, now()
FROM debit, credit;
COMMIT;
"""
"""One transfer as one transaction, with all that the service records of it and in its own tables."""
_CREDITS: Final = {
    "uniform": f"1 + (:debit + random(0, {load.ACCOUNTS - 2})) % {load.ACCOUNTS}",
    "hot": "0",
}
"""Whom the transfers pay: any other account than the paying one, or always the same."""


class Pgbench:
    """Measures on one database, which must hold the accounts."""

    def __init__(self, database: databases.Database, folder: Path) -> None:
        self._url = database.superuser_url
        self._scripts = {name: folder / f"{name}.sql" for name in _CREDITS}
        for name, script in self._scripts.items():
            script.write_text(_SCRIPT.format(accounts=load.ACCOUNTS, credit=_CREDITS[name]))
        self._clients = {name: self._best_clients(name) for name in self._scripts}

    def rate(self, name: str) -> float:
        """Return transfers per second, `uniform` or `hot`."""
        return self._run(name, clients=self._clients[name], seconds=_SECONDS)

    def _best_clients(self, name: str) -> int:
        return max(_CLIENT_COUNTS, key=lambda count: self._run(name, clients=count, seconds=_PROBE_SECONDS))

    def _run(self, name: str, *, clients: int, seconds: int) -> float:
        command = [
            *(str(embedded.program("pgbench")), "--no-vacuum", "--protocol=prepared", "--jobs=2", "--max-tries=10"),
            *(f"--client={clients}", f"--time={seconds}", f"--file={self._scripts[name]}", self._url),
        ]
        output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        match = re.search(r"tps = ([0-9.]+)", output)
        if match is None:
            raise RuntimeError(output)
        return float(match[1])
