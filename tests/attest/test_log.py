from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.attest.launched import BANKS, IMAGES, Desk, flipped, launched
from vafw.attest.result import Claim, Tier
from vafw.tcg import LAUNCH_PCRS, SHA1, SHA256, Event, EventType, PcrSelection, encode_log
from vafw.tcg.algorithms import digest


def told(change: Callable[[list[Event]], object]) -> Claim:
    """The first refusal of a log that was changed after the quote."""
    desk = Desk(launched())
    events = list(desk.machine.events)
    change(events)
    result = desk.ask(event_log=encode_log(events, BANKS))
    assert result.tier is Tier.CONTRAINDICATED
    assert result.first_failure is not None
    return result.first_failure


def with_digest(event: Event, bank: int, value: bytes) -> Event:
    return Event(event.pcr, event.event_type, {**event.digests, bank: value}, event.data)


def with_data(event: Event, data: bytes) -> Event:
    return Event(event.pcr, event.event_type, event.digests, data)


def replaced(position: int, change: Callable[[Event], Event]) -> Callable[[list[Event]], None]:
    def at(events: list[Event]) -> None:
        events[position] = change(events[position])

    return at


@pytest.mark.parametrize(("bank", "name"), [(SHA256, "SHA-256"), (SHA1, "SHA-1")])
def test_a_flipped_bit_in_the_digest_of_an_event_with_data_names_event_and_both_digests(bank: int, name: str) -> None:
    right = digest(bank, b"BIOS ACM registers")
    claim = told(replaced(2, lambda event: with_digest(event, bank, flipped(right, 77))))
    assert claim == Claim(
        "log-events",
        Tier.CONTRAINDICATED,
        f"the {name} digest of the event was altered: its data has another",
        "log",
        "#3 PCR 17 BIOSAC_REG_DATA",
        right.hex(),
        flipped(right, 77).hex(),
    )


def test_a_flipped_bit_in_the_data_names_event_and_both_digests() -> None:
    claim = told(replaced(2, lambda event: with_data(event, flipped(event.data, 0))))
    assert claim.reason == "the data of the event was altered: its digests were computed over something else"
    assert (claim.component, claim.event) == ("log", "#3 PCR 17 BIOSAC_REG_DATA")
    assert claim.expected == digest(SHA256, b"BIOS ACM registers").hex()
    assert claim.found == digest(SHA256, b"CIOS ACM registers").hex()


@pytest.mark.parametrize(
    ("position", "bank", "event", "name"),
    [
        (9, SHA256, "#10 PCR 17 MLE_HASH", "PCR 17 (SHA-256)"),
        (9, SHA1, "#10 PCR 17 MLE_HASH", "PCR 17 (SHA-1)"),
        (13, SHA256, "#14 PCR 19 EV_IPL", "PCR 19 (SHA-256)"),
        (13, SHA1, "#14 PCR 19 EV_IPL", "PCR 19 (SHA-1)"),
    ],
)
def test_a_flipped_bit_in_a_digest_that_no_data_covers_is_found_by_repairing_it(
    position: int, bank: int, event: str, name: str
) -> None:
    right = launched().events[position].digests[bank]
    claim = told(replaced(position, lambda each: with_digest(each, bank, flipped(right, 9))))
    algorithm = "SHA-256" if bank == SHA256 else "SHA-1"
    assert claim.reason == f"the {algorithm} digest of the event was altered: {name} was extended with another"
    assert (claim.name, claim.component, claim.event) == ("log-replay", "log", event)
    assert (claim.expected, claim.found) == (right.hex(), flipped(right, 9).hex())


def test_a_log_that_tells_of_another_vmm_is_refused_and_names_it() -> None:
    other = digest(SHA256, b"another VMM")
    claim = told(replaced(9, lambda event: with_digest(event, SHA256, other)))
    assert claim.event == "#10 PCR 17 MLE_HASH"
    assert (claim.expected, claim.found) == (digest(SHA256, b"the VMM").hex(), other.hex())


def test_a_log_that_hides_another_vmm_behind_the_accepted_one_is_refused() -> None:
    desk = Desk(launched(vmm=b"evil"))
    result = desk.ask(event_log=encode_log(launched().events, BANKS))
    claim = result.first_failure
    assert claim is not None
    assert (claim.name, claim.component, claim.event) == ("log-replay", "log", "")
    assert claim.reason == (
        "the event log does not give PCR 17 (SHA-256): it leaves something out, adds something, or changes the order"
    )
    assert claim.expected == desk.machine.tpm.read(17).hex()


def test_a_hash_start_that_loads_the_final_value_is_refused() -> None:
    """HASH_START loads: placed last, its digest could claim any PCR 17 for any history."""
    desk = Desk(launched(vmm=b"evil"))
    events = list(launched().events)
    forged = with_digest(events.pop(1), SHA256, desk.machine.tpm.read(17))
    result = desk.ask(event_log=encode_log([*events, forged], BANKS))
    assert result.first_failure is not None
    assert (result.first_failure.name, result.first_failure.event) == ("log-events", "#15 PCR 17 HASH_START")


def test_a_hash_start_that_is_not_first_is_refused() -> None:
    claim = told(lambda events: events.insert(2, events.pop(1)))
    assert claim.event == "#2 PCR 17 BIOSAC_REG_DATA"
    assert claim.reason == (
        "HASH_START must be the first event of PCR 17: it gives the register its value, whatever stood before"
    )


def test_two_events_in_another_order_are_refused() -> None:
    claim = told(lambda events: events.insert(3, events.pop(2)))
    assert (claim.name, claim.expected) == ("log-replay", launched().tpm.read(17).hex())


@pytest.mark.parametrize(
    ("position", "component", "event"),
    [(0, "log", "PCR 255 PCR_MAPPING"), (1, "sinit", "PCR 17 HASH_START"), (9, "vmm", "PCR 17 MLE_HASH")],
)
def test_an_event_left_out_is_refused(position: int, component: str, event: str) -> None:
    claim = told(lambda events: events.pop(position))
    assert (claim.component, claim.expected) == (component, event)
    assert claim.reason == f"the event log says nothing of {event}"


def test_an_optional_event_left_out_is_found_by_the_replay() -> None:
    assert told(lambda events: events.pop(4)).name == "log-replay"


def test_an_event_twice_is_refused() -> None:
    claim = told(lambda events: events.append(events[9]))
    assert (claim.event, claim.reason) == ("#16 PCR 17 MLE_HASH", "an event of this type must be in the log once")


def test_a_label_twice_is_refused() -> None:
    claim = told(lambda events: events.append(events[10]))
    assert (claim.event, claim.reason) == ("#16 PCR 19 EV_IPL", "the event log must speak of plan once")


@pytest.mark.parametrize(
    ("event", "name"),
    [
        (Event(17, 0x4AA, {bank: digest(bank, b"") for bank in BANKS}), "PCR 17 0x4aa (0x4aa)"),
        (Event(19, EventType.EV_NO_ACTION, {bank: digest(bank, b"") for bank in BANKS}), "PCR 19 EV_NO_ACTION (0x3)"),
        (Event(20, EventType.EV_IPL, {bank: digest(bank, b"") for bank in BANKS}), "PCR 20 EV_IPL (0xd)"),
        (Event(17, EventType.TXT_STM_HASH, {bank: digest(bank, b"") for bank in BANKS}), "PCR 17 STM_HASH (0x40e)"),
    ],
)
def test_an_event_that_no_launch_writes_is_refused(event: Event, name: str) -> None:
    claim = told(lambda events: events.append(event))
    assert (claim.component, claim.found) == ("log", name)
    assert claim.reason == "the event log holds an event that a launch does not write there"


def test_a_label_with_one_bit_flipped_is_refused_and_the_nearest_is_named() -> None:
    claim = told(replaced(13, lambda event: with_data(event, b"vafw image firewalm")))
    assert (claim.event, claim.expected, claim.found) == (
        "#14 PCR 19 EV_IPL", "vafw image firewall", "vafw image firewalm"
    )  # fmt: skip


def test_the_name_of_another_plan_is_refused() -> None:
    claim = told(replaced(10, lambda event: with_data(event, b"vafw plan offices")))
    assert (claim.expected, claim.found) == ("vafw plan office", "vafw plan offices")


def test_two_images_that_changed_their_labels_are_refused() -> None:
    def swap(events: list[Event]) -> None:
        first, second = events[13].data, events[14].data
        events[13], events[14] = with_data(events[13], second), with_data(events[14], first)

    assert told(swap).component == f"image {next(iter(IMAGES))}"


@pytest.mark.parametrize("mapping", [b"\0\0\0\0", b"\1", b""])
def test_another_pcr_mapping_is_refused(mapping: bytes) -> None:
    claim = told(replaced(0, lambda event: with_data(event, mapping)))
    assert claim.reason == "PCR_MAPPING must be 1 (details and authorities) in 4 bytes"


def test_a_hash_start_with_more_data_is_refused() -> None:
    claim = told(replaced(1, lambda event: with_data(event, event.data + b"\0")))
    assert claim.reason == "HASH_START must have 36 bytes of data, not 37"


def test_a_log_that_cannot_be_read_names_the_byte() -> None:
    desk = Desk(launched())
    claim = desk.ask(event_log=encode_log(desk.machine.events, BANKS)[:-1]).first_failure
    assert claim is not None
    assert claim.reason == (
        "the event log cannot be read: event log, byte 1322: an event's data must have 18 bytes, and 17 are left"
    )


def test_a_log_that_is_too_long_is_refused_unread() -> None:
    claim = Desk(launched()).ask(event_log=bytes(1 << 21)).first_failure
    assert claim is not None
    assert claim.reason == "the event log must have at most 1048576 bytes, not 2097152"


def test_a_header_that_no_launch_writes_is_refused() -> None:
    desk = Desk(launched())
    whole = bytearray(encode_log(desk.machine.events, BANKS))
    whole[48] = 1
    claim = desk.ask(event_log=bytes(whole)).first_failure
    assert claim is not None
    assert (claim.event, claim.found) == (
        "#0 header",
        "platform class 1, version 2.0.0, UINTN size 2, vendor information none",
    )


def test_a_log_of_two_banks_with_a_quote_of_one_is_refused() -> None:
    desk = Desk(launched())
    nonce = desk.verifier.challenge()
    quote, signature = desk.machine.tpm.quote(nonce, PcrSelection.of({SHA256: LAUNCH_PCRS}))
    claim = desk.ask_for(nonce, quote=quote, signature=signature, further_banks={}).first_failure
    assert claim is not None
    assert (claim.expected, claim.found) == ("SHA-256", "SHA-256 and SHA-1")


def test_a_log_and_a_quote_of_sha_256_alone_are_affirmed() -> None:
    desk = Desk(launched())
    nonce = desk.verifier.challenge()
    quote, signature = desk.machine.tpm.quote(nonce, PcrSelection.of({SHA256: LAUNCH_PCRS}))
    events = [
        Event(each.pcr, each.event_type, {SHA256: each.digests[SHA256]}, each.data) for each in desk.machine.events
    ]
    log = encode_log(events, (SHA256,))
    result = desk.ask_for(nonce, quote=quote, signature=signature, further_banks={}, event_log=log)
    assert result.tier is Tier.AFFIRMING
