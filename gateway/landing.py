"""The page at `/`: what runs here and where to go on, as HTML for browsers and as JSON for all others."""

import base64
import hashlib
from collections.abc import Mapping
from typing import Final

from fastapi import APIRouter, Request, Response

from gateway import writer
from kobklein import VERSION

NAME: Final = "KobKlein payments and wallets"
_HTML: Final = "text/html"
_STYLE: Final = (
    "body{font:1.1rem/1.6 system-ui,sans-serif;max-width:40rem;margin:3rem auto;padding:0 1rem;color:#123}"
    "a{color:#05c}dt{margin-top:.8rem;font-weight:600}dd{margin:0}"
)
_POLICY: Final = (
    f"default-src 'none'; style-src 'sha256-{base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()}'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS: Final = {"content-security-policy": _POLICY, "vary": "Accept"}
_LINKS: Final = {
    "docs": ("/docs", "Every call, with examples to execute"),
    "openapi": ("/openapi.json", "The same as OpenAPI 3.1, for generators"),
    "health": ("/healthz", "Whether this process lives"),
    "readiness": ("/readyz", "Whether the services behind it answer"),
    "metrics": ("/metrics", "Figures for Prometheus"),
}


def router(*, shows_docs: bool, shows_metrics: bool) -> APIRouter:
    """Return the route of the page; where the documentation is hidden, the page says no more than the name."""
    hidden = set() if shows_metrics else {"metrics"}
    links = {name: link for name, link in _LINKS.items() if name not in hidden} if shows_docs else {}
    text, page = _json(links), _page(links)
    landing = APIRouter(include_in_schema=False)

    @landing.api_route("/", methods=["GET", "HEAD"])
    async def root(request: Request) -> Response:
        if _prefers_html(request.headers.get("accept", "")):
            return Response(page, media_type=_HTML, headers=_HEADERS)
        return Response(text, media_type="application/json", headers=_HEADERS)

    return landing


def _json(links: Mapping[str, tuple[str, str]]) -> bytes:
    version = {"version": VERSION} if links else {}
    return writer.dumps({"name": NAME, **version, **{name: path for name, (path, _) in links.items()}})


def _page(links: Mapping[str, tuple[str, str]]) -> str:
    shown = "".join(f'<dt><a href="{path}">{path}</a><dd>{what}' for path, what in links.values())
    about = (
        f"<p>Version {VERSION}. Payments by card, wallets and transfers over REST; each call needs a bearer token."
        f"<dl>{shown}</dl>"
    )
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{NAME}</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{_STYLE}</style>'
        f"<h1>{NAME}</h1>{about if links else ''}"
    )


def _prefers_html(accept: str) -> bool:
    """Whether `Accept` asks for a page rather than for JSON; what says neither gets JSON."""
    weights = dict[str, float]()
    for media_range in accept.lower().split(","):
        kind, *parameters = (part.strip() for part in media_range.split(";"))
        weights[kind] = next((_weight(one[2:]) for one in parameters if one.startswith("q=")), 1.0)
    json = max((weights[kind] for kind in ("application/json", "application/*", "*/*") if kind in weights), default=0)
    return weights.get(_HTML, 0) > json


def _weight(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0
