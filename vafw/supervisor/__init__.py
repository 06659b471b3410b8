"""Supervision: brings a plan up in order behind the gate, keeps it up, and is the only writer of VM state."""
