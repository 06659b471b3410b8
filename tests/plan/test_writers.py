"""Sections as the configuration of real programs: golden files, each taken by the program it is for.

Run this file as a program to write the golden files anew after a text was changed on purpose.
"""

from __future__ import annotations

import shutil
import subprocess
from ipaddress import ip_interface, ip_network
from pathlib import Path

import pytest
import yaml

from vafw.document.sections import DnsSection, IdsSection, ProxySection, VpnPeer, VpnSection
from vafw.plan.writers.squid import squid_text
from vafw.plan.writers.suricata import rules_text, suricata_text
from vafw.plan.writers.unbound import unbound_text
from vafw.plan.writers.wireguard import wireguard_text

GOLDEN = Path(__file__).with_name("golden")
CLIENTS = ["10.0.0.2/32", "2001:db8:a::2/128"]
DNS = DnsSection.model_validate(
    {"upstreams": ["9.9.9.9", "2620:fe::fe"], "tls-name": "dns.quad9.net", "allow": ["*.good.example"]}
)
IDS = IdsSection.model_validate({"rules": ["local.rules"], "on-match": "drop"})
PEER = VpnPeer.model_validate(
    {
        "name": "exit",
        "public-key": "HIgo9xNzJMWLKASShiTqIybxZ0U3wGLiUeJ1PKf8ykw=",
        "endpoint": "198.51.100.7:51820",
        "allowed": [ip_network("0.0.0.0/0"), ip_network("::/0")],
        "keepalive": "25 s",
    }
)
VPN = VpnSection.model_validate(
    {"addresses": [ip_interface("10.9.0.2/32"), ip_interface("fd09::2/128")], "peers": [PEER]}
)
PROXY = ProxySection.model_validate({"allow": ["*.example.com", "www.example.org"], "block": ["*.ads.example.com"]})
RULES = ["# local", 'alert tcp any any -> any 23 (msg:"telnet"; sid:1000001;)', "pass icmp any any -> any any (sid:2;)"]

TEXTS = {
    "unbound.conf": unbound_text(DNS, ["ads.example", "tracker.good.example", "good.example"], CLIENTS),
    "suricata-inline.yaml": suricata_text(IDS, CLIENTS, inline=True, ports=("outside", "inside")),
    "suricata-mirror.yaml": suricata_text(IDS, CLIENTS, inline=False, ports=("mirror", "mirror")),
    "vafw.rules": rules_text(RULES, "drop"),
    "tunnel.conf": wireguard_text(VPN),
    "squid.conf": squid_text(PROXY, CLIENTS),
}
CHECKERS = {
    "unbound.conf": ["unbound-checkconf"],
    "tunnel.conf": ["wg-quick", "strip"],
    "squid.conf": ["squid", "-k", "parse", "-f"],
    "suricata-inline.yaml": ["suricata", "-T", "-S", str(GOLDEN / "vafw.rules"), "-l", "/tmp", "-c"],
}


@pytest.mark.parametrize("name", TEXTS)
def test_a_section_gives_the_text_of_its_golden_file(name: str) -> None:
    assert TEXTS[name] == (GOLDEN / name).read_text()


@pytest.mark.parametrize("name", CHECKERS)
def test_the_program_itself_takes_the_text(name: str) -> None:
    command = CHECKERS[name]
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed here")
    done = subprocess.run([*command, str(GOLDEN / name)], check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "FATAL" not in done.stderr
    assert "ERROR" not in done.stderr


@pytest.mark.parametrize("name", ["suricata-inline.yaml", "suricata-mirror.yaml"])
def test_what_suricata_gets_is_yaml(name: str) -> None:
    loaded = yaml.safe_load(TEXTS[name])
    assert loaded["vars"]["address-groups"]["HOME_NET"] == "[10.0.0.2/32,2001:db8:a::2/128]"
    assert len(loaded["af-packet"]) == (2 if "inline" in name else 1)


def test_without_dnssec_nothing_is_validated() -> None:
    assert "validator" not in unbound_text(DnsSection.model_validate({"dnssec": False}), [], [])


def test_a_tunnel_without_kill_switch_adds_no_table() -> None:
    assert "kill-switch" not in wireguard_text(VPN.model_copy(update={"kill_switch": False}))


def test_a_name_that_a_wider_one_means_is_left_out_as_squid_would_not_start() -> None:
    names = ["*.example.com", "www.example.com", "example.com", "*.www.example.com", "badexample.com"]
    text = squid_text(ProxySection.model_validate({"allow": names}), CLIENTS)
    assert [line for line in text.splitlines() if "dstdomain" in line] == [
        "acl allowed dstdomain .example.com",
        "acl allowed dstdomain badexample.com",
    ]


def test_a_rule_of_no_known_action_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^a rule must begin with alert, drop, reject or pass, not 'watch tcp'$"):
        rules_text(["watch tcp"], "drop")


if __name__ == "__main__":
    for each, text in TEXTS.items():
        (GOLDEN / each).write_text(text)
