"""What is wrong with one request, collected while it is read."""

import builtins
import re
from collections.abc import Iterable, Iterator
from typing import Any, Final

from gateway import documents, names
from kobklein import errors

MOST: Final = errors.MOST_VIOLATIONS
_SEPARATOR: Final = re.compile(r"[.\[]")


class Violations:
    """A list of violations that the readers add to."""

    __slots__ = ("_around", "found", "unread")

    def __init__(self) -> None:
        self.found: builtins.list[errors.Violation] = []
        self.unread: set[str] = set()
        """Fields that could not be read for another field's fault; they only look as if they were absent."""
        self._around: set[str] = set()
        """The fields that are found to be wrong, and those around them."""

    def add(self, field: str, description: str) -> None:
        """Note what is wrong with the field at a proto path, parts of which the client may have made up."""
        if len(self.found) < MOST:
            violation = errors.Violation(names.printable(field), description)
            self.found.append(violation)
            self._around.update(_around(violation.field))

    def add_duplicates(self, value: dict[str, Any], prefix: str) -> None:
        """Note every key that a JSON object has more than once."""
        if type(value) is documents.Duplicated:
            for name in value.names:
                self.add(prefix + name, "is given more than once")

    def list(self, value: Any, path: str) -> builtins.list[Any]:
        """Return a JSON array, or an empty one and a note that it is none."""
        if isinstance(value, list):
            return value
        self.add(path, "is not a list")
        return []

    def names(self, field: str) -> bool:
        """Whether something is already known to be wrong with the field at a proto path, or inside it."""
        return field in self._around

    def add_others(self, others: Iterable[errors.Violation]) -> None:
        """Note more violations, but none of a field that is known to be wrong, or of one around or inside it."""
        known = {violation.field for violation in self.found} | self.unread
        inside = self._around.union(*map(_around, self.unread))
        unknown = [one for one in others if one.field not in inside and known.isdisjoint(_around(one.field))]
        self.found += unknown[: MOST - len(self.found)]

    def raise_any(self) -> None:
        """Raise InvalidArgument if anything is wrong."""
        if self.found:
            raise errors.InvalidArgument(*self.found)


def as_given(violation: errors.Violation) -> errors.Violation:
    """Return a violation for a client of whose request nothing is known, not even which message it is."""
    return errors.Violation(names.printable(violation.field), violation.description)


def _around(field: str) -> Iterator[str]:
    """Yield the path of a field, and of each field that it is inside of."""
    yield field
    for match in _SEPARATOR.finditer(field):
        yield field[: match.start()]
