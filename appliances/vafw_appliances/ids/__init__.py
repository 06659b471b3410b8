"""The intrusion detection appliance."""
