"""What all tests share: property tests that never fail for a slow machine, and always try the same cases."""

import signal

from hypothesis import HealthCheck, settings

settings.register_profile(
    "pdmesh", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("pdmesh")

# A runner started in the background ignores SIGINT, and every process that a test starts would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
