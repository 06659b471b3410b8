"""What every platform owes whoever stands on it: the same cases, the same verdicts."""

from __future__ import annotations

import io
from itertools import pairwise
from pathlib import Path

import pytest
from PIL import Image

from tests.contract.benches import Bench
from tests.contract.story import Story, play, reconfigured
from vafw.machine.capability import Capability
from vafw.machine.lifecycle import VmPhase
from vafw.trace import EventKind

PLAN_CHANGED = "the topology was changed after it was measured: the plan that is about to start is not the attested one"
ORDER = ["firewall", "dns", "user-os"]


def test_the_gate_opens_before_anything_starts(story: Story) -> None:
    kinds = [event.kind for event in story.events]
    assert story.refused == ""
    assert kinds.index(EventKind.GATE_OPENED) < kinds.index(EventKind.VM_STARTED)


def test_vms_start_from_the_wire_inwards(story: Story) -> None:
    assert story.subjects(EventKind.VM_STARTED) == ORDER


def test_each_vm_is_healthy_before_the_next_one_starts(story: Story) -> None:
    both = [event for event in story.events if event.kind in (EventKind.VM_STARTED, EventKind.VM_HEALTHY)]
    wanted = [(vm, kind) for vm in ORDER for kind in (EventKind.VM_STARTED, EventKind.VM_HEALTHY)]
    assert [(event.subject, event.kind) for event in both] == wanted


def test_every_vm_says_what_it_probed(story: Story) -> None:
    assert all(vm.health is not None and vm.health.healthy and vm.health.reason for vm in story.report.vms)


def test_an_allowed_page_is_fetched(story: Story) -> None:
    assert (story.steps[2]["outcome"], story.steps[2]["address"]) == ("ok", "198.51.100.10")


def test_an_allowed_page_is_fetched_over_ipv6(story: Story) -> None:
    assert (story.steps[5]["outcome"], story.steps[5]["address"]) == ("ok", "2001:db8:b::10")


def test_an_address_that_the_policy_rejects_is_refused_at_once(story: Story) -> None:
    assert story.outcomes[6] == "refused"


def test_a_port_that_the_policy_drops_never_answers(story: Story) -> None:
    assert story.outcomes[7] == "timed out"


def test_a_blocked_name_does_not_exist_for_the_user_and_others_do(story: Story) -> None:
    assert (story.outcomes[1], story.outcomes[3], story.outcomes[4]) == ("ok", "nxdomain", "nxdomain")
    assert story.steps[1]["addresses"] == ["198.51.100.10", "2001:db8:b::10"]


def test_the_gateway_answers_a_ping(story: Story) -> None:
    assert story.outcomes[0] == "ok"


def test_frames_crossed_every_link_in_both_directions(bench: Bench, story: Story) -> None:
    assert [link.link for link in story.report.links] == [link.name for link in bench.plan.links]
    assert all(link.frames_in > 0 and link.frames_out > 0 for link in story.report.links)


def test_no_isolation_attempt_succeeds(story: Story) -> None:
    assert story.isolation
    assert [each for each in story.isolation if not each.blocked] == []


def test_the_display_is_captured_as_a_picture(story: Story) -> None:
    with Image.open(io.BytesIO(story.picture)) as picture:
        assert picture.format == "PNG"
        assert len(picture.convert("RGB").getcolors(1 << 24) or ()) > 1


def test_stopping_ends_every_vm_from_the_user_outwards(story: Story) -> None:
    assert story.subjects(EventKind.VM_STOPPED) == ORDER[::-1]
    assert story.events[-1].kind is EventKind.PLATFORM_POWERED_OFF
    assert {vm.phase for vm in story.last.vms} <= {VmPhase.STOPPED}


def test_a_vm_that_is_taken_away_stops_the_traffic(cut: Story) -> None:
    assert cut.subjects(EventKind.VM_STARTED) == ORDER
    assert cut.outcomes == ["timed out"]


async def test_a_flow_that_passed_is_blocked_over_the_network_and_passes_again_after_a_rollback(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VAFW_STATE_DIR", str(tmp_path / "state"))
    outcomes, answers = await reconfigured(bench, tmp_path)
    assert [(each["desired"]["generation"], each["in-sync"]) for each in answers] == [(2, True), (3, True)]
    assert outcomes == ["ok", "timed out", "ok"]


@pytest.mark.parametrize("vm", ORDER)
def test_an_altered_image_keeps_the_gate_closed_and_nothing_starts_refused(bench: Bench, vm: str) -> None:
    story, image = play(bench, tamper=f"appliance={vm}:12345"), bench.plan.vm(vm).image.name
    assert story.refused == f"image {image} is none of those that the reference values accept"
    assert story.subjects(EventKind.GATE_CLOSED) == ["office-laptop"]
    assert story.subjects(EventKind.GATE_OPENED, EventKind.VM_STARTED, EventKind.LINK_UP) == []


def test_an_altered_plan_keeps_the_gate_closed_and_nothing_starts_refused(bench: Bench) -> None:
    story = play(bench, tamper="topology:77")
    assert story.refused == PLAN_CHANGED
    assert story.subjects(EventKind.GATE_OPENED, EventKind.VM_STARTED, EventKind.LINK_UP) == []


def test_time_moves_forward_through_the_whole_run(story: Story) -> None:
    assert all(earlier.time_s <= later.time_s for earlier, later in pairwise(story.events))


DECLARED = {
    "model": ~Capability(0),
    "qemu": ~(Capability.WIRE_CAPTURE_FILE | Capability.INTERPRETED_RULES),
}
"""What each platform can do; what is not in it, its provider refuses before launch, and no case above asks for it."""


@pytest.mark.parametrize("capability", list(Capability))
def test_what_a_platform_can_do_it_declares(bench: Bench, capability: Capability) -> None:
    assert (capability in bench.capability) is (capability in DECLARED[bench.name])
