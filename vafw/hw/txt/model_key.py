"""The RSA key that signs the MODEL's SINIT module. It protects nothing but the model, and is public on purpose.

On a real PC the chipset vendor holds this key and the chipset only its hash. The model has no vendor, so
both halves stand here: whoever reads this file can sign a module that the modelled chipset takes. What
keeps a changed SINIT out is its digest, which the verifier compares with its reference values. The key is
fixed because the module's digest covers nothing random: a measurement must come out the same on every
machine.

2048 bits, public exponent 17, as authenticated code modules of header version 0 have it.
"""

from __future__ import annotations

from typing import Final

PUBLIC_EXPONENT: Final = 17

MODULUS: Final = int(
    "d5560d44f62a64010ceaa7184698f056106bb92bcff48148afa5f5daa75b6cf39c06fdb060cde3d62fd383a3eb1997b2"
    "aed1f640f2317dd8f3189e6b5b1f6ceeb081b2cb30824af1028155ca8d81f2b86dbd205a5ba737ab485c766376141e27"
    "77548eb9cb6cf1838bbfa81800fbba1f68679748752969f91bd64bb1f5169030d1caafd113eab237bce179f5db254d50"
    "8db4f0d01ec254a55e73a02931fa881f19578c5b44e3a60850f04411d7052ead34f03c283fcc3f1d76faf4eaeebbfc16"
    "ce89b2270e5bf8cdde6022d380905de139f4d83e971d7662c70321a2a3145b4736cfbc46cd63553cd828ac507794d0af"
    "f372ec8893ef365d283d79549f141397",
    16,
)

PRIVATE_EXPONENT: Final = int(
    "12d2e30d9d3ff9c3db7e1dcd6fa41534c536ae74ce9592efd34359752ce26b7ee81ebc08088aa3297cb0c7d9c1ebab80"
    "b51286ab60aa039324822c18880a4d605ade447b571a8e24530b6973c1311cf227ccec44354375da684464cc8a6b2fd6"
    "4e4b39c5197a8dc7d79ff83e5a70906c2edbf6c2a0ed10e146388e355963df8bacfd36ab3ea0198e9c79ff938e07720e"
    "803fd96d588d7fc40192a27dabab8caf49317f68d7fcf4ae6e6151465adbb4e445487c420182f679b6f0468066bf519d"
    "b2b1ead28be98347e792e426752ba8ed7a5bfb8b40aa92beeea9924bbb0c2cb880701ad942df3be83aef895b2a84b848"
    "b6b0772a5418ddc9659ecdf04de6f291",
    16,
)
