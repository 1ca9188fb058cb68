"""Who is at the other end of a connection to a service, and for which client it calls."""

import functools
import ipaddress
from collections.abc import Collection, Mapping
from typing import Any, Final

import grpc

from kobklein import calls

Context = grpc.aio.ServicerContext[Any, Any]
_NAMES: Final = "x509_common_name"


def client_address(context: Context, metadata: Mapping[str, str], *, trusted: Collection[str]) -> str:
    """Return the address that a call came from.

    That is what its metadata says, if the peer proved by its certificate that it is one of the `trusted` processes; or,
    where connections are plain, if it is on this machine. Otherwise it is the peer's own address.
    """
    peer = _address(str(context.peer()))
    given = metadata.get(calls.CLIENT_ADDRESS, "")
    return given if is_address(given) and _is_trusted(context, peer, trusted) else peer


def _is_trusted(context: Context, peer: str, trusted: Collection[str]) -> bool:
    proved = context.auth_context()
    if "transport_security_type" in proved and proved["transport_security_type"] != [b"insecure"]:
        return any(name.decode(errors="replace") in trusted for name in proved.get(_NAMES, ()))
    return _is_local(peer)


@functools.lru_cache(maxsize=4096)
def _is_local(peer: str) -> bool:
    return not is_address(peer) or ipaddress.ip_address(peer).is_loopback


def _address(peer: str) -> str:
    """Return the address in what gRPC says of a peer, such as `ipv4:127.0.0.1:50051` or `ipv6:[::1]:50051`."""
    kind, _, rest = peer.partition(":")
    if kind not in ("ipv4", "ipv6"):
        return peer
    host = rest.rpartition(":")[0]
    return host.replace("%5B", "[").replace("%5D", "]").strip("[]")


@functools.lru_cache(maxsize=4096)
def is_address(text: str) -> bool:
    """Return whether a text is an address of IPv4 or IPv6."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
