"""Rates of a provider on the web: read in the background, and kept until they are too old to be used."""

import asyncio
import contextlib
import datetime
import math
from collections.abc import AsyncIterator, Callable, Sequence, Set

import httpx
import structlog

from kobklein import server
from wallets_service import errors, metrics
from wallets_service.rates import decimals, documents
from wallets_service.rates.sources import Rate
from wallets_service.settings import RateSourceSettings

_log = structlog.get_logger()


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


class HttpSource:
    """The rates of the last good document, between its base and each currency, and across the base between any two."""

    def __init__(
        self,
        settings: RateSourceSettings,
        client: httpx.AsyncClient,
        *,
        clock: Callable[[], datetime.datetime] = _now,
    ) -> None:
        self._settings = settings
        self._client = client
        self._clock = clock
        self._longest_age = datetime.timedelta(seconds=settings.stale_seconds)
        self._document: documents.Document | None = None

    @property
    def age_seconds(self) -> float:
        """How old the last good document is; infinite until there is one."""
        return math.inf if self._document is None else self._age(self._document).total_seconds()

    def rate(self, sell_currency: str, buy_currency: str) -> Rate | None:
        """Return the rate of the last good document; raises RateStale when that is too old, or there was none."""
        document = self._document
        if document is None or self._stale(document):
            raise errors.RateStale(source=self._settings.name)
        if sell_currency not in document.rates or buy_currency not in document.rates:
            return None
        value = decimals.rounded_down(document.rates[buy_currency] / document.rates[sell_currency])
        if not 0 < value < decimals.MAX_VALUE:
            return None  # Cut to twelve decimals, nothing is left of it.
        return Rate(
            sell_currency,
            buy_currency,
            value,
            self._settings.spread_parts_per_million,
            self._settings.name,
            document.time,
        )

    def rates(self) -> Sequence[Rate]:
        """Return the rates from and to the base; there would be too many of those across it."""
        document = self._document
        if document is None:
            return []
        others = sorted(document.rates.keys() - {document.base})
        pairs = [pair for other in others for pair in ((document.base, other), (other, document.base))]
        with contextlib.suppress(errors.RateStale):
            return [rate for pair in pairs if (rate := self.rate(*pair)) is not None]
        return []

    def stations(self, known: Set[str]) -> Set[str]:
        """Return one more currency: through which one a way leads makes no difference, since all rates are of one base.

        It is one with rates of this source alone, since whoever is known may have others.
        """
        document = self._document
        if document is None or self._stale(document):
            return frozenset()
        return frozenset(sorted(document.rates.keys() - known)[:1])

    async def refresh(self) -> None:
        """Read the rates once; whatever goes wrong is logged, and the last good ones stay."""
        try:
            async with asyncio.timeout(self._settings.timeout_seconds):
                raw = await self._read()
            self._document = self._believed(documents.parse(raw, now=self._clock()))
        except Exception as error:  # Whatever it is, the next reading may go well.
            metrics.RATE_READS_FAILED.inc()
            _log.warning("rates not read", source=self._settings.name, error=repr(error))

    def _believed(self, document: documents.Document) -> documents.Document:
        """Return a document that may take the place of the last good one; raises documents.Refused."""
        if self._stale(document):
            raise documents.Refused("it is out of date")
        if self._document is not None and document.time < self._document.time:
            raise documents.Refused("it is older than the one before")
        return document

    def _stale(self, document: documents.Document) -> bool:
        return self._age(document) > self._longest_age

    def _age(self, document: documents.Document) -> datetime.timedelta:
        return self._clock() - document.time

    async def _read(self) -> bytes:
        """Return the body of the answer, as it is sent: what was compressed could unfold to any size."""
        settings, body = self._settings, bytearray()
        headers = {"accept": "application/json", "accept-encoding": "identity"}
        if settings.authorization is not None:
            headers["authorization"] = settings.authorization.get_secret_value()
        async with self._client.stream("GET", str(settings.url), headers=headers) as answer:
            if answer.status_code != httpx.codes.OK:
                raise documents.Refused(f"its status is {answer.status_code}")
            if answer.headers.get("content-encoding", "identity") != "identity":
                raise documents.Refused("it is compressed")
            async for chunk in answer.aiter_raw():
                body += chunk
                if len(body) > settings.max_bytes:
                    raise documents.Refused(f"it has more than {settings.max_bytes} bytes")
        return bytes(body)


@contextlib.asynccontextmanager
async def running(settings: RateSourceSettings) -> AsyncIterator[HttpSource]:
    """Yield a source that reads its rates again and again until left."""
    async with httpx.AsyncClient(timeout=settings.timeout_seconds, follow_redirects=False) as client:
        source = HttpSource(settings, client)
        metrics.RATE_AGE_SECONDS.set_function(lambda: source.age_seconds)
        async with server.repeating(source.refresh, seconds=settings.refresh_seconds):
            yield source
