"""What is wrong with one request, collected while it is read."""

import builtins
from collections.abc import Iterable
from typing import Any, Final

from gateway import documents, names
from kobklein import errors, validation

MOST: Final = validation.MOST_VIOLATIONS


class Violations:
    """A list of violations that the readers add to."""

    __slots__ = ("found", "unread")

    def __init__(self) -> None:
        self.found: builtins.list[errors.Violation] = []
        self.unread: set[str] = set()
        """Fields that could not be read for another field's fault; they only look as if they were absent."""

    def add(self, field: str, description: str) -> None:
        """Note what is wrong with the field at a proto path, parts of which the client may have made up."""
        if len(self.found) < MOST:
            self.found.append(errors.Violation(names.printable(field), description))

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
        return any(v.field == field or v.field.startswith((f"{field}.", f"{field}[")) for v in self.found)

    def add_others(self, others: Iterable[errors.Violation]) -> None:
        """Note more violations, but none of a field that is known to be wrong, or of one around or inside it."""
        known = {violation.field for violation in self.found} | self.unread
        self.found += [other for other in others if not any(_related(other.field, field) for field in known)]

    def raise_any(self) -> None:
        """Raise InvalidArgument if anything is wrong."""
        if self.found:
            raise errors.InvalidArgument(*self.found)


def as_given(violation: errors.Violation) -> errors.Violation:
    """Return a violation for a client of whose request nothing is known, not even which message it is."""
    return errors.Violation(names.printable(violation.field), violation.description)


def _related(one: str, other: str) -> bool:
    short, long = sorted((one, other), key=len)
    return long == short or long.startswith((f"{short}.", f"{short}["))
