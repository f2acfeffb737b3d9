"""Playbook, Play, Task and Handler: what was written, unrendered, with the place of every word."""

from provisioner.playbook.model import Flag, Loop, Play, Playbook, Task, find_file, selected
from provisioner.playbook.read import load_playbook

__all__ = ["Flag", "Loop", "Play", "Playbook", "Task", "find_file", "load_playbook", "selected"]
