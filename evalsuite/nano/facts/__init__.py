"""What the nano model knows: topics, each a table of facts with several wordings."""

from __future__ import annotations

from evalsuite.nano.facts.topics import TOPICS, Topic

__all__ = ["TOPICS", "Topic"]
