"""The trust half of the modelled PC: from power-on through the measured launch to evidence.

    power_on ─▶ BIOS ACM ─▶ loader ─▶ GETSEC[SENTER] ─▶ SINIT ─▶ VMM extends plan, documents and images ─▶ quotes
        ▲                                                                    │
        └── resume (S3) ◀── suspend ◀── PCRs capped, secrets gone, SEXIT ◀───┘ leave

The plan lies in modelled memory, where the VMM measured it; `staged_plan_digest` measures that memory again, so that a
plan altered in between is seen. A launch that is refused leaves a machine that answers for itself all the same: PCR 17
all ones, and the reason in TXT.ERRORCODE.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final, final

from vafw.address import Hpa
from vafw.attest.attester import evidence_of
from vafw.attest.evidence import Evidence, LaunchError, RootOfTrust
from vafw.hw.memory import PhysicalMemory
from vafw.hw.tpm.tpm import Tpm
from vafw.hw.txt import bios_acm, sexit, srtm
from vafw.hw.txt.bits import PRIVATE_SPACE, Reg
from vafw.hw.txt.chipset import Chipset
from vafw.hw.txt.locality import TpmPort
from vafw.hw.txt.outcome import LaunchOutcome, LaunchStep
from vafw.hw.txt.platform import SmxProcessor, TxtPlatform
from vafw.plan.plan import Plan, canonical_json
from vafw.provider.model import loader, measure
from vafw.provider.model.attester import ModelAttester
from vafw.provider.model.image import Image
from vafw.provider.model.tamper import TamperPlan
from vafw.tcg.algorithms import SHA1, SHA256, digest
from vafw.tcg.eventlog import Event, encode_event
from vafw.tcg.events import EventType
from vafw.tcg.selection import LAUNCH_PCRS, LAUNCH_SELECTION

VMM_PCR: Final = 19
"""Where the VMM extends what it is about to run."""
VMM_LOCALITY: Final = 2
STAGED_PLAN: Final = Hpa(8 * 1024 * 1024)
"""Where the plan lies in memory, as canonical JSON."""
BANKS: Final = (SHA256, SHA1)


@final
class MeasuredMachine:
    """Memory, chipset, TPM and processors of one PC, and what was measured into them."""

    def __init__(
        self,
        plan: Plan,
        memory: PhysicalMemory,
        random: Callable[[int], bytes],
        unit: Hpa | None,
        owner: measure.Ownership | None = None,
    ) -> None:
        """`unit` is where the remapping unit's registers lie; `random(n)` gives n random bytes.

        `owner` is who set the launch control policy, where it is not the plan's reference values that did.
        """
        self._plan = plan
        self._memory = memory
        self._tpm = Tpm(BANKS, random)
        self.attester: Final = ModelAttester(self._tpm)
        processors = [SmxProcessor(number) for number in range(plan.machine.vcpus)]
        chipset = Chipset(memory, measure.MODEL_KEY.public_key_hash)
        self._platform = TxtPlatform(memory, chipset, self._tpm, processors, unit)
        self._port = TpmPort(self._tpm, chipset)
        self._owner = owner or measure.owner_policy([value.digest for value in plan.reference.vmm])
        self._outcome: LaunchOutcome | None = None
        self.firmware_log = b""
        """The static measurement's event log: PCR 0 to 7, from power-on to the boot loader."""
        self._staged_bytes = 0
        self._provisioned = False

    @contextmanager
    def on_the_bench(self) -> Iterator[ModelAttester]:
        """The TPM powered without a launch, as whoever enrols the machine has it; then off again, in order."""
        self._tpm.power_cycle()
        self._tpm.startup()
        try:
            yield self.attester
        finally:
            self._tpm.shutdown()
            self._tpm.power_cycle()

    @property
    def dma_guard(self) -> Chipset:
        """What keeps devices out of the DPR and the protected memory regions, whatever their tables say."""
        return self._platform.chipset

    def power_on(self) -> tuple[LaunchStep, ...]:
        """Power on and run the BIOS ACM."""
        self._tpm.power_cycle()
        self._tpm.startup()
        self.firmware_log = srtm.measure(self._tpm)
        if not self._provisioned:
            measure.provision(self._tpm, self._owner.policy, locked=self._owner.locked)
            self._provisioned = True
        self._platform.chipset.power_cycle()
        return bios_acm.run(self._platform)

    def reset(self, *, bios_acm_runs: bool = True) -> tuple[LaunchStep, ...]:
        """The reset button, pressed by whoever wants what memory holds; then the BIOS ACM, where there is one."""
        self._tpm.power_cycle()
        self._tpm.startup()
        self.firmware_log = srtm.measure(self._tpm)
        self._platform.chipset.reset()
        self._outcome = None
        return bios_acm.run(self._platform) if bios_acm_runs else ()

    @property
    def platform(self) -> TxtPlatform:
        """The parts of the PC that a launch acts on."""
        return self._platform

    def files(self) -> loader.LaunchFiles:
        """What an honest loader loads."""
        return loader.LaunchFiles(measure.sinit_module(), measure.vmm_image(), self._owner.data.encode())

    def launch(self, tamper: TamperPlan | None, files: loader.LaunchFiles | None = None) -> LaunchOutcome:
        """Load and launch the VMM, or `files` of whoever is the loader."""
        files = files or self.files()
        self._outcome = loader.launch(self._platform, files, tamper.at_launch if tamper else None)
        if self._launched:
            self._command(Reg.CMD_OPEN_LOCALITY2)
            self._command(Reg.CMD_SECRETS)
        return self._outcome

    def leave(self) -> None:
        """The VMM ends in order: PCRs capped, secrets gone, SEXIT. Nothing happens where none was launched."""
        if self._launched:
            sexit.tear_down(self._platform, LAUNCH_PCRS)
            self._outcome = None

    def suspend(self) -> None:
        """S3, as a VMM goes to sleep that means to be believed again: it ends first, and a new launch must follow."""
        self.leave()
        self._platform.suspend()

    def resume(self) -> tuple[LaunchStep, ...]:
        """Wake from S3: the BIOS ACM runs again, and until `launch` nothing is measured."""
        self._platform.wake()
        return bios_acm.run(self._platform)

    def measure_plan(self, images: Iterable[Image], tamper: TamperPlan | None) -> tuple[LaunchStep, ...]:
        """The VMM stages the plan and extends it, the documents and every image into PCR 19.

        Of the documents a plan carries only the SHA-256; the SHA-1 bank gets the SHA-1 of that.
        """
        staged = canonical_json(self._plan.to_json())
        self._memory.write(STAGED_PLAN, staged)
        self._staged_bytes = len(staged)
        steps = [self._extend(f"vafw plan {self._plan.name}", {each: digest(each, staged) for each in BANKS})]
        for kind in ("topology", "policy"):
            sha256 = bytes.fromhex(self._plan.documents[kind])
            steps.append(self._extend(f"vafw {kind}", {SHA256: sha256, SHA1: digest(SHA1, sha256)}))
        for image in images:
            data = {each: digest(each, image.data) for each in BANKS}
            steps.append(self._extend(f"vafw image {image.name}", data))
        if tamper and tamper.staged_plan_bit is not None:
            self._flip_staged(tamper.staged_plan_bit)
        return tuple(steps)

    def staged_plan_digest(self) -> bytes:
        """SHA-256 of the plan as it lies in memory now."""
        return hashlib.sha256(self._memory.read(STAGED_PLAN, self._staged_bytes)).digest()

    def evidence(self, nonce: bytes) -> Evidence:
        """A quote over PCR 17, 18 and 19 of both banks for `nonce`, and the log from the heap."""
        log = loader.event_log(self._platform) if self._launched else b""
        root = RootOfTrust.MODEL if self._launched else RootOfTrust.NONE
        error = self._launch_error()
        return evidence_of(
            self.attester, nonce, LAUNCH_SELECTION, event_log=log, root_of_trust=root, launch_error=error
        )

    @property
    def _launched(self) -> bool:
        return self._outcome is not None and self._outcome.launched

    def _launch_error(self) -> LaunchError | None:
        error = self._outcome.error if self._outcome else None
        if error is None:
            return None
        return LaunchError(error.component, error.reason, error.error_code, error.expected, error.found)

    def _command(self, register: Reg) -> None:
        """The VMM writes a command to the chipset's private space, which is open to it."""
        self._memory.write(Hpa(PRIVATE_SPACE + register), b"\1")

    def _extend(self, label: str, digests: Mapping[int, bytes]) -> LaunchStep:
        if not self._launched:
            return LaunchStep(f"not extended: {label}", "locality 2 is open to a launched VMM only")
        self._port.extend(VMM_PCR, digests, VMM_LOCALITY)
        event = Event(VMM_PCR, EventType.EV_IPL, digests, label.encode())
        loader.append_event_log(self._platform, encode_event(event))
        return LaunchStep(f"extend PCR {VMM_PCR}", f"{label}  {digests[SHA256].hex()}")

    def _flip_staged(self, bit: int) -> None:
        at = Hpa(STAGED_PLAN + bit // 8 % self._staged_bytes)
        self._memory.write(at, bytes((self._memory.read(at, 1)[0] ^ 1 << bit % 8,)))
