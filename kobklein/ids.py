"""Identifiers: time-ordered UUIDs, and UUIDs derived from others so that a repeated step finds its first effect."""

import uuid

import uuid_utils
import uuid_utils.compat


def new() -> uuid.UUID:
    """Return a new UUIDv7: rows made together lie together in an index."""
    return uuid_utils.compat.uuid7()


def text() -> str:
    """Return a new UUIDv7 as text, for a fraction of what making the object costs."""
    return str(uuid_utils.uuid7())


def derived(parent: uuid.UUID, step: str) -> uuid.UUID:
    """Return the one UUID of `step` of `parent`: the same whenever and wherever it is asked for."""
    return uuid.uuid5(parent, step)
