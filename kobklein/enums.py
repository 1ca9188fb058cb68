"""The values of enums by their bare names: without the name of their enum, as JSON and rules have them."""

import functools
import re
from collections.abc import Mapping
from typing import Final

from google.protobuf import descriptor

_WORD_START: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_LONGEST: Final = 128
"""No spelling of a value is longer than this; longer texts are not looked at."""


@functools.cache
def numbers(enum_type: descriptor.EnumDescriptor) -> dict[str, int]:
    """Return the numbers of an enum by their bare names; its UNSPECIFIED value says nothing and has none."""
    bare = {value.name.removeprefix(_prefix(enum_type)): value.number for value in enum_type.values}
    return {name: number for name, number in bare.items() if name != "UNSPECIFIED" or number != 0}


@functools.cache
def names(enum_type: descriptor.EnumDescriptor) -> dict[int, str]:
    """Return the bare names of an enum by their numbers; of several names for one number, the first."""
    return {number: name for name, number in reversed(numbers(enum_type).items())}


def number(enum_type: descriptor.EnumDescriptor, text: str) -> int | None:
    """Return the number of a value by its bare name, its full one, in capitals or not, or its number; None for none."""
    known = _spellings(enum_type)
    found = known.get(text)
    if found is None and len(text) <= _LONGEST:
        found = known.get(_WORD_START.sub("_", text).upper())
    return found


@functools.cache
def _spellings(enum_type: descriptor.EnumDescriptor) -> Mapping[str, int]:
    bare, prefix = numbers(enum_type), _prefix(enum_type)
    full = {prefix + name: number for name, number in bare.items()}
    by_number = {str(number): number for number in bare.values()}
    return {name.upper(): number for name, number in (by_number | full | bare).items()} | bare


def _prefix(enum_type: descriptor.EnumDescriptor) -> str:
    return _WORD_START.sub("_", enum_type.name).upper() + "_"
