"""Jinja, without its cache on disk and what that imports; imported here alone, and only with the first template."""

from __future__ import annotations

from provisioner.lean import Nothing, patterns_later, standing_in

with patterns_later(), standing_in({"jinja2.bccache": Nothing("jinja2.bccache")}):
    import jinja2
    from jinja2 import meta, nodes
    from jinja2.parser import Parser
    from jinja2.utils import missing

__all__ = ["Parser", "jinja2", "meta", "missing", "nodes"]
