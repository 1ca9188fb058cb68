"""The sandbox as an ASGI application; everything is wired here and nowhere else."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from deploy.sandbox import authentications, controls, dashboard, errors
from deploy.sandbox.endpoints import Endpoint
from deploy.sandbox.engine import Engine
from deploy.sandbox.operations import OPERATIONS
from deploy.sandbox.settings import Settings


def create_app(settings: Settings) -> Starlette:
    """A new, independent sandbox; its state lives as long as the application's lifespan."""
    engine = Engine(settings)

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        await engine.courier.start()
        try:
            yield
        finally:
            await engine.courier.close()
            engine.state.store.close()

    async def page(_request: Request) -> Response:
        return HTMLResponse(dashboard.render(engine))

    async def search(request: Request) -> Response:
        return await _unknown_route(request, HTTPException(404))

    routes = [
        Route("/v1/{resource}/search", search),  # Which would else be read as the id of an object.
        *(Route(each.path, Endpoint(engine, each), methods=[each.method]) for each in OPERATIONS),
        Route("/", page, methods=["GET"]),
        *authentications.routes(engine),
        *controls.routes(engine),
    ]
    handlers = {errors.ApiError: _refusal, HTTPException: _unknown_route, Exception: _crash}
    return Starlette(routes=routes, lifespan=lifespan, exception_handlers=handlers)


async def _refusal(_request: Request, error: Exception) -> Response:
    if not isinstance(error, errors.ApiError):
        raise error
    reply = error.reply()
    return Response(reply.body, reply.status, reply.headers, media_type="application/json")


async def _unknown_route(request: Request, _error: Exception) -> Response:
    return await _refusal(request, errors.UnknownRoute(request.method, request.url.path))


async def _crash(request: Request, _error: Exception) -> Response:
    """A mistake of the sandbox itself; the server logs it with its traceback."""
    return await _refusal(request, errors.ServerError())
