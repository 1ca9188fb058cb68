"""Names in the OpenAPI document, unique however many types and methods of the contract have one name."""

import collections
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from google.protobuf import descriptor

from gateway import bindings
from kobklein import validation

_WORD: Final = re.compile(r"[A-Za-z0-9]+")
_INPUT: Final = "Input"
"""What follows the name of a message that is also answered, in the schema of what a client may send of it."""

Type = descriptor.Descriptor | descriptor.EnumDescriptor
Use = tuple[str, bool]
"""A type by its full name, and whether clients send it; else services do."""


def schemas(served: Sequence[bindings.Binding], *, reserved: Iterable[str]) -> Mapping[Use, str]:
    """Return the schema's name of each type that the routes use, either way.

    It is the type's own name; the full name for types that share one, or whose name is `reserved`. A message that is
    both sent and answered has two.
    """
    sent = {each.full_name: each for each in _reached((one.request_type for one in served), given=True)}
    answered = {each.full_name: each for each in _reached((one.response_type for one in served), given=False)}
    types = sent | answered
    counts = collections.Counter(reserved)
    for each in types.values():
        counts.update((each.name, each.name + _INPUT))
    single = {name for name, each in types.items() if counts[each.name] == counts[each.name + _INPUT] == 1}
    own = {name: each.name if name in single else name for name, each in types.items()}
    both = {name for name in sent if name in answered and isinstance(types[name], descriptor.Descriptor)}
    return {
        **{(name, False): own[name] for name in answered},
        **{(name, True): own[name] + (_INPUT if name in both else "") for name in sent},
    }


def _reached(starts: Iterable[descriptor.Descriptor], *, given: bool) -> Iterator[Type]:
    """Yield the types of messages and of what is in them, but not of fields that only go the other way."""
    waiting = list(dict.fromkeys(starts))
    seen = set(waiting)
    while waiting:
        current = waiting.pop()
        yield current
        for field in current.fields:
            if validation.is_hidden(field, given=given):
                continue
            if field.enum_type is not None:
                yield field.enum_type
            if field.message_type is not None and field.message_type not in seen:
                seen.add(field.message_type)
                waiting.append(field.message_type)


def operations(served: Sequence[bindings.Binding]) -> Mapping[bindings.Binding, str]:
    """Return the id of each route's operation: the RPC's name, and for its further routes what only their paths say.

    So `/accounts/{id}/balance`, beside `/wallets/{id}/balance`, is GetBalanceViaAccounts. RPCs of one name in several
    services begin with their service. Raises ValueError if two are still the same: a contract should avoid that.
    """
    methods = {binding.method.descriptor.full_name: binding.method.descriptor for binding in served}
    counts = collections.Counter(method.name for method in methods.values())
    first: dict[str, bindings.Binding] = {}
    found: dict[bindings.Binding, str] = {}
    for binding in served:
        method = binding.method.descriptor
        name = method.name if counts[method.name] == 1 else f"{tag(method.containing_service)}{method.name}"
        primary = first.setdefault(method.full_name, binding)
        found[binding] = name if primary is binding else f"{name}Via{_difference(binding, primary)}"
    repeated = [name for name, count in collections.Counter(found.values()).items() if count > 1]
    if repeated:
        raise ValueError(f"several routes would be the operation {', '.join(repeated)}")
    return found


def tag(service: descriptor.ServiceDescriptor) -> str:
    """Return the name of the group that a service's operations stand in."""
    return service.name.removesuffix("Service")


def _difference(binding: bindings.Binding, primary: bindings.Binding) -> str:
    """Return the words of a path that the RPC's first one does not have, or else the HTTP method."""
    known = _words(primary)
    words = [word for word in _words(binding) if word not in known] or [binding.http_method.lower()]
    return "".join(word[0].upper() + word[1:] for word in words)


def _words(binding: bindings.Binding) -> list[str]:
    return _WORD.findall(" ".join((*binding.template.segments, binding.template.verb)))
