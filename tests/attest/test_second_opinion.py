"""Whatever is done to evidence, the verifier does not raise, and affirms nothing that the naive one refuses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.attest.naive import Bench
from vafw.attest.evidence import Evidence
from vafw.attest.result import Tier

BENCH = Bench(1)


def agreed(evidence: Evidence) -> bool:
    """Whether both believe it; the first must not where the second does not."""
    bench = Bench(1)
    result, refusal = bench.first(evidence), bench.second(evidence)
    assert result.tier is not Tier.AFFIRMING or not refusal, refusal
    return result.tier is Tier.AFFIRMING


def test_both_believe_what_a_machine_gives() -> None:
    assert agreed(BENCH.evidence)


def edited(data: bytes) -> st.SearchStrategy[bytes]:
    """The same bytes with a piece replaced, by as many, fewer or more."""
    place = st.integers(0, len(data))
    return st.builds(
        lambda at, drop, new: data[:at] + new + data[at + drop :], place, st.integers(0, 9), st.binary(max_size=9)
    )


FIELDS: dict[str, Callable[[Evidence], bytes]] = {
    "quote": lambda e: e.quote,
    "signature": lambda e: e.signature,
    "event_log": lambda e: e.event_log,
}


@given(st.data())
def test_no_edit_of_any_part_is_affirmed_against_the_second_opinion(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(FIELDS)))
    content = data.draw(edited(FIELDS[name](BENCH.evidence)))
    changes: dict[str, Any] = {name: content}
    agreed(replace(BENCH.evidence, **changes))


@given(st.dictionaries(st.sampled_from([0, 17, 18, 19]), st.binary(min_size=31, max_size=33)))
def test_no_values_are_affirmed_against_the_second_opinion(values: dict[int, bytes]) -> None:
    agreed(replace(BENCH.evidence, pcrs={**BENCH.evidence.pcrs, **values}))


@given(st.binary(max_size=200), st.binary(max_size=80), st.binary(max_size=200))
def test_noise_is_refused_and_raises_nothing(quote: bytes, signature: bytes, log: bytes) -> None:
    assert not agreed(replace(BENCH.evidence, quote=quote, signature=signature, event_log=log))
