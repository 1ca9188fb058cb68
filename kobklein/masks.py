"""Update masks: which fields of a resource a request changes."""

from collections.abc import Iterator
from typing import Any

from google.protobuf import message

from kobklein import validation


def paths(request: Any, resource: message.Message) -> list[str]:
    """Return the paths in the mask of a request; without a mask, those of all that it gives of the resource (AIP-134).

    A request that gives nothing changes nothing.
    """
    return list(request.update_mask.paths) if request.HasField("update_mask") else list(_given(resource, ""))


def _given(resource: message.Message, prefix: str) -> Iterator[str]:
    for field, value in resource.ListFields():
        if validation.holds_ours(field) and not field.is_repeated:
            yield from _given(value, f"{prefix}{field.name}.")
        else:
            yield prefix + field.name
