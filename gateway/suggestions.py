"""What a path that is no route may have been meant to be."""

import difflib
import re
from collections.abc import Callable, Iterable
from typing import Final

from gateway import templates

_PREFIX: Final = re.compile(r"api|rest|v[0-9]+")
"""First segments that other APIs have, and this one does not."""
_MOST_PREFIXES: Final = 2
_LONGEST_PATH: Final = 200
_MOST_SEGMENTS: Final = 8
"""Longer paths are not looked at, since looking has its cost."""
_SIMILARITY: Final = 0.75


class Suggestions:
    """The routes of an application, by what their paths look like."""

    def __init__(self, served: Iterable[templates.Template], *, exists: Callable[[str], bool]) -> None:
        self._served = list({(one.segments, one.verb): one for one in served}.values())
        self._exists = exists

    def of(self, path: str) -> str | None:
        """Return the path of a route that resembles a raw path, or None."""
        segments = [segment for segment in path.split("/") if segment]
        if len(path) > _LONGEST_PATH or not 0 < len(segments) <= _MOST_SEGMENTS:
            return None
        found = self._written(path, segments)
        for _ in range(_MOST_PREFIXES):
            if found is not None or not segments or not _PREFIX.fullmatch(segments.pop(0)):
                break
            found = self._written(path, segments)
        return found

    def _written(self, path: str, segments: list[str]) -> str | None:
        """Return the path of these segments if it is one, or else a similar one."""
        tidy = "/" + "/".join(segments)
        return tidy if tidy != path and self._exists(tidy) else self._respelled(segments)

    def _respelled(self, segments: list[str]) -> str | None:
        *parents, last = segments or [""]
        stem, _, verb = last.rpartition(":") if ":" in last else (last, "", "")
        found = (_alike(template, [*parents, stem], verb) for template in self._served)
        best = max((one for one in found if one is not None), default=None)
        return None if best is None else best[1]


def _alike(template: templates.Template, segments: list[str], verb: str) -> tuple[float, str] | None:
    """Return how much a path is like a template, and the path with the template's words; None if it is not."""
    if len(template.segments) != len(segments) or bool(template.verb) != bool(verb):
        return None
    written = [*zip(template.segments, segments, strict=True), (template.verb, verb)]
    words = [(word, given) for word, given in written if word not in (templates.ONE, templates.REST) and word]
    least = min((_similarity(word, given) for word, given in words), default=0.0)
    if least < _SIMILARITY:
        return None
    shown = [given if word in (templates.ONE, templates.REST) else word for word, given in written[:-1]]
    return least, f"/{'/'.join(shown)}{':' if verb else ''}{template.verb}"


def _similarity(word: str, given: str) -> float:
    if word == given:
        return 1.0
    matcher = difflib.SequenceMatcher(None, word, given[: 2 * len(word)].lower())
    return matcher.ratio() if matcher.real_quick_ratio() >= _SIMILARITY <= matcher.quick_ratio() else 0.0
