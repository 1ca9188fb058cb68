"""The planted faults can be planted: the code that each would change is there, and so is the test that must see it."""

import pytest

from tests import faults
from tests.faults.__main__ import Run


@pytest.mark.parametrize("fault", faults.FAULTS, ids=lambda fault: fault.name)
def test_a_fault_has_exactly_one_place_and_a_test(fault: faults.Fault) -> None:
    assert (faults.ROOT / fault.file).read_text().count(fault.before) == 1
    file, _, test = fault.test.partition("::")
    assert f"def {test}(" in (faults.ROOT / file).read_text()


@pytest.mark.parametrize(
    ("line", "hung", "caught"),
    [
        ("FAILED {test} - assert 1 == 2", False, True),
        ("FAILED {test}[2-one] - assert 1 == 2", False, True),
        ("ERROR {test} - the fixture fails", False, False),
        ("FAILED tests/unit/test_other.py::test_another - assert 1 == 2", False, False),
        ("1 passed in 0.10s", False, False),
        ("KeyboardInterrupt", True, True),
    ],
)
def test_a_fault_is_caught_by_a_test_that_fails_or_hangs_and_by_nothing_else(
    line: str, hung: bool, caught: bool
) -> None:
    fault = faults.FAULTS[0]
    run = Run(1, f"F\n{line.format(test=fault.test)}\n1 failed\n", hung)
    assert run.caught(fault) == caught
