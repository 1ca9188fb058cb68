"""Calls of REST as one person or another, noted in the report as they are made."""

import dataclasses
import time
import uuid
from collections.abc import Callable
from typing import Any, Final

import httpx

from deploy.local import checks

PATIENCE_SECONDS: Final = 30
_PAUSE_SECONDS: Final = 0.1
Json = dict[str, Any]


@dataclasses.dataclass(frozen=True, slots=True)
class Person:
    """Somebody who calls."""

    id: str
    token: str


@dataclasses.dataclass(frozen=True, slots=True)
class Client:
    """Every call changes something at most once: it has a key of its own, unless it is given one to repeat."""

    url: str
    report: checks.Report
    http: httpx.Client

    def call(
        self,
        person: Person,
        method: str,
        path: str,
        body: Json | None = None,
        *,
        key: str | None = None,
        query: dict[str, str] | None = None,
    ) -> httpx.Response:
        """Call and note it; the note leaves `query` out."""
        headers = {"Authorization": f"Bearer {person.token}"}
        if method == "POST":
            headers["Idempotency-Key"] = key or str(uuid.uuid4())
        answer = self.http.request(method, self.url + path, json=body, headers=headers, params=query)
        self.report.note(f"{method} {path} → {answer.status_code}")
        return answer

    def look(self, person: Person, path: str) -> Json:
        """Read without a note: what is waited for is read many times."""
        answer: Json = self.http.get(self.url + path, headers={"Authorization": f"Bearer {person.token}"}).json()
        return answer

    def wallets(self, person: Person) -> list[Json]:
        """Return the person's wallets."""
        wallets: list[Json] = self.call(person, "GET", f"/wallets/user/{person.id}").json()["wallets"]
        return wallets

    def balances(self, person: Person) -> dict[str, str]:
        """Return what is in the person's wallets, by currency."""
        return {wallet["currency"]: wallet["balance"] for wallet in self.wallets(person)}

    def wallet(self, person: Person, currency: str) -> Json:
        """Return the person's wallet in this currency; raises StopIteration when there is none."""
        return next(wallet for wallet in self.wallets(person) if wallet["currency"] == currency)


def waited(look: Callable[[], Json], until: Callable[[Json], bool]) -> Json:
    """Look until what is seen is as it should be, and return it; when patience ends, return it as it is."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not until(seen := look()) and time.monotonic() < deadline:
        time.sleep(_PAUSE_SECONDS)
    return seen
