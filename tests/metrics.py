"""The metrics of this process as whoever scrapes them reads them."""

import prometheus_client


def labelled(name: str, **labels: str) -> float:
    """Return the value of a metric with labels; 0 before its first sample."""
    return prometheus_client.REGISTRY.get_sample_value(name, labels) or 0.0


def value(name: str) -> float:
    """Return the value of a metric without labels, which must be there."""
    found = prometheus_client.REGISTRY.get_sample_value(name)
    assert found is not None, f"there is no metric {name}"
    return found
