"""The trace keeps what happened, in order, and nobody in a VM can fill the host with it."""

from __future__ import annotations

from vafw.trace import NOISY_AT_ONCE, NOISY_PER_SECOND, EventKind, Trace


def test_events_keep_their_order_and_number() -> None:
    trace = Trace(lambda: 2.0)
    for name in ("firewall", "dns"):
        trace.record(EventKind.VM_STARTED, name)
    assert [(event.sequence, event.subject) for event in trace.of(EventKind.VM_STARTED)] == [
        (0, "firewall"),
        (1, "dns"),
    ]


def test_a_guest_that_logs_without_end_is_counted_and_not_kept() -> None:
    trace = Trace(lambda: 0.0)
    for _ in range(NOISY_AT_ONCE + 500):
        trace.record(EventKind.GUEST_LOG, "user-os", line="again")
    assert (len(trace), trace.suppressed[EventKind.GUEST_LOG]) == (NOISY_AT_ONCE, 500)


def test_noise_never_costs_an_event_that_matters() -> None:
    trace = Trace(lambda: 0.0)
    for _ in range(NOISY_AT_ONCE + 1):
        trace.record(EventKind.DMA_FAULT, "nic")
    assert trace.record(EventKind.GATE_CLOSED, "office") is not None


def test_the_allowance_comes_back_with_time() -> None:
    now = [0.0]
    trace = Trace(lambda: now[0])
    for _ in range(NOISY_AT_ONCE):
        trace.record(EventKind.GUEST_LOG, "user-os")
    now[0] = 1.0
    kept = [trace.record(EventKind.GUEST_LOG, "user-os") is not None for _ in range(NOISY_PER_SECOND + 5)]
    assert kept == [True] * NOISY_PER_SECOND + [False] * 5
