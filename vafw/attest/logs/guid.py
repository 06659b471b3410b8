"""GUIDs in UEFI's byte order, and the names of those that event logs speak of (UEFI specification, by each name)."""

from __future__ import annotations

import uuid
from typing import Final

from vafw.wire import Reader

GLOBAL_VARIABLE: Final = "8be4df61-93ca-11d2-aa0d-00e098032b8c"
IMAGE_SECURITY_DATABASE: Final = "d719b2cb-3d3a-4596-a3bc-dad00e67656f"
X509: Final = "a5c059a1-94e4-4aa7-87b5-ab155c2bf072"
NAMES: Final = {
    GLOBAL_VARIABLE: "EFI global variable",
    IMAGE_SECURITY_DATABASE: "image security database",
    X509: "X.509 certificate",
    "c1c41626-504c-4092-aca9-41f936934328": "SHA-256 digest",
    "3bd2a492-96c0-4079-b420-fcf98ef103ed": "SHA-256 digest of a certificate",
    "3c5766e8-269c-4e34-aa14-ed776e85b3b6": "RSA-2048 key",
    "605dab50-e046-4300-abb6-3dd810dd8b23": "shim lock",
    "77fa9abd-0359-4d32-bd60-28f4e78f784b": "Microsoft",
    "c12a7328-f81f-11d2-ba4b-00a0c93ec93b": "EFI system partition",
    "0fc63daf-8483-4772-8e79-3d69d8477de4": "Linux data",
    "4f68bce3-e8cd-4db1-96e7-fbcaf984b709": "Linux root (x86-64)",
    "eb9d2d31-2d88-11d3-9a16-0090273fc14d": "SMBIOS table",
    "f2fd1544-9794-4a2c-992e-e5bbcf20e394": "SMBIOS 3 table",
    "8868e871-e4f1-11d3-bc22-0080c73c8881": "ACPI 2.0 table",
    "eb9d2d30-2d88-11d3-9a16-0090273fc14d": "ACPI 1.0 table",
}


def read_guid(reader: Reader, field: str) -> str:
    """The next 16 bytes as a GUID in its written form."""
    return str(uuid.UUID(bytes_le=reader.take(16, field)))


def named(guid: str) -> str:
    """The name of a GUID, or the GUID."""
    return NAMES.get(guid, guid)
