"""An appliance to copy."""
