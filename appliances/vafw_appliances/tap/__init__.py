"""The tap appliance."""
