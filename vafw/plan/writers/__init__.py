"""Sections of a topology as the configuration of real programs: text out of values, the same bytes every time."""
