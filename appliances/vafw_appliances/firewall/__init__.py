"""The firewall appliance."""
