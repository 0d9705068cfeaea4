"""Settings that every test and benchmark shares: how hard hypothesis tries, and where its findings go."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

pytest_plugins = ["evalsuite.plugin", "pytester"]

# No deadline anywhere: a model's first forward is slow, and a shared machine is slower.
settings.register_profile("dev", deadline=None, max_examples=25)
settings.register_profile(
    "ci",
    deadline=None,
    max_examples=50,
    derandomize=True,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("nightly", deadline=None, max_examples=2_000, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if os.environ.get("CI") else "dev"))
