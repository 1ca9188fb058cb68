"""How often a serving process looks for unreachable cycles of objects."""

import gc
from typing import Final

_YOUNG_OBJECTS: Final = 10_000
"""How many more objects must have been made than freed before the youngest are looked at; Python's own is 700."""


def settle() -> None:
    """Take what has been loaded by now for permanent, and look for cycles more rarely; call it before serving.

    Every object of a batch waits for the batch to commit, so that the usual thresholds have the collector walk through
    thousands of objects that are all in use, many times a batch: a fifth of the processor time of a call, and its worst
    pauses. Reference counts free nearly everything anyway; cycles, such as those of an exception, are still found.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG_OBJECTS, 50, 20)
