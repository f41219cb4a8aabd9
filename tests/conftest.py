"""Settings that every test shares."""

import asyncio
import os

from hypothesis import HealthCheck, settings

settings.register_profile("default", max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("deep", max_examples=2000, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))

# looptime asks the policy for a loop before each test; without a current one it makes one that nobody closes
asyncio.set_event_loop(None)
