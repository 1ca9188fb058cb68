"""Addresses of clients, behind proxies too, and what counts as one of them."""

import ipaddress
import re
from collections.abc import Sequence
from typing import Final

from starlette.types import Scope

from gateway.settings import Network
from kobklein import peers

_MAX_HOPS: Final = 20
_WITH_PORT: Final = re.compile(r"\[(?P<v6>[0-9A-Fa-f:.]+)\](?::\d{1,5})?|(?P<v4>[0-9.]+):\d{1,5}")
_IPV6_NETWORK_BITS: Final = 64
"""One customer of a provider has all addresses of such a network."""


def of(scope: Scope, trusted: Sequence[Network]) -> str:
    """Return the client's address: the connection's, or that of the nearest untrusted hop in `X-Forwarded-For`.

    The header counts only where each proxy that wrote it is trusted, read from the right: what a client itself writes
    into it is to the left of that.
    """
    peer = scope["client"][0] if scope.get("client") else ""
    peer = _plain(peer) or peer
    if not trusted or not is_trusted(peer, trusted):
        return peer
    forwarded = b",".join(value for name, value in scope["headers"] if name == b"x-forwarded-for").decode("latin-1")
    hops = [_plain(hop) for hop in forwarded.split(",")[-_MAX_HOPS:] if hop.strip()]
    for hop in reversed(hops):
        if not peers.is_address(hop):
            return peer
        peer = hop
        if not is_trusted(hop, trusted):
            break
    return peer


def _plain(hop: str) -> str:
    """Return a hop's address: without the port and brackets that some proxies write, and as IPv4 where it is mapped.

    What is no address, or has a zone with any text in it, is returned empty.
    """
    text = hop.strip()
    if match := _WITH_PORT.fullmatch(text):
        text = match["v6"] or match["v4"]
    if "%" in text or not peers.is_address(text):
        return ""
    address = ipaddress.ip_address(text)
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)


def is_trusted(text: str, trusted: Sequence[Network]) -> bool:
    """Whether an address is that of a trusted proxy."""
    return peers.is_address(text) and any(ipaddress.ip_address(text) in network for network in trusted)


def limited_as(text: str) -> str:
    """Return what an address counts as where each one has a limit: itself, or its network of IPv6."""
    if not peers.is_address(text):
        return text
    address = ipaddress.ip_address(text)
    if isinstance(address, ipaddress.IPv4Address):
        return text
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((int(address), _IPV6_NETWORK_BITS), strict=False))
