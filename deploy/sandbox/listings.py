"""Lists as Stripe pages them: newest first, by cursor."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from deploy.sandbox.forms import Raw
from deploy.sandbox.parameters import Arguments, Fields, Integer, Parameter, Text
from deploy.sandbox.state import State
from deploy.sandbox.store import Object, Slice

_BOUNDS = Fields({bound: Integer() for bound in ("gt", "gte", "lt", "lte")})


@dataclass(frozen=True, slots=True)
class Range(Parameter):
    """A moment, or bounds: `created=1` or `created[gte]=1`."""

    def parse(self, raw: Raw, path: str) -> dict[str, int]:
        """The bounds by name."""
        if isinstance(raw, str):
            moment = Integer().parse(raw, path)
            return {"gte": moment, "lte": moment}
        return _BOUNDS.parse(raw, path)


def parameters(**filters: Parameter) -> Fields:
    """What a list operation accepts, besides its own filters."""
    return Fields(
        {
            "limit": Integer(minimum=1, maximum=100),
            "starting_after": Text(),
            "ending_before": Text(),
            "created": Range(),
            **filters,
        }
    )


def page(state: State, kind: str, url: str, arguments: Arguments) -> Object:
    """One page of the objects of a kind whose members equal the remaining arguments."""
    filters: dict[str, Any] = dict(arguments)
    created = filters.pop("created", {})
    part = Slice(
        limit=filters.pop("limit", 10),
        starting_after=filters.pop("starting_after", None),
        ending_before=filters.pop("ending_before", None),
    )
    for param in ("starting_after", "ending_before"):
        cursor = getattr(part, param)
        if cursor is not None:
            state.get(kind, cursor, param=param)
    items, more = state.store.page(kind, part, filters, created)
    return envelope(items, url, more=more)


def envelope(items: Sequence[Object], url: str, *, more: bool = False) -> Object:
    """The list object around its items."""
    return {"object": "list", "data": list(items), "has_more": more, "url": url}
