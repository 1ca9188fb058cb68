"""The metrics of this process as whoever scrapes them reads them."""

import prometheus_client


def value(name: str) -> float:
    """Return the value of a metric without labels, which must be there."""
    found = prometheus_client.REGISTRY.get_sample_value(name)
    assert found is not None, f"there is no metric {name}"
    return found
