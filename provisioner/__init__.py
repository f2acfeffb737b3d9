"""Provision NVIDIA Jetson fleets over SSH."""

__version__ = "0.1.0"
