"""The planted faults can be planted: the code that each would change is there, and so is the test that must see it."""

import pytest

from tests import faults


@pytest.mark.parametrize("fault", faults.FAULTS, ids=lambda fault: fault.name)
def test_a_fault_has_exactly_one_place_and_a_test(fault: faults.Fault) -> None:
    assert (faults.ROOT / fault.file).read_text().count(fault.before) == 1
    file, _, test = fault.test.partition("::")
    assert f"def {test}(" in (faults.ROOT / file).read_text()
