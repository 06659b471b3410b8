"""Every code of a diagnostic about documents together: what it means, why it is refused, what to do.

T speaks of the topology, P of the policy, M of the machine. The table has the form of `vafw.document.codes`, so that
`vafw explain` knows both. One table, however long: a code is looked up in it, not read from top to bottom.
"""

from __future__ import annotations

from typing import Final

from vafw.document.codes import Code, table

CODES: Final = table(
    (
        Code(
            "VAFW-T001",
            "an appliance or image that does not exist",
            "A VM boots a folder with an appliance.yaml, and no folder of that name was found: not in `appliances/` "
            "beside the topology, not in VAFW_APPLIANCES, not among the shipped ones.",
            "Correct the name; `vafw appliance list` shows what there is.",
            "appliances:\n  firewall: {use: firewall, assign: [nic]}",
        ),
        Code(
            "VAFW-T002",
            "an image of the wrong role",
            "An appliance VM boots an image with role appliance, the user OS one with role user-os; the other way "
            "round nobody would enforce anything.",
            "Name an image of the right role.",
            "user-os: {image: desktop, memory: 2 GiB}",
        ),
        Code(
            "VAFW-T003",
            "a device that the machine does not have",
            "Devices are assigned by the names that the machine document gives them.",
            "Correct the name, or add the device to the machine; `vafw doctor --save` writes this computer's.",
            "assign: [nic]",
        ),
        Code(
            "VAFW-T004",
            "an appliance whose name means something else",
            "Paths and rules name VMs, devices and zones alike; a name must stand for one thing.",
            "Rename the appliance.",
        ),
        Code(
            "VAFW-T005",
            "an image without an accepted measurement",
            "Every image is measured before it starts, and the gate opens only for measurements that the reference "
            "values list.",
            "Write them with `vafw measure --write` after having looked at what is measured.",
        ),
        Code(
            "VAFW-T010",
            "a path that does not begin at the wire",
            "The first hop of the path is the network function that the wire is plugged into.",
            "Let the path begin with a device of class network.",
            "path: [nic, firewall, dns, user-os]",
        ),
        Code(
            "VAFW-T012",
            "an unknown hop",
            "Between the network function and the user OS stand appliances that the topology declares.",
            "Correct the name, or declare the appliance.",
            "path: [nic, firewall, dns, user-os]",
        ),
        Code(
            "VAFW-T014",
            "an inline appliance outside the path",
            "An appliance of mode inline is there so that traffic passes through it. One that no path passes protects "
            "nobody, and looks as if it did.",
            "Put it into the path, or give it mode mirror.",
            "path: [nic, firewall, ids, user-os]",
        ),
        Code(
            "VAFW-T015",
            "a mirror in the path",
            "A mirror is shown the traffic and passes nothing on: the path would end there.",
            "Give it mode inline, or take it out of the path and join it to a mirror port by a link.",
            "ids: {use: ids, mode: mirror}",
        ),
        Code(
            "VAFW-T016",
            "a hop without the port that the path needs",
            "Traffic enters an appliance at its port outside and leaves at inside, or the other way.",
            "Use an image whose manifest has these ports.",
            "ports: [outside, inside]",
        ),
        Code(
            "VAFW-T020",
            "a link to a VM that does not exist",
            "A link joins ports of two VMs of the topology.",
            "Correct the name of the VM.",
            "links:\n  - {name: feed, between: [firewall.mirror, ids.capture]}",
        ),
        Code(
            "VAFW-T021",
            "a link to a port that does not exist",
            "The manifest of an appliance lists its ports.",
            "Name one of them.",
            "links:\n  - {name: feed, between: [firewall.mirror, ids.capture]}",
        ),
        Code(
            "VAFW-T022",
            "a port that is used twice",
            "A port is one end of one link. The path uses inside and outside of every appliance it passes, and the "
            "wire feeds outside of the first.",
            "Join the link to a free port.",
        ),
        Code(
            "VAFW-T023",
            "a link that is called as one of the path's own",
            "Links of the path are named after both of their ends, such as firewall-dns.",
            "Give the link another name.",
        ),
        Code(
            "VAFW-T024",
            "a link from a VM to itself",
            "Frames would go round in a circle.",
            "Take the link out, or join one end to another VM.",
        ),
        Code(
            "VAFW-T031",
            "a way round the path",
            "Traffic of the user OS could reach a network function without passing an appliance of the path. The note "
            "shows the way. Every VM counts as passing on what it receives: isolation must not depend on its "
            "behaviour.",
            "Take the link out that opens the way, or assign the network function to the first appliance.",
        ),
        Code(
            "VAFW-T040",
            "a device that is assigned twice",
            "An assigned function belongs to one VM alone: VT-d gives it the memory of that VM.",
            "Take one of the assignments out.",
        ),
        Code(
            "VAFW-T041",
            "a split IOMMU group",
            "Functions of one group can reach each other without passing the remapping hardware, so whoever has one "
            "has them all.",
            "Assign all functions of the group to one VM, or none of them.",
        ),
        Code(
            "VAFW-T046",
            "the wire's network function with the wrong owner",
            "The path begins with this function and leads to its first appliance: only that VM may have it.",
            "Assign it to the first appliance of the path.",
            "appliances:\n  firewall: {use: firewall, assign: [nic]}\npath: [nic, firewall, user-os]",
        ),
        Code(
            "VAFW-T047",
            "a class of device that the manifest does not allow",
            "A manifest lists all that an appliance may be given; what is absent is not allowed.",
            "Assign the device to another VM, or add its class to the manifest.",
            "assign: [network]",
        ),
        Code(
            "VAFW-T050",
            "more memory than the machine has",
            "VMs have their memory for themselves from start to end: nothing is overcommitted.",
            "Make a VM smaller; the note shows every share.",
        ),
        Code(
            "VAFW-T051",
            "more vCPUs than the machine has",
            "Each vCPU has a logical processor for itself.",
            "Give a VM fewer vCPUs; the note shows every share.",
        ),
        Code(
            "VAFW-T052",
            "less memory than the image needs",
            "The manifest says the least memory that the image runs in.",
            "Give the VM that much.",
        ),
        Code(
            "VAFW-T060",
            "an address of two VMs",
            "Rules that name one of the VMs would mean both, and neighbours would find either.",
            "Give each VM an address of its own.",
        ),
        Code(
            "VAFW-T061",
            "an address that no station can have",
            "Loopback, reserved, network and broadcast addresses are not addresses of a VM.",
            "Give the address of the VM itself, with the length of its network's prefix.",
            "addresses: [10.0.0.2/24]",
        ),
        Code(
            "VAFW-T062",
            "a gateway that the user OS cannot reach",
            "A gateway is another station in a network of the user OS.",
            "Correct the gateway or the address.",
            "addresses: [10.0.0.2/24]\ngateway: [10.0.0.1]",
        ),
        Code(
            "VAFW-T070",
            "an unknown setting",
            "The manifest of an appliance lists its settings.",
            "Correct the name; `vafw appliance show NAME` lists them.",
        ),
        Code(
            "VAFW-T071",
            "a setting of the wrong type",
            "The manifest says what each setting holds.",
            "Write a value of that type.",
        ),
        Code(
            "VAFW-T072",
            "a list file with something else in it than host names",
            "A line that is no host name would block nothing, and look as if it did.",
            "Write one host name a line; what follows a # is a comment.",
        ),
        Code(
            "VAFW-T080",
            "a router that is none",
            "Packets are routed by the appliance that enforces the rules or a VPN, and by one only: "
            "otherwise rules would see addresses of nobody.",
            "Give `router:` to the firewall or the VPN of the path.",
            "firewall: {use: firewall, assign: [nic], router: {outside: [198.51.100.2/24], inside: [192.168.77.1/24], "
            "gateway: [198.51.100.1]}}",
        ),
        Code(
            "VAFW-T081",
            "a gateway outside that cannot be reached",
            "A router hands what is not on its link to a gateway that is.",
            "Name a gateway in a network of the outside.",
        ),
        Code(
            "VAFW-T082",
            "a user whose gateway is not the router",
            "Between the user and the wire stands the router; packets sent to another gateway go nowhere.",
            "Give the user OS the router's address inside as its gateway.",
        ),
        Code(
            "VAFW-T083",
            "networks that a router cannot tell apart",
            "A router finds the side of a host by its network: both sides must not share an address, and the user must "
            "live inside.",
            "Number the inside from a range of its own.",
        ),
        Code(
            "VAFW-T084",
            "a section that nobody carries out",
            "The sections `dns:`, `ids:`, `vpn:` and `proxy:` belong to appliances whose manifest enforces them; on "
            "any other they would be words.",
            "Move the section to an appliance that enforces it.",
            "dns: {use: dns-filter, dns: {block: [lists/ads.txt]}}",
        ),
        Code(
            "VAFW-T085",
            "an IDS beside the path that is to drop",
            "Packets are only shown to an appliance of mode mirror; what it drops has long passed.",
            "Let it raise alerts, or put it into the path.",
            "ids: {use: ids, mode: mirror, ids: {rules: [local.rules], on-match: alert}}",
        ),
        Code(
            "VAFW-T086",
            "a signature that is not understood",
            "An IDS that passes over what it cannot read would miss what the signature names, and nobody would know.",
            "Write it with the keywords that are known here, or take it out of the file.",
        ),
        Code(
            "VAFW-T087",
            "a VPN that leads nowhere",
            "A VPN routes the user's packets into a tunnel: it needs its addresses on both sides and a peer.",
            "Give it `router:` and `vpn:`.",
            "vpn: {use: vpn, assign: [nic], router: {outside: [198.51.100.2/24], inside: [10.66.0.1/24], "
            "gateway: [198.51.100.1]}, vpn: {addresses: [10.66.0.1/32], peers: [...]}}",
        ),
        Code(
            "VAFW-T088",
            "a kill switch that is off",
            "The VPN sends nothing but through its tunnel; a topology that says otherwise would promise a way out that "
            "is not there.",
            "Write kill-switch: true, or leave it out.",
        ),
        Code(
            "VAFW-T089",
            "a proxy that nobody can reach, or that nobody has told anything",
            "A proxy is a host of its own in the user's network: it needs an address there, and a section.",
            "Give it `addresses:` and `proxy:`.",
            "proxy: {use: proxy, addresses: [10.0.0.3/24], proxy: {allow: [www.example.com]}}",
        ),
        Code(
            "VAFW-T090",
            "uplinks of what is no firewall",
            "Which way a connection takes to the wire is decided where it is let through and its source is hidden: "
            "by the firewall that routes.",
            "Give the uplinks to the firewall of the path that is a router.",
        ),
        Code(
            "VAFW-T091",
            "an uplink without a card of its own",
            "Each uplink is a network function that is assigned to the router and is not the one that the path begins "
            "with, nor another uplink's.",
            "Name a network function of the machine, and assign it to the router.",
            "firewall: {use: firewall, assign: [nic, backup], router: {outside: [10.0.0.2/24],\n"
            "  inside: [192.168.77.1/24], gateway: [10.0.0.1],\n"
            "  uplinks: [{nic: backup, outside: [10.1.0.2/24], gateway: [10.1.0.1]}]}}",
        ),
        Code(
            "VAFW-T092",
            "a mark that leads to two uplinks",
            "A connection leaves by one uplink; a mark that two of them take would say nothing.",
            "Take it out of one of them.",
        ),
        Code(
            "VAFW-T093",
            "a mark that no rule sets",
            "An uplink takes connections by their mark, and only rules set marks: this one takes none.",
            "Add a rule with that mark, or take the mark out.",
            "- {name: bulk, from: user-os, to: any, service: rsync, action: mark, mark: 7}",
        ),
        Code(
            "VAFW-T094",
            "a proxy from which no gateway is reached",
            "A proxy asks the web in its own name, through the gateways of the user OS; each of its networks must hold "
            "one.",
            "Give it an address in the network of the user and the gateway.",
        ),
        Code(
            "VAFW-T095",
            "a proxy that is not behind the firewall",
            "What a proxy asks for comes from the proxy: between the firewall and the wire, no rule and no proof would "
            "be about it.",
            "Write it into the path behind the firewall.",
            "path: [nic, firewall, dns, proxy, user-os]",
        ),
        Code(
            "VAFW-P001",
            "an unknown zone",
            "A zone is user-os, an appliance, any, internet, rfc1918, or one that the policy defines.",
            "Correct the name, or define the zone.",
            "zones:\n  printers: [10.0.7.0/24]",
        ),
        Code(
            "VAFW-P002",
            "an unknown service",
            "A service is one of the shipped ones or one that the policy defines.",
            "Correct the name, or define the service.",
            "services:\n  portal: {protocol: tcp, ports: [8443]}",
        ),
        Code(
            "VAFW-P003",
            "a rule that names an appliance without addresses",
            "The path is transparent: an appliance is known to the firewall only by the addresses it speaks for.",
            "Declare its addresses in the topology, or use a zone of the policy's own.",
            "dns: {use: dns-filter, addresses: [10.0.0.1/32]}",
        ),
        Code(
            "VAFW-P004",
            "a zone whose name means something else",
            "any, internet, rfc1918, user-os and the names of appliances are zones already.",
            "Rename the zone.",
        ),
        Code(
            "VAFW-P005",
            "an empty zone",
            "A rule about a zone without addresses decides nothing.",
            "List its networks, or take the zone out.",
        ),
        Code(
            "VAFW-P006",
            "rules that nothing enforces",
            "No appliance of the path has `enforces: [traffic]` in its manifest, so nothing would carry the rules out.",
            "Put one into the path, such as firewall.",
            "path: [nic, firewall, user-os]",
        ),
        Code(
            "VAFW-P007",
            "a host name whose addresses nobody tells",
            "A firewall never looks a name up: it takes the addresses from the answers that a DNS filter of the same "
            "path has seen. The filter must stand between the firewall and the user.",
            "Put a dns-filter into the path behind the firewall.",
            "path: [nic, firewall, dns, user-os]",
        ),
        Code(
            "VAFW-P008",
            "address translation without a router",
            "Only a firewall that has addresses of its own can hide others behind them or lead ports to a host; one "
            "that passes frames on as they are has none.",
            "Give the firewall of the path its addresses on both sides, or take `nat:` out.",
            "appliances:\n  firewall: {use: firewall, assign: [nic], router: {outside: [198.51.100.2/24], "
            "inside: [10.0.0.1/24], gateway: [198.51.100.1]}}",
        ),
        Code(
            "VAFW-P010",
            "a network function of the user OS",
            "The user OS would reach the wire past every appliance. No policy can allow it.",
            "Assign it to the first appliance of the path.",
        ),
        Code(
            "VAFW-P011",
            "an owner that the policy forbids",
            "A rule under devices says that this class of device must never belong to this VM.",
            "Take the assignment out, or have the policy changed.",
            "devices:\n  - never: {assign: storage, to: firewall}",
        ),
        Code(
            "VAFW-P012",
            "a rule about the devices of an unknown VM",
            "It would forbid nothing, and look as if it did.",
            "Correct the name.",
        ),
        Code(
            "VAFW-P013",
            "management of an unknown appliance",
            "Whoever may configure an appliance that is not there may configure nothing.",
            "Correct the name.",
        ),
        Code(
            "VAFW-P014",
            "a group that nobody is in",
            "A group that may configure an appliance has no people, so that nobody could sign for it. Its name may be "
            "misspelt in one of the two places.",
            "Put somebody into the group, or take it out of may-configure.",
            'management:\n  people: {anna: {key: "ssh-ed25519 AAAA... anna@desk", groups: [netops]}}\n'
            "  may-configure: {firewall: [netops]}",
        ),
        Code(
            "VAFW-P015",
            "fewer people than signatures",
            "One change must be signed by so many different people of the groups that may configure the appliance, and "
            "there are not so many: no change could ever be signed.",
            "Declare more people, or ask for fewer signatures.",
        ),
        Code(
            "VAFW-P016",
            "one key under two names",
            "Signatures of different people are counted. Whoever holds a key that stands under two names would count "
            "as two.",
            "Give each person a key of their own.",
        ),
        Code(
            "VAFW-P017",
            "a person who may configure nothing",
            "None of the groups that the person is in may configure anything.",
            "Correct the group, name it in may-configure, or take the person out.",
        ),
        Code(
            "VAFW-P020",
            "a never clause that does not hold",
            "The rules let a packet of the clause pass; the note shows one, the second place the rule that decides.",
            "Drop such packets before that rule, or narrow it.",
        ),
        Code(
            "VAFW-P021",
            "an always clause that does not hold",
            "The rules stop a packet of the clause; the note shows one, the second place what decides.",
            "Accept such packets before that, or narrow the clause.",
        ),
        Code(
            "VAFW-P022",
            "a rule that is never reached",
            "Several rules before it decide together on every packet that it matches; the further places show them. "
            "This is computed for every packet, not guessed from how the rules look.",
            "Move it up, or take it out.",
        ),
        Code(
            "VAFW-P023",
            "a shadowed rule",
            "One rule before it decides on every packet that it matches.",
            "Move it up, narrow the rule before it, or take it out.",
            "rules:\n  - {name: printer, from: user-os, to: printers, service: ipp, action: accept}\n"
            "  - {name: no-lan, from: user-os, to: rfc1918, action: reject}",
        ),
        Code(
            "VAFW-P024",
            "a rule that contradicts another",
            "A rule before it speaks of exactly the same packets and does something else with them. One of the two is "
            "a mistake, and the first wins.",
            "Take one of the two out.",
        ),
        Code(
            "VAFW-P025",
            "a redundant rule",
            "Without it the same would happen to every packet: rules after it, or the default, do what it does. A "
            "rule that writes a log line is never redundant.",
            "Take it out, or give it `log: true` if its line in the log is what it is for.",
        ),
        Code(
            "VAFW-P026",
            "a rule that no packet can match",
            "What it asks for excludes itself: ICMP between IPv6 addresses, both ends on one side, a source that the "
            "firewall drops as forged before it asks any rule.",
            "Correct what it asks for, or take it out.",
        ),
        Code(
            "VAFW-P027",
            "an only-via clause that does not hold",
            "A packet of the clause can get between the user and the wire without passing the appliance; the notes "
            "show the packet and its way.",
            "Take the way out of the topology, or filter on it.",
            "prove:\n  - only-via: {from: user-os, to: internet, via: firewall}",
        ),
        Code(
            "VAFW-P028",
            "a same-as clause that does not hold",
            "The two policies do different things with a packet of the clause; the notes show the packet and both "
            "fates.",
            "Make the two policies agree, or narrow the clause.",
            "prove:\n  - same-as: {from: user-os, to: rfc1918, policy: baseline.yaml}",
        ),
        Code(
            "VAFW-P029",
            "via that names no hop",
            "Only an appliance of the path is passed by what goes between the user and the wire.",
            "Name an appliance of the path.",
        ),
        Code(
            "VAFW-M001",
            "no TXT for a measured launch",
            "Without GETSEC[SENTER] nothing measures the VMM that is about to run.",
            "Turn TXT on in the firmware, or use another machine.",
        ),
        Code(
            "VAFW-M002",
            "no TPM for a measured launch",
            "Without a TPM there is nothing that measurements are kept in and quoted from.",
            "Turn the TPM on in the firmware, or use another machine.",
        ),
        Code(
            "VAFW-M003",
            "no DMA remapping",
            "A device that is assigned could read and write the memory of every VM and of the VMM.",
            "Turn VT-d on in the firmware, or use another machine.",
        ),
        Code(
            "VAFW-M004",
            "no interrupt remapping",
            "A device that is assigned could forge interrupts of other devices by writing to 0xFEE0_0000.",
            "Turn interrupt remapping on in the firmware, or use another machine.",
        ),
        Code(
            "VAFW-M005",
            "an assigned device that cannot be reset",
            "What one owner left in the device, its firmware and its registers, would reach the next.",
            "Assign a device with a function-level reset.",
        ),
        Code(
            "VAFW-M006",
            "an assigned device with reserved memory",
            "The firmware holds a memory region for it (RMRR) that must stay mapped: a way out of the VM's memory.",
            "Assign another device, or turn off what the firmware uses it for.",
        ),
        Code(
            "VAFW-M007",
            "a VMM that leaves no memory",
            "The VMM keeps vmm-memory for itself; VMs share what is left.",
            "Correct memory or vmm-memory.",
        ),
        Code(
            "VAFW-M008",
            "a network function without a MAC address",
            "The user OS takes the place of the machine on the network and bears the MAC address of its card.",
            "Write the card's MAC address into the machine.",
            'nic: {address: "02:00.0", class: network, mac: "52:54:00:12:34:56", ...}',
        ),
        Code(
            "VAFW-M009",
            "a device behind something that is no port",
            "What stands between a device and the root complex decides which devices can reach each other past VT-d.",
            "Name a device of class bridge that says which port it is, on a bus below the device's own.",
            'switch: {address: "00:1c.0", class: bridge, port: root-port, acs: true, ...}',
        ),
        Code(
            "VAFW-M010",
            "functions of one device, or of one bus without isolation, in two groups",
            "Devices behind a port without Access Control Services reach each other's memory past VT-d.",
            "Give them one group number, or write acs: true on every port above them if the ports have it.",
        ),
    )
)
"""Every code of this layer."""
