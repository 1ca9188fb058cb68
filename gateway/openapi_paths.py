"""Paths in the OpenAPI document, and the fields that their variables fill."""

import functools
from collections.abc import Iterable

from google.protobuf import descriptor

from gateway import bindings, names

FieldDescriptor = descriptor.FieldDescriptor


def shown(binding: bindings.Binding) -> tuple[str, list[str]]:
    """Return the path with one parameter a variable, and the names of its parameters."""
    segments, variables, at = list(binding.template.segments), [], 0
    shown: list[str] = []
    for variable in binding.template.variables:
        shown += segments[at : variable.start]
        variables.append(names.camel(variable.field.replace(".", "_")))  # Many tools cannot format a name with a dot.
        shown.append(f"{{{variables[-1]}}}")
        at = len(segments) if variable.end is None else variable.end
    shown += segments[at:]
    verb = f":{binding.template.verb}" if binding.template.verb else ""
    return f"/{'/'.join(shown)}{verb}", variables


def given(binding: bindings.Binding, field: FieldDescriptor) -> frozenset[str]:
    """Return the names in a field's message of what the path gives."""
    inside = [variable.field.partition(".") for variable in binding.template.variables]
    return frozenset(rest for name, _, rest in inside if name == field.name and rest)


def field(message_type: descriptor.Descriptor, path: str) -> descriptor.FieldDescriptor:
    """Return the field at a dotted path; raises TypeError if something on the way holds no fields."""
    *parents, last = path.split(".")
    return _nested(message_type, parents).fields_by_name[last]


def _nested(message_type: descriptor.Descriptor, parents: Iterable[str]) -> descriptor.Descriptor:
    def step(current: descriptor.Descriptor, name: str) -> descriptor.Descriptor:
        nested = current.fields_by_name[name].message_type
        if nested is None:
            raise TypeError(f"{current.full_name}.{name} holds no fields")
        return nested

    return functools.reduce(step, parents, message_type)
