from __future__ import annotations

import hashlib

import pytest

from vafw.hw.tpm.nv import LCP_OWNER_INDEX
from vafw.hw.tpm.rc import TpmError
from vafw.hw.tpm.tpm import Tpm
from vafw.hw.txt import acm, lcp
from vafw.provider.model import measure
from vafw.provider.model.image import Image
from vafw.tcg.algorithms import SHA256
from vafw.vmm.archive import pack, unpack
from vafw.vmm.image import ARCHIVE_START, measured_range

IMAGE = Image("filter", pack({"guest.py": b"x = 1"}))


def test_the_vmms_image_holds_the_sources_of_vmm_hardware_and_ground() -> None:
    image = measure.vmm_image()
    sources = unpack(image[ARCHIVE_START : measured_range(image).stop])
    assert {"address.py", "register.py", "vmm/image.py", "hw/txt/sinit.py", "tcg/eventlog.py"} <= sources.keys()
    assert {name.partition("/")[0] for name in sources} == {"vmm", "hw", "tcg", "address.py", "register.py"}


def test_sinit_carries_its_own_sources_and_the_models_signature() -> None:
    module = acm.parse(measure.sinit_module())
    assert module.authenticates
    assert b'"""SINIT: the signed code that measures the MLE' in module.data


def test_measurements_are_the_same_every_time_and_name_each_component() -> None:
    once, again = measure.measure_installed([IMAGE]), measure.measure_installed([IMAGE])
    assert once == again
    assert once.images == {"filter": hashlib.sha256(IMAGE.data).digest()}
    assert once.sinit == acm.coverage_digest(measure.sinit_module())
    assert len({once.sinit, once.vmm, once.images["filter"]}) == 3


def test_an_owners_policy_is_written_once_and_locked_against_everybody() -> None:
    tpm = Tpm((SHA256,), lambda count: bytes(count - 1) + b"\1")
    tpm.startup()
    policy, data = measure.owner_policy([bytes(32)])
    measure.provision(tpm, policy)
    assert lcp.Policy.decode(tpm.nv_read(LCP_OWNER_INDEX)).policy_hash == data.policy_hash
    with pytest.raises(TpmError, match=r"^NV index 0x1c10106 must not be written: it is locked \(TPM_RC 0x148\)$"):
        tpm.nv_write(LCP_OWNER_INDEX, bytes(70))
