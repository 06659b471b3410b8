"""The DNS filter appliance."""
