"""Gateways for tests: the gallery contract, compiled on the spot, and real servers over services in this process."""

import asyncio
import atexit
import contextlib
import dataclasses
import importlib
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import google.api.annotations_pb2
import grpc
import httpx
import jwt
from google.protobuf import empty_pb2
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_status import rpc_status
from grpc_tools import protoc

from gateway import app, backends, comments, server
from gateway.settings import Settings
from kobklein import client, errors

SECRET: Final = "0123456789abcdef" * 4
_SERVING: Final = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING: Final = health_pb2.HealthCheckResponse.NOT_SERVING
_ROOT: Final = Path(__file__).parent.parent
_INCLUDED: Final = (
    _ROOT / "tests" / "protos",
    _ROOT / "protos",
    Path(google.api.annotations_pb2.__file__).parent.parent.parent,
    Path(protoc.__file__).parent / "_proto",
)
_folder = tempfile.TemporaryDirectory(prefix="gallery-")
atexit.register(_folder.cleanup)
DESCRIPTORS: Final = Path(_folder.name) / "gallery.binpb"


def _compile() -> tuple[ModuleType, ModuleType]:
    """Compile the gallery contract, and return its messages and its stubs."""
    arguments = [
        *("protoc", *(f"-I{folder}" for folder in _INCLUDED)),
        *(f"--python_out={_folder.name}", f"--grpc_python_out={_folder.name}"),
        *("--include_imports", "--include_source_info", f"--descriptor_set_out={DESCRIPTORS}"),
        "gallery/v1/gallery.proto",
    ]
    if protoc.main(arguments) != 0:
        raise RuntimeError("the gallery contract does not compile")
    sys.path.insert(0, _folder.name)
    return importlib.import_module("gallery.v1.gallery_pb2"), importlib.import_module("gallery.v1.gallery_pb2_grpc")


gallery_pb2, gallery_pb2_grpc = _compile()


def settings(**changed: Any) -> Settings:
    """Return settings for tests: a free port, a shared secret, and no service behind."""
    basics = {
        "rates": {"failures": "1000000/minute"},
        "port": 0,
        "payments_target": "unused",
        "wallets_target": "unused",
        "auth": {"hs256_secret": SECRET},
    }
    return Settings(**basics | changed)


def token(*roles: str, subject: str = "user-1") -> str:
    """Return an access token."""
    now = int(time.time())
    claims = {"iss": "kobklein", "aud": "kobklein-api", "sub": subject, "roles": roles, "iat": now, "exp": now + 86_400}
    return jwt.encode(claims, SECRET, headers={"typ": "at+jwt"})


@dataclasses.dataclass(frozen=True)
class Gateway:
    """A running gateway."""

    port: int
    http: httpx.AsyncClient
    """A client with the token of `user-1`."""
    stop: Callable[[], None]


@contextlib.asynccontextmanager
async def serving(
    package: str, add: Callable[[grpc.aio.Server], None], *, healthy: bool = True, served: bool = True, **changed: Any
) -> AsyncIterator[Gateway]:
    """Serve gRPC services in this process, and a gateway in front of them."""
    behind = grpc.aio.server()
    add(behind)
    health_servicer = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(health_servicer, behind)
    await health_servicer.set("", _SERVING if healthy else _NOT_SERVING)
    port = behind.add_insecure_port("127.0.0.1:0")
    await behind.start()
    if not served:
        await behind.stop(0)
    configured = settings(**changed)
    texts = comments.load(DESCRIPTORS) if package == "gallery" else comments.load()
    try:
        methods = backends.methods_of(package).values()
        async with client.channel(f"127.0.0.1:{port}", None, methods) as channel:
            application = app.create(configured, [backends.of_package("gallery", package, channel)], texts=texts)
            async with running(application, configured) as gateway:
                yield gateway
    finally:
        await behind.stop(0)


@contextlib.asynccontextmanager
async def running(application: Any, configured: Settings) -> AsyncIterator[Gateway]:
    """Serve an application on a free port."""
    listening = server.create(application, configured)
    task = asyncio.create_task(listening.serve())
    await listening.listening.wait()
    headers = {"authorization": f"Bearer {token('user')}"}
    try:
        base_url = f"http://127.0.0.1:{listening.port}"
        async with httpx.AsyncClient(base_url=base_url, headers=headers) as http:
            yield Gateway(listening.port, http, listening.stop)
    finally:
        listening.stop()
        await task


async def exchange(port: int, raw: bytes, *, address: str = "127.0.0.1") -> bytes:
    """Send raw bytes from an address of this machine, and return all that comes back until the connection ends."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(address, 0))
    writer.write(raw)
    try:
        return await asyncio.wait_for(reader.read(), 10)
    finally:
        writer.close()


class Gallery(gallery_pb2_grpc.GalleryServiceServicer):  # type: ignore[misc,name-defined]  # compiled at run time
    """A gallery that remembers what it was asked, and answers with what its test put into `answer`."""

    def __init__(self) -> None:
        self.received: list[Any] = []
        self.answered: list[Any] = []
        self.metadata: list[dict[str, Any]] = []
        self.answer: Any = gallery_pb2.Painting(id="1", title="Marine", etag="7")
        self.refusal: errors.Error | grpc.StatusCode | None = None
        self.holds = False
        self.stream: Iterable[Any] = []
        self.initial: tuple[tuple[str, str], ...] = ()
        self.held = asyncio.Event()
        self.ended = asyncio.Event()
        self.released = asyncio.Event()
        self.deadlines: list[float] = []

    async def _serve(self, request: Any, context: Any) -> Any:
        self._remember(request, context)
        if self.holds:
            await self._hold()
        await self._refuse(context)
        await context.send_initial_metadata(self.initial)
        context.set_trailing_metadata((("idempotency-replayed", "true"), ("secret", "x")))
        self.answered.append(request)
        return self.answer

    GetPainting = GetNewest = Search = CreatePainting = UpdatePainting = ReplaceTitle = ReplaceTags = _serve
    RestorePainting = InspectPainting = FindByName = GetCertificate = GetPhotograph = _serve

    async def SendEverything(self, request: Any, context: Any) -> Any:
        self._remember(request, context)
        return request

    async def DeletePainting(self, request: Any, context: Any) -> Any:
        self._remember(request, context)
        return empty_pb2.Empty()

    async def _hold(self) -> None:
        """Wait until the caller has left, or the test lets go on."""
        self.held.set()
        try:
            await self.released.wait()
        except asyncio.CancelledError:
            self.ended.set()
            raise

    async def _send(self, request: Any, context: Any) -> AsyncIterator[Any]:
        """Send `stream`; where it says None, say nothing more until the caller has left."""
        self._remember(request, context)
        await context.send_initial_metadata(self.initial)
        try:
            for answer in self.stream:
                if answer is None:
                    self.held.set()
                    await asyncio.Event().wait()
                yield answer
        finally:
            self.ended.set()
        await self._refuse(context)

    WatchPainting = FollowSales = ExportCatalogue = _send

    def _remember(self, request: Any, context: Any) -> None:
        self.received.append(request)
        self.metadata.append(dict(context.invocation_metadata()))
        self.deadlines.append(context.time_remaining())

    async def _refuse(self, context: Any) -> None:
        if isinstance(self.refusal, grpc.StatusCode):
            await context.abort(self.refusal, "internals of a library at 10.0.0.1:5432")
        if self.refusal is not None:
            await context.abort_with_status(rpc_status.to_status(errors.to_status(self.refusal)))

    def add_to(self, served: grpc.aio.Server) -> None:
        """Serve this gallery."""
        gallery_pb2_grpc.add_GalleryServiceServicer_to_server(self, served)
