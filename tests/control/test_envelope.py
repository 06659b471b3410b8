from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.control.parts import CONTROLLER_KEY, FOREIGN_KEY, HOUR, NOW, PLACE, sealed
from vafw.control.envelope import (
    MAXIMUM_BYTES,
    MAXIMUM_INTEGER,
    Envelope,
    EnvelopeRefused,
    Version,
    canonical,
    seal,
    strict_json,
    unseal,
)
from vafw.control.topics import REPORTED, Place
from vafw.trace import Value

SCALARS = (
    st.none() | st.booleans() | st.integers(-MAXIMUM_INTEGER, MAXIMUM_INTEGER)
    | st.floats(allow_nan=False, allow_infinity=False) | st.text(st.characters(codec="utf-8"), max_size=20)
)  # fmt: skip
KEYS = st.text(st.characters(codec="utf-8"), max_size=8)
VALUES: st.SearchStrategy[Value] = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=12
)
BODIES = st.dictionaries(KEYS, VALUES, max_size=5)


def opened(data: bytes) -> Envelope:
    return unseal(data, PLACE, CONTROLLER_KEY.public_key(), now=NOW)


def altered(change: Callable[[dict[str, Any]], object]) -> bytes:
    """A genuine envelope with its fields changed afterwards."""
    fields = json.loads(sealed(3, {"port": 1}))
    change(fields)
    return canonical(fields)


def signed(change: Callable[[dict[str, Any]], object]) -> bytes:
    """An envelope with odd fields that the controller signed all the same."""
    import base64

    fields = json.loads(sealed(3, {"port": 1}))
    del fields["sig"]
    change(fields)
    signature = CONTROLLER_KEY.sign(b"vafw desired\n" + canonical(fields))
    return canonical({**fields, "sig": base64.b64encode(signature).decode()})


@given(BODIES, st.integers(1, 9), st.integers(1, 99))
def test_what_was_sealed_is_opened_as_it_was(body: dict[str, Value], epoch: int, generation: int) -> None:
    envelope = opened(sealed(generation, body, epoch=epoch))
    assert (envelope.body, envelope.version) == (body, Version(epoch, generation))


@given(st.binary(max_size=200))
def test_bytes_that_are_no_envelope_are_refused(data: bytes) -> None:
    with pytest.raises(EnvelopeRefused):
        opened(data)


@given(st.data())
def test_a_flipped_bit_is_refused(data: st.DataObject) -> None:
    genuine = bytearray(sealed(3, {"port": 1, "names": ["a", "b"]}))
    at = data.draw(st.integers(0, len(genuine) * 8 - 1))
    genuine[at // 8] ^= 1 << at % 8
    with pytest.raises(EnvelopeRefused):
        opened(bytes(genuine))


def test_a_signature_has_one_spelling() -> None:
    fields = json.loads(sealed(3, {"port": 1}))
    written = fields["sig"].rstrip("=")
    assert len(fields["sig"]) - len(written) == 2
    spare = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    other = spare[spare.index(written[-1]) ^ 1]
    with pytest.raises(EnvelopeRefused, match="sig must be the controller's, and is not"):
        opened(altered(lambda fields: fields.update(sig=f"{written[:-1]}{other}==")))


def test_a_key_of_a_later_minor_version_is_kept_under_the_signature() -> None:
    assert opened(signed(lambda fields: fields.update(v="1.4", why="later"))).version == Version(1, 3)
    with pytest.raises(EnvelopeRefused, match="sig must be the controller's, and is not"):
        opened(altered(lambda fields: fields.update(why="later")))


def test_what_people_signed_is_carried_unread_and_under_the_signature() -> None:
    envelope = opened(signed(lambda fields: fields.update(approval={"any": 1}, confirmation={"thing": []})))
    assert (envelope.approval, envelope.confirmation) == ({"any": 1}, {"thing": []})
    assert (opened(sealed(3, {})).approval, opened(sealed(3, {})).confirmation) == (None, None)
    with pytest.raises(EnvelopeRefused, match="sig must be the controller's, and is not"):
        opened(altered(lambda fields: fields.update(approval={})))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "a message must be JSON in UTF-8: Expecting value: line 1 column 1 (char 0)"),
        (b"[]", "a message must be a JSON object, not a list"),
        (b'{"a": NaN}', "a message must be JSON in UTF-8: NaN is no number that JSON has"),
        (b'{"a": 1, "a": 2}', "a message must be JSON in UTF-8: the key 'a' stands there twice"),
        (b'{"a": 9007199254740992}', "a message must have integers of 53 bits at most, not 9007199254740992"),
        (b'{"a": 1e999}', "a message must have finite numbers only"),
        (b'{"a": "\\ud800"}', "a message must have text without lone surrogates"),
        (b'{"a":' + b"[" * 32 + b"]" * 32 + b"}", "a message must be nested 32 deep at most"),
        (b'{"a":' + b"[" * 9999, "a message must be nested 32 deep at most"),
        (b" " * (MAXIMUM_BYTES + 1), "a message must have 262144 bytes at most, not 262145"),
        (b'{"a":[' + b"0," * 50_000 + b"0]}", "a message must hold 50000 values at most"),
        (b"{}", "an envelope must have the key v"),
    ],
)
def test_what_is_no_envelope_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(EnvelopeRefused) as refusal:
        opened(data)
    assert refusal.value.message == message


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (altered(lambda fields: fields.update(v="2.0")), "v must be 1 or 1.something, not '2.0'"),
        (altered(lambda fields: fields.update(v=1)), "v must be 1 or 1.something, not 1"),
        (
            altered(lambda fields: fields.update(id="dns")),
            "an envelope on this topic must be for lab firewall, not for 'lab' 'dns'",
        ),
        (altered(lambda fields: fields.update(gen=9)), "sig must be the controller's, and is not"),
        (altered(lambda fields: fields["body"].update(port=2)), "sig must be the controller's, and is not"),
        (altered(lambda fields: fields.update(sig="AAAA")), "sig must be the controller's, and is not"),
        (altered(lambda fields: fields.update(sig=7)), "sig must be the controller's, and is not"),
        (signed(lambda fields: fields.update(gen=0)), "gen must be an integer from 1 up, not 0"),
        (signed(lambda fields: fields.update(gen=True)), "gen must be an integer from 1 up, not True"),
        (signed(lambda fields: fields.update(epoch=1.5)), "epoch must be an integer from 1 up, not 1.5"),
        (signed(lambda fields: fields.update(body=[1])), "body must be an object, not a list"),
        (signed(lambda fields: fields.update(approval=[])), "approval must be an object, not a list"),
        (signed(lambda fields: fields.update(confirmation="yes")), "confirmation must be an object, not 'yes'"),
        (signed(lambda fields: fields.update(ts="today")), "ts must be a date and time in UTC, not 'today'"),
        (
            signed(lambda fields: fields.update(ts="2026-01-01T00:00:00")),
            "ts must name its time zone, not '2026-01-01T00:00:00'",
        ),
    ],
)
def test_an_envelope_that_is_not_right_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(EnvelopeRefused) as refusal:
        opened(data)
    assert refusal.value.message == message


def test_a_hash_of_another_body_is_refused() -> None:
    with pytest.raises(EnvelopeRefused, match=r"^hash must be the body's, sha256:[0-9a-f]{64}, not 'sha256:0'$"):
        opened(signed(lambda fields: fields.update(hash="sha256:0")))


def test_a_foreign_signature_is_refused() -> None:
    with pytest.raises(EnvelopeRefused, match=r"^sig must be the controller's, and is not$"):
        opened(sealed(3, {}, key=FOREIGN_KEY))


def test_a_report_cannot_pass_for_a_configuration() -> None:
    report = Place(PLACE.workstation, PLACE.appliance, REPORTED)
    with pytest.raises(EnvelopeRefused, match=r"^sig must be the controller's, and is not$"):
        opened(sealed(3, {}, at=report))


def test_an_expired_envelope_is_refused() -> None:
    old = sealed(3, {}, now=NOW - 2 * HOUR)
    message = "exp must not have passed: expired 2025-12-31T23:00:00.000Z, and it is 2026-01-01T00:00:00.000Z"
    with pytest.raises(EnvelopeRefused) as refusal:
        opened(old)
    assert refusal.value.message == message


def test_an_envelope_from_the_future_is_refused() -> None:
    with pytest.raises(EnvelopeRefused, match=r"^ts must not lie in the future: issued 2026-01-01T00:06:00.000Z"):
        opened(sealed(3, {}, now=NOW + timedelta(minutes=6)))


def test_a_body_that_nobody_could_open_is_refused_before_it_is_sealed() -> None:
    with pytest.raises(EnvelopeRefused, match=r"^an envelope must have 262144 bytes at most, not "):
        seal(PLACE, Version(1, 1), {"a": "x" * MAXIMUM_BYTES}, CONTROLLER_KEY, now=NOW, lifetime=HOUR)


def test_brackets_in_strings_do_not_make_a_message_deep() -> None:
    assert strict_json(b'{"a": "[][][]"}') == {"a": "[][][]"}
