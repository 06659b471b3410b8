"""Every code of a diagnostic about one document: what it means, why it is refused, and what a right one looks like.

The letter says where to look: F the file, Y the text as YAML, D the document. T (topology), P (policy) and M (machine)
codes speak of documents together; they stand in `vafw.plan.codes`, where the checks are, in a table of the same form.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Code:
    """What `vafw explain` prints."""

    code: str
    """Such as ``VAFW-D001``; once given, never given to anything else."""
    title: str
    """What is wrong, in a few words."""
    cause: str
    """Why it is refused."""
    remedy: str
    """What to do."""
    example: str = ""
    """A right piece of YAML."""


def table(codes: Iterable[Code]) -> Mapping[str, Code]:
    """Codes by their name; ValueError where one is given twice."""
    found: dict[str, Code] = {}
    for each in codes:
        if each.code in found:
            raise ValueError(f"a code must be given once, and {each.code} is given twice")
        found[each.code] = each
    return found


def advice(code: str) -> str | None:
    """The remedy of a code of this table as a hint."""
    remedy = CODES[code].remedy if code in CODES else ""
    return remedy[0].lower() + remedy[1:].rstrip(".") if remedy else None


CODES: Final = table(
    (
        Code(
            "VAFW-F001",
            "a file cannot be read",
            "The file that was named does not exist, or the operating system refuses to open it.",
            "Correct the name, or write the file: `vafw measure --write` writes reference values.",
        ),
        Code(
            "VAFW-F002",
            "a file lies outside the topology's folder",
            "A topology is a folder: what it is made of is in it. An absolute path, `..` or a symbolic link that leads "
            "out would let a document read any file of the machine.",
            "Put the file beside the topology or in a folder below it, and name it relative to the topology.",
            "machine: machine.yaml\nappliances:\n  dns: {use: dns-filter, config: {block: [lists/ads.txt]}}",
        ),
        Code(
            "VAFW-F003",
            "a file is not UTF-8",
            "Documents are UTF-8 without a byte order mark, so that every reader sees the same text.",
            "Save it as UTF-8.",
        ),
        Code(
            "VAFW-F004",
            "a file is too large, or no file",
            "Documents are regular files of at most 1 MiB; a pipe or a device could be endless.",
            "Name a regular file; put long lists into files of their own.",
        ),
        Code(
            "VAFW-Y001",
            "the text is not YAML",
            "The YAML parser could not make sense of the text at this place. A missing quote, bracket or space after a "
            "colon is often a line or two earlier.",
            "Correct the text; values with `: `, ` #`, `*`, `&`, `@` or brackets in them need quotes.",
            'mac: "52:54:00:aa:00:01"',
        ),
        Code(
            "VAFW-Y002",
            "a character that cannot be seen",
            "Control characters, byte order marks and characters that change the direction of text can make a document "
            "look different from what it says.",
            'Delete it. Where a value needs it, write it as an escape in double quotes, such as "\\u202e".',
        ),
        Code(
            "VAFW-Y003",
            "a tab as indentation",
            "YAML indents with spaces; how wide a tab is depends on the editor.",
            "Replace tabs at the beginning of lines with spaces.",
        ),
        Code(
            "VAFW-Y004",
            "a key stands twice",
            "One of the two values would be silently ignored.",
            "Delete one of the two.",
        ),
        Code(
            "VAFW-Y005",
            "a key that is no text",
            "Keys are names; a number, true, null, a list or an alias is none.",
            "Put the key in quotes, or correct the indentation.",
            '"8080": value',
        ),
        Code(
            "VAFW-Y006",
            "more than one document in a file",
            "A file is one document, so that its digest speaks of one thing.",
            "Put the second document, after the line `---`, into a file of its own.",
        ),
        Code(
            "VAFW-Y007",
            "a tag that is not known",
            "Tags such as !!python/object ask the reader to build something of another kind; documents here are data.",
            "Delete the tag.",
        ),
        Code(
            "VAFW-Y008",
            "too much, or nested too deep",
            "A document may have 100,000 values, each alias counted as all that it stands for, and nest 64 deep. So a "
            "few lines of aliases cannot fill the memory.",
            "Write less, or put lists into files of their own.",
        ),
        Code(
            "VAFW-Y009",
            "an alias inside what it stands for",
            "Such a value has no end.",
            "Let the alias stand for something that ended before it.",
        ),
        Code(
            "VAFW-Y010",
            "a number out of bounds",
            "The number is too long or too large to mean anything here.",
            "Correct it, or put it in quotes where it is text.",
        ),
        Code(
            "VAFW-Y011",
            "a merge key",
            "`<<` belongs to YAML 1.1; YAML 1.2 has no merge keys, and readers disagree on which key wins.",
            "Write the keys out, or let an alias stand for the whole mapping.",
        ),
        Code(
            "VAFW-D001",
            "an unknown key",
            "A key that nobody reads would be a setting that does not hold. What is not known is refused.",
            "Correct the spelling; `vafw schema KIND` lists the keys.",
        ),
        Code(
            "VAFW-D002",
            "a missing key",
            "The document does not say something that has no default.",
            "Add the key.",
            "vafw: 1\nkind: policy\nname: office\ntraffic: {default: drop}",
        ),
        Code(
            "VAFW-D003",
            "the wrong kind of document",
            "Each file has one kind, and the place that names it expects a certain one.",
            "Name the right file, or correct `kind:`.",
            "kind: topology   # or policy, machine, reference-values, appliance",
        ),
        Code(
            "VAFW-D004",
            "an unknown version of the format",
            "A document of another version may mean something else by the same words.",
            "Use the vafw that knows it, or write version 1.",
            "vafw: 1",
        ),
        Code(
            "VAFW-D005",
            "a value of the wrong type",
            "Text, numbers, true and false are different things. By YAML 1.2, yes, no, on and off are text, and so is "
            "12:34:56.",
            "Write true or false for a yes or no; numbers without quotes; text that looks like a number in quotes.",
            "log: true\nvcpus: 2",
        ),
        Code(
            "VAFW-D006",
            "not one of the allowed words",
            "The key takes certain words only.",
            "Write one of these words.",
        ),
        Code(
            "VAFW-D007", "a number out of range", "The key takes numbers of a range only.", "Write a number within it."
        ),
        Code(
            "VAFW-D008",
            "a name that cannot be one",
            "Names become VM names, topics and file names; so they are lower-case ASCII letters, digits and hyphens, "
            "begin with a letter and have at most 63 characters. Letters of other alphabets that look the same are "
            "refused with the rest.",
            "Choose another name.",
            "name: office-laptop",
        ),
        Code(
            "VAFW-D009",
            "a size that cannot be read",
            "A size has its unit with it, and units are powers of 1024.",
            "Write a whole number and KiB, MiB, GiB or TiB.",
            "memory: 256 MiB",
        ),
        Code(
            "VAFW-D010",
            "a time that cannot be read",
            "A time has its unit with it.",
            "Write a whole number and s, min, h or d.",
            "launch: {re-attest: 5 min}",
        ),
        Code(
            "VAFW-D011",
            "an address or a range that cannot be one",
            "A range is its first address and a prefix length, with no bits set after the prefix; a VM's address has "
            "the prefix length of its network.",
            "Correct the address; IPv6 addresses stand in quotes.",
            'zones: {lan: [10.0.0.0/8, "fc00::/7"]}\naddresses: [10.0.0.2/24]',
        ),
        Code(
            "VAFW-D012",
            "a MAC address that cannot be one",
            "A card has an address of six bytes, of which the first is even; an odd one means a group of cards.",
            "Write it in lower case and in quotes.",
            'mac: "52:54:00:12:34:56"',
        ),
        Code(
            "VAFW-D013",
            "a PCI address that cannot be one",
            "A function is named by bus, device (00 to 1f) and function (0 to 7), in hexadecimal.",
            "Write it as `lspci` prints it, in quotes.",
            'address: "02:00.0"',
        ),
        Code(
            "VAFW-D014",
            "a digest that cannot be one",
            "SHA-256 digests have 64 lower-case hexadecimal digits.",
            "Let `vafw measure --write` write them.",
        ),
        Code(
            "VAFW-D015",
            "a port or a range of ports that cannot be one",
            "Ports go from 1 to 65535, and a range from the lower to the higher.",
            "Correct the range.",
            "ports: [443, 8000-8080]",
        ),
        Code(
            "VAFW-D016",
            "a clause with none or both of two keys",
            "A clause says one thing: what must never be, or what must.",
            "Write one of the keys; give the other a clause of its own.",
            "prove:\n  - never: {from: any, to: user-os}\n  - always: {from: user-os, to: internet, service: https}",
        ),
        Code(
            "VAFW-D017",
            "something named twice",
            "Two rules of one name could not be told apart in a log, and two functions cannot share an address.",
            "Give one of the two another name or address.",
        ),
        Code(
            "VAFW-D018",
            "a path that cannot be one",
            "The path leads from the wire to the user: it begins with the network function and ends with user-os, and "
            "passes each hop once.",
            "Write it from the wire inwards.",
            "path: [nic, firewall, dns, user-os]",
        ),
        Code(
            "VAFW-D019",
            "no document",
            "The file is empty, or holds a list or a single value.",
            "Begin it with the version, the kind and a name.",
            "vafw: 1\nkind: topology\nname: office-laptop",
        ),
        Code("VAFW-D020", "too few or too many entries", "The list has a certain length.", "Add or delete entries."),
        Code(
            "VAFW-D021",
            "a service that mixes ports and ICMP types",
            "TCP and UDP have ports, ICMP has types.",
            "Write `ports:` for tcp and udp, `types:` for icmp and icmpv6.",
            "services:\n  ping: {protocol: icmp, types: [8]}\n  web: {protocol: tcp, ports: [80, 443]}",
        ),
        Code(
            "VAFW-D022",
            "an appliance that is not called as its folder",
            "An appliance is found by its folder; its manifest must agree, so that measurements speak of one thing.",
            "Rename one of the two; a folder has underscores where the name has hyphens.",
        ),
        Code(
            "VAFW-D023",
            "hundreds of differences",
            "Only the first 200 differences of a document from its kind are said.",
            "Correct those that are said; is it a document of another kind?",
        ),
        Code(
            "VAFW-D024",
            "a range of addresses that holds none",
            "A range goes from a lower to a higher address of one family; the other way round no packet is meant.",
            "Write the lower address first.",
            "zones:\n  printers: [10.0.0.10-10.0.0.19]",
        ),
        Code(
            "VAFW-D025",
            "no VLAN",
            "802.1Q has ids from 1 to 4094; frames without a tag are `untagged`.",
            "Write an id, a range, or untagged.",
            "vlan: [10, 20-29, untagged]",
        ),
        Code(
            "VAFW-D026",
            "no rate limit",
            "A limit is so many packets in a unit of time, with a burst that may come at once.",
            "Write the number, a slash and the unit.",
            "limit: 10/second burst 20",
        ),
        Code(
            "VAFW-D027",
            "no time of day",
            "Times of day are written in quotes, in UTC: without quotes YAML reads 08:30 as a number in base 60.",
            "Write hours and minutes with two digits each, in quotes.",
            'when: {days: [mon, tue], from: "08:30", until: "18:00"}',
        ),
        Code(
            "VAFW-D041",
            "no WireGuard public key",
            "A peer is known by its public key: 32 bytes in base64.",
            "Write what `wg pubkey` prints.",
        ),
        Code(
            "VAFW-D042",
            "no endpoint of a tunnel",
            "A tunnel's other end is named by address and port: its name could only be resolved outside the tunnel.",
            "Write the address and the port.",
            'endpoint: "198.51.100.7:51820"',
        ),
        Code(
            "VAFW-D043",
            "no OpenSSH public key",
            "People sign configurations with Ed25519 keys as OpenSSH makes them; a person is known by the public half. "
            "Keys of other algorithms, options before the key and private keys are refused.",
            "Write the one line of ~/.ssh/id_ed25519.pub; `ssh-keygen -t ed25519` makes a key.",
            'management:\n  people:\n    anna: {key: "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI... anna@desk", '
            "groups: [netops]}",
        ),
        Code(
            "VAFW-D028",
            "a rule that contradicts itself",
            "A mark belongs to the action mark alone, and a packet that belongs to nothing can be neither accepted nor "
            "answered.",
            "Correct the action, or take the other key out.",
            "- {name: bulk, from: user-os, to: any, service: rsync, action: mark, mark: 7}",
        ),
        Code(
            "VAFW-D030",
            "a day that cannot be one",
            "A reference value may be accepted from one day to another.",
            "Write year, month and day, each with all its digits.",
            "until: 2027-01-31",
        ),
    )
)
