"""A `vpn:` section as a file for ``wg-quick``.

The private key is no part of it: the appliance has its own and puts it in when the interface comes up. The kill
switch is a table that is there before the interface and stays after it, so that a tunnel that is down is closed.
"""

from __future__ import annotations

from collections.abc import Iterator

from vafw.document.sections import VpnPeer, VpnSection


def wireguard_text(section: VpnSection) -> str:
    """Text for ``/etc/wireguard/NAME.conf``."""
    return "\n".join([*_interface(section), *(line for peer in section.peers for line in _peer(peer)), ""])


def _interface(section: VpnSection) -> Iterator[str]:
    yield "[Interface]"
    yield f"Address = {', '.join(str(each) for each in section.addresses)}"
    if section.kill_switch:
        chain = 'type filter hook forward priority -10; policy drop; oifname "%i" accept; iifname "%i" accept;'
        yield f"PreUp = nft 'table inet vafw-kill-switch {{ chain forward {{ {chain} }} }}'"
    yield "PostUp = wg set %i private-key /etc/wireguard/%i.key"


def _peer(peer: VpnPeer) -> Iterator[str]:
    yield ""
    yield f"# {peer.name}"
    yield "[Peer]"
    yield f"PublicKey = {peer.public_key}"
    yield f"Endpoint = {peer.endpoint}"
    yield f"AllowedIPs = {', '.join(str(each) for each in peer.allowed)}"
    if peer.keepalive is not None:
        yield f"PersistentKeepalive = {min(peer.keepalive, 65535)}"
