"""The addresses that a DNS answer gives for the name that was asked for, through every alias in it.

Only what follows from the question counts: an alias is followed from the name that was asked, an address is taken if it
is of a name on that way. What an answer says of other names is nobody's business (RFC 2181, section 5.4.1). Bytes that
are no answer give none; nothing here raises.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final

from dnslib import QTYPE, RCODE, DNSError, DNSRecord

MOST_RECORDS: Final = 64
"""Records of one answer that are looked at."""


@dataclass(frozen=True, slots=True)
class NamedAddress:
    """One address of the name that was asked for."""

    name: str
    """Lower case, without a last dot."""
    version: int
    address: int
    ttl_s: int
    """Seconds for which all records that lead to it hold."""


def addresses_in(message: bytes, asked: str) -> tuple[NamedAddress, ...]:
    """The addresses that the answer `message` gives for `asked`."""
    try:
        record = DNSRecord.parse(message)
        if not record.header.qr or record.header.rcode != RCODE.NOERROR or len(record.questions) != 1:
            return ()
        if _name(record.q.qname) != asked:
            return ()
        ttl_of, found = {asked: 0x7FFFFFFF}, []
        for each in record.rr[:MOST_RECORDS]:
            owner, kind = _name(each.rname), QTYPE[each.rtype]
            if owner not in ttl_of:
                continue
            ttl_s = min(ttl_of[owner], each.ttl & 0x7FFFFFFF)
            if kind == "CNAME":
                ttl_of[_name(each.rdata.label)] = ttl_s
            elif kind in ("A", "AAAA"):
                address = ip_address(str(each.rdata))
                found.append(NamedAddress(asked, address.version, int(address), ttl_s))
    except (DNSError, ValueError, IndexError, struct.error):
        return ()
    return tuple(found)


def _name(label: object) -> str:
    return str(label).rstrip(".").lower()
