from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

import vafw
from vafw.hw.tpm.nv import LCP_OWNER_INDEX
from vafw.hw.tpm.rc import TpmError
from vafw.hw.tpm.tpm import Tpm
from vafw.provider.model import measure
from vafw.provider.model.image import Image
from vafw.tcg.algorithms import SHA256
from vafw.txt import acm, lcp
from vafw.vmm.archive import pack, unpack
from vafw.vmm.image import ARCHIVE_START, measured_range

IMAGE = Image("filter", pack({"guest.py": b"x = 1"}))


LOADED = """
import sys
import vafw.provider.model.guest, vafw.vmm.vmm
import vafw_appliances.desktop.guest, vafw_appliances.dns_filter.guest, vafw_appliances.firewall.guest
print(*(each.__file__ for name, each in sys.modules.items() if name.partition(".")[0] == "vafw"), sep="\\n")
"""


def sources_of_the_vmm() -> dict[str, bytes]:
    image = measure.vmm_image()
    return unpack(image[ARCHIVE_START : measured_range(image).stop])


def test_whatever_of_vafw_a_vmm_a_guest_kernel_or_an_appliance_loads_is_in_the_vmms_image() -> None:
    root = Path(vafw.__file__).parent
    done = subprocess.run([sys.executable, "-c", LOADED], capture_output=True, text=True, check=True)
    loaded = {Path(line).relative_to(root).as_posix() for line in done.stdout.splitlines()}
    assert {"traffic/engine.py", "traffic/dns_stream.py", "provider/model/guest.py", "vmm/vmm.py"} <= loaded
    assert loaded - sources_of_the_vmm().keys() == set()


def test_the_vmms_image_holds_the_bytes_of_the_installed_files() -> None:
    sources = sources_of_the_vmm()
    assert sources["traffic/engine.py"] == (Path(vafw.__file__).parent / "traffic/engine.py").read_bytes()
    assert {"hw/txt/sinit.py", "tcg/eventlog.py", "address.py", "errors.py", "trace.py"} <= sources.keys()
    assert not any(name.startswith(("cli/", "supervisor/", "document/", "plan/", "attest/")) for name in sources)


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
    owner = measure.owner_policy([bytes(32)])
    measure.provision(tpm, owner.policy)
    assert lcp.Policy.decode(tpm.nv_read(LCP_OWNER_INDEX)).policy_hash == owner.data.policy_hash
    with pytest.raises(TpmError, match=r"^NV index 0x1c10106 must not be written: it is locked \(TPM_RC 0x148\)$"):
        tpm.nv_write(LCP_OWNER_INDEX, bytes(70))
