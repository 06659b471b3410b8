"""Header space: sets of packets as decision diagrams, what rules do with them, and how they are said in words."""

from __future__ import annotations
