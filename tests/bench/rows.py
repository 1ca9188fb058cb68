"""A row of the result: a value beside its baseline of the same run, and whether their ratio meets the target."""

from typing import Any


def at_least(name: str, value: float, unit: str, *, baseline: float, target: float | None = None) -> dict[str, Any]:
    """Return a row whose ratio must reach the target, if there is one."""
    return _row(name, value, unit, baseline, target, met=target is None or value / baseline >= target)


def below(name: str, value: float, unit: str, *, baseline: float, target: float) -> dict[str, Any]:
    """Return a row whose ratio must stay below the target."""
    return _row(name, value, unit, baseline, target, met=value / baseline < target)


def at_most(name: str, value: float, unit: str, *, baseline: float, target: float | None = None) -> dict[str, Any]:
    """Return a row whose ratio must not be above the target, if there is one."""
    return _row(name, value, unit, baseline, target, met=target is None or value / baseline <= target)


def none(name: str, count: int, unit: str, *, of: int) -> dict[str, Any]:
    """Return a row of what must not happen at all."""
    return _row(name, count, unit, of, 0, met=count == 0)


def _row(name: str, value: float, unit: str, baseline: float, target: float | None, *, met: bool) -> dict[str, Any]:
    return {
        "name": name,
        "value": _rounded(value),
        "unit": unit,
        "baseline": _rounded(baseline),
        "ratio": round(value / baseline, 2),
        "target": target,
        "met": met,
    }


def _rounded(value: float) -> float:
    return round(value) if value >= 100 else round(value, 2)
