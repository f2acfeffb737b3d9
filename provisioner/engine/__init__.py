"""The cycle: look, plan, apply; pure, as a generator that yields batches and is sent their replies."""

from .outcome import Outcome
from .run import HostRun, Options, Requests, Summary

__all__ = ["HostRun", "Options", "Outcome", "Requests", "Summary"]
