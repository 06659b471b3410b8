"""Event logs of any kind, read for a person: what firmware, launchers and kernels wrote, event by event, replayed."""
