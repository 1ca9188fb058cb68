"""Request bodies: received whole, within a limit, and of the one type that is understood."""

from typing import Final

from starlette.types import Receive

from gateway import exchanges, problems

_UTF8: Final = ("", "utf-8", "utf8", "us-ascii")


def check_json(headers: dict[bytes, bytes]) -> None:
    """Raise Refused (415) for a body that is not plain JSON by its headers."""
    media_type, parameters = exchanges.media_type(headers, b"content-type")
    kind, _, subtype = media_type.partition("/")
    if kind != "application" or (subtype != "json" and not subtype.endswith("+json")):
        raise problems.Refused(415, "the body's Content-Type is not application/json", (b"accept", b"application/json"))
    if parameters.get("charset", "") not in _UTF8:
        raise problems.Refused(415, "the body's charset is not UTF-8", (b"accept", b"application/json"))
    if headers.get(b"content-encoding", b"identity").lower() != b"identity":
        raise problems.Refused(415, "the body is compressed", (b"accept-encoding", b"identity"))


async def read(receive: Receive, headers: dict[bytes, bytes], *, longest: int) -> bytes:
    """Return the whole body; raises Refused as soon as it is known to be too long (413)."""
    announced = headers.get(b"content-length", b"0")
    if not announced.isdigit() or int(announced[:20]) > longest:
        raise _too_long(longest)
    message = await receive()
    body: bytes = message.get("body", b"")
    if not message.get("more_body"):
        _check_connected(message["type"])
        return _within(body, longest)
    chunks, length = [body], len(body)
    while message.get("more_body"):
        message = await receive()
        _check_connected(message["type"])
        chunks.append(message.get("body", b""))
        length += len(chunks[-1])
        if length > longest:
            raise _too_long(longest)
    return b"".join(chunks)


def _within(body: bytes, longest: int) -> bytes:
    if len(body) > longest:
        raise _too_long(longest)
    return body


def _check_connected(event: str) -> None:
    if event == "http.disconnect":
        raise problems.Refused(499, "the client left before its request was complete")


def _too_long(longest: int) -> problems.Refused:
    return problems.Refused(413, f"the body is longer than {longest} bytes")
