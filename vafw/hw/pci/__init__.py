"""PCI Express: the root complex, functions with configuration spaces, a network card and a display."""

from vafw.hw.pci.display import Display, Picture
from vafw.hw.pci.function import PciFunction
from vafw.hw.pci.network_card import NetworkCard
from vafw.hw.pci.root_complex import RootComplex

__all__ = ["RootComplex", "PciFunction", "NetworkCard", "Display", "Picture"]
