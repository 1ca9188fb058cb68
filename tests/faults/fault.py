"""What a fault is."""

import dataclasses


@dataclasses.dataclass(frozen=True, slots=True)
class Fault:
    """One change that must turn one test red."""

    name: str
    file: str
    before: str
    after: str
    test: str
