"""The documentation of the API for people: /openapi.json and /docs, which loads nothing from other hosts."""

import importlib.resources
from typing import Any, Final

from fastapi import APIRouter, Response
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

from gateway import writer

_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; frame-ancestors 'none'"
)
"""Swagger UI styles its elements inline; everything else comes from here."""
_PAGE: Final = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>KobKlein API</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="/docs/static/favicon.png">
<link rel="stylesheet" href="/docs/static/swagger-ui.css">
<div id="swagger-ui"></div>
<script src="/docs/static/swagger-ui-bundle.js"></script>
<script src="/docs/start.js"></script>
</html>
"""
_START: Final = """SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  filter: true,
  persistAuthorization: true,
  tryItOutEnabled: true,
});
"""


def router(document: dict[str, Any]) -> APIRouter:
    """Return the routes of the documentation."""
    text = writer.dumps(document)
    docs = APIRouter(include_in_schema=False)

    @docs.get("/openapi.json")
    async def openapi() -> Response:
        return Response(text, media_type="application/json")

    @docs.get("/docs")
    async def page() -> Response:
        return Response(_PAGE, media_type="text/html", headers={"content-security-policy": _POLICY})

    @docs.get("/docs/start.js")
    async def start() -> Response:
        return Response(_START, media_type="text/javascript")

    return docs


def static() -> Mount:
    """Return the route of Swagger UI's own files."""
    folder = importlib.resources.files("fastapi_offline") / "static"
    return Mount("/docs/static", StaticFiles(directory=str(folder)))
