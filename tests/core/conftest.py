"""Properties run on the same examples every time; `--hypothesis-profile=explore` looks for new ones."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# How long an example takes to make up is no promise: a busy machine must not fail a test.
SLOW_IS_FINE = [HealthCheck.too_slow, HealthCheck.data_too_large]

settings.register_profile(
    "steady", derandomize=True, deadline=None, database=None, max_examples=80, suppress_health_check=SLOW_IS_FINE
)
settings.register_profile("explore", deadline=None, max_examples=3000, suppress_health_check=SLOW_IS_FINE)
settings.load_profile("steady")
