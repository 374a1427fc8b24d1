"""What all tests share: how long and how deep the property tests search."""

from hypothesis import HealthCheck, settings

# No deadline: a loaded machine must not make an example fail that is merely slow.
settings.register_profile(
    "partitioner", deadline=None, max_examples=200, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("partitioner")
