"""The VPN appliance: a WireGuard tunnel and nothing beside it."""
