"""What holds between the settings of payments_service, whatever they are set to."""

import pytest

from payments_service.settings import MoneyPathSettings


@pytest.mark.parametrize(
    ("longer", "shorter"), [("lease_seconds", "provider_seconds"), ("call_lease_seconds", "answer_seconds")]
)
def test_what_is_claimed_is_claimed_for_longer_than_the_work_takes(longer: str, shorter: str) -> None:
    MoneyPathSettings.model_validate({longer: 5.1, shorter: 5.0})
    with pytest.raises(ValueError, match=f"{longer} must be more than {shorter}"):
        MoneyPathSettings.model_validate({longer: 5.0, shorter: 5.0})
