"""What an appliance needs to be a host: an IP stack, TCP and a stub resolver's messages, all without socket or clock.

`stack` is one host on one link, `tcp` one connection of it, `icmp_error` what it is told of one, `names` what it asks a
resolver. Frames and the time come in, frames go out. Who has addresses of its own and speaks for itself stands on this:
the desktop and the proxy.
"""
