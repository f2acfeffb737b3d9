"""Batch <-> one POSIX sh script <-> replies."""

from .batch import Batch, Check, Guard, Place, Step
from .decode import Decoder
from .encode import Encoder
from .replies import (
    Busy,
    Ended,
    Finished,
    Probed,
    Progress,
    Reply,
    Stale,
    Started,
    Stopped,
    Waiting,
)

__all__ = [
    "Batch",
    "Busy",
    "Check",
    "Decoder",
    "Encoder",
    "Ended",
    "Finished",
    "Guard",
    "Place",
    "Probed",
    "Progress",
    "Reply",
    "Stale",
    "Started",
    "Step",
    "Stopped",
    "Waiting",
]
