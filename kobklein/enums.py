"""The values of enums by their bare names: without the name of their enum, as JSON and rules have them."""

import functools
import re
from typing import Final

from google.protobuf import descriptor

_WORD_START: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


@functools.cache
def numbers(enum_type: descriptor.EnumDescriptor) -> dict[str, int]:
    """Return the numbers of an enum by their bare names; its UNSPECIFIED value says nothing and has none."""
    prefix = _WORD_START.sub("_", enum_type.name).upper() + "_"
    bare = {value.name.removeprefix(prefix): value.number for value in enum_type.values}
    return {name: number for name, number in bare.items() if name != "UNSPECIFIED" or number != 0}


@functools.cache
def names(enum_type: descriptor.EnumDescriptor) -> dict[int, str]:
    """Return the bare names of an enum by their numbers; of several names for one number, the first."""
    return {number: name for name, number in reversed(numbers(enum_type).items())}
