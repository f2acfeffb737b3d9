"""A run over the fleet: plays in order, hosts side by side, and the question before anything is changed."""

from __future__ import annotations

from .fleet import KEPT, Runner, Settings

__all__ = ["KEPT", "Runner", "Settings"]
