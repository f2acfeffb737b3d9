"""What holds for all tests."""

from hypothesis import settings

# A test says what is right, never how long it may take: machines are shared.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")
