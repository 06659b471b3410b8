"""The proxy appliance."""
