"""The machine: the hardware that a topology runs on."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from vafw.document.model import DocumentModel, Head, Name, Size, text_of_form

PciAddress = Annotated[
    str,
    *text_of_form(
        r"(0000:)?[0-9a-f]{2}:[01][0-9a-f]\.[0-7]",
        "VAFW-D013",
        "must be a PCI address of bus, device and function in lower-case hexadecimal, such as 02:00.0",
        "`lspci` prints them; put it in quotes",
    ),
]
"""A PCI address such as ``02:00.0``."""
MacAddress = Annotated[
    str,
    *text_of_form(
        r"[0-9a-f][02468ace](:[0-9a-f]{2}){5}",
        "VAFW-D012",
        "must be the MAC address of one card, six lower-case hexadecimal bytes such as 52:54:00:12:34:56",
        "the first byte is even: an odd one is a group address; put it in quotes",
    ),
]
"""A MAC address such as ``52:54:00:12:34:56``."""


class IommuFacts(DocumentModel):
    """The remapping hardware (VT-d)."""

    dma_remapping: bool
    """Devices reach only the memory they are given."""
    interrupt_remapping: bool
    """Interrupt requests are checked against the requester."""
    address_width: Literal[39, 48, 57] = 48
    """Width of the addresses that a device may use, in bits."""


class Device(DocumentModel):
    """One PCI function."""

    address: PciAddress
    """Bus, device and function, such as ``02:00.0``."""
    class_: Literal["network", "display", "storage", "usb", "audio", "bridge", "other"] = Field(alias="class")
    """What it is for."""
    vendor: int = Field(ge=0, le=0xFFFF)
    """PCI vendor id."""
    device: int = Field(ge=0, le=0xFFFF)
    """PCI device id."""
    group: int = Field(ge=0)
    """IOMMU group; functions of one group can only be assigned together."""
    reset: bool = True
    """It can be reset on its own."""
    reserved_memory: bool = False
    """Firmware holds a reserved memory region (RMRR) for it."""
    mac: MacAddress | None = None
    """Burnt-in MAC address, for a network function."""
    behind: Name | None = None
    """The port above it, by name; without it, it stands on the root complex's own bus."""
    port: Literal["root-port", "upstream-port", "downstream-port", "pci-bridge"] | None = None
    """What kind of port it is, for a bridge."""
    acs: bool = False
    """It has Access Control Services: what is below it cannot reach what is beside it."""


class Machine(Head):
    """A PC."""

    kind: Literal["machine"]
    """The kind of document."""
    memory: Size
    """Memory of the PC."""
    vcpus: int = Field(ge=1, le=4096)
    """Logical processors that VMs may be given in all."""
    vmm_memory: Size = 128 * 1024 * 1024
    """Memory that the VMM keeps for itself."""
    iommu: IommuFacts
    """The remapping hardware."""
    txt: bool
    """It has Intel TXT."""
    tpm: bool
    """It has a TPM 2.0."""
    devices: dict[Name, Device]
    """Its PCI functions, by the name topologies use."""
