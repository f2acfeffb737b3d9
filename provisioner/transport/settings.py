"""ssh_config's answers, as paramiko finds them, without the work that most lines leave nothing to do for.

Imports paramiko at the top: only what is itself imported late may import this module.
"""

from __future__ import annotations

from typing import Any

from paramiko.config import SSHConfig


class Settings(SSHConfig):
    """A parsed ssh_config; who runs this, and on what, is asked only where a line depends on it."""

    # paramiko asks for the user's name at each: without $USER that reads /etc/passwd, several times for each host.

    def _tokenize(self, config: Any, target_hostname: str, key: str, value: str) -> str:
        if "%" not in value and "~" not in value:
            return value
        told: str = super()._tokenize(config, target_hostname, key, value)  # type: ignore[misc]
        return told

    def _does_match(self, match_list: list[Any], *given: Any) -> list[Any]:
        if not match_list:  # a Host line, whose patterns did not match
            return []
        matched: list[Any] = super()._does_match(match_list, *given)  # type: ignore[misc]
        return matched
