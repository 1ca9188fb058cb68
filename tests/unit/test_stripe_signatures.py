"""A signature header may hold any bytes; none of them is more than a refusal."""

import time

import pytest

from payments_service import errors
from payments_service.providers import stripe_webhooks


@pytest.mark.parametrize("rest", ["v1=é", "v1=\u0661", "v1=\ud7ff", "v1=ÿÿ,v1=00", "é=1,v1=00"])
def test_a_signature_beyond_ascii_is_refused_like_every_other(rest: str) -> None:
    with pytest.raises(errors.InvalidSignature):
        stripe_webhooks.verify(b"{}", f"t={int(time.time())},{rest}", ["whsec_x"])
