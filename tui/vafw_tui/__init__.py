"""The terminal face of vafw: shows a topology, edits its document and watches it run. It decides nothing."""
