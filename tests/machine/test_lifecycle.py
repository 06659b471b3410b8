"""Every (phase, event) pair is decided."""

from __future__ import annotations

import itertools

import pytest

from vafw.machine.lifecycle import TRANSITIONS, IllegalTransition, VmEvent, VmPhase, next_phase

ILLEGAL = sorted(set(itertools.product(VmPhase, VmEvent)) - set(TRANSITIONS))


@pytest.mark.parametrize(("pair", "after"), sorted(TRANSITIONS.items()))
def test_a_legal_event_moves_the_vm(pair: tuple[VmPhase, VmEvent], after: VmPhase) -> None:
    assert next_phase(*pair) is after


@pytest.mark.parametrize("pair", ILLEGAL)
def test_an_illegal_event_names_the_legal_ones_refused(pair: tuple[VmPhase, VmEvent]) -> None:
    phase, event = pair
    with pytest.raises(IllegalTransition) as refused:
        next_phase(phase, event)
    legal = sorted(each.value for start, each in TRANSITIONS if start is phase)
    assert refused.value.message == f"a VM that is {phase} must be sent one of {', '.join(legal)}, not {event}"


def test_every_phase_can_be_left_by_stopping_except_stopped_itself() -> None:
    stoppable = {start for start, event in TRANSITIONS if event is VmEvent.STOP}
    assert stoppable == set(VmPhase) - {VmPhase.STOPPED}


def test_the_drawing_in_the_header_names_every_phase() -> None:
    from vafw.machine import lifecycle

    assert all(phase.value in (lifecycle.__doc__ or "") for phase in VmPhase)
