"""Limits and schedules: how many, and when."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vafw.traffic.condition import DAYS, Bucket, Limit, Schedule, clock_time, parse_time

OFFICE = Schedule(("mon", "tue", "wed", "thu", "fri"), parse_time("08:00"), parse_time("18:00"))
NIGHT = Schedule(("fri",), parse_time("22:00"), parse_time("06:00"))


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def test_a_bucket_lets_its_burst_through_and_then_its_rate() -> None:
    bucket = Bucket(Limit.parse("2/second burst 3"))
    taken = [bucket.take(now) for now in (0, 0, 0, 0, 0.4, 0.5, 0.6, 1.0, 1.5, 1.6)]
    assert taken == [True, True, True, False, False, True, False, True, True, False]


@given(
    st.integers(1, 50),
    st.sampled_from(["second", "minute"]),
    st.integers(1, 9),
    st.lists(st.floats(0, 5), max_size=200),
)
def test_no_bucket_lets_more_through_than_its_burst_and_its_rate(
    packets: int, unit: str, burst: int, gaps: list[float]
) -> None:
    limit = Limit(packets, unit, burst)
    bucket, now, passed = Bucket(limit), 1000.0, 0
    for gap in gaps:
        now += gap
        passed += bucket.take(now)
    assert passed <= burst + (now - 1000.0) * 1e9 / limit.cost_ns + 1e-3


def test_a_clock_that_goes_back_fills_no_bucket() -> None:
    bucket = Bucket(Limit(1, "second", 1))
    assert [bucket.take(now) for now in (10, 5, 5.5, 6.0)] == [True, False, False, True]


@given(st.integers(1, 10**9), st.sampled_from(["second", "minute", "hour", "day", "week"]), st.integers(1, 10**6 - 1))
def test_a_limit_is_read_as_it_is_written(packets: int, unit: str, burst: int) -> None:
    assert Limit.parse(str(Limit(packets, unit, burst))) == Limit(packets, unit, burst)


def test_a_limit_without_unit_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^a limit must be like 10/second or 3/minute burst 6, not '10'$"):
        Limit.parse("10")


@pytest.mark.parametrize(
    ("when", "holds"),
    [
        ("2026-01-05T08:00:00", True),  # a Monday
        ("2026-01-05T07:59:59", False),
        ("2026-01-05T17:59:59", True),
        ("2026-01-05T18:00:00", False),
        ("2026-01-04T12:00:00", False),
        ("2026-01-09T12:00:00", True),
        ("2026-01-10T12:00:00", False),
    ],
)
def test_a_schedule_holds_on_its_days_between_its_times(when: str, *, holds: bool) -> None:
    assert OFFICE.holds(at(when), accepts=True) is holds


@pytest.mark.parametrize(
    ("when", "holds"),
    [
        ("2026-01-09T21:59:59", False),  # a Friday
        ("2026-01-09T22:00:00", True),
        ("2026-01-10T05:59:59", True),
        ("2026-01-10T06:00:00", False),
        ("2026-01-10T22:00:00", False),
    ],
)
def test_a_schedule_over_midnight_belongs_to_the_day_it_begins_on(when: str, *, holds: bool) -> None:
    assert NIGHT.holds(at(when), accepts=True) is holds


@given(st.floats(0, 1.5e9))
def test_without_a_clock_what_accepts_is_never_asked_and_what_refuses_always_is(wall_s: float) -> None:
    assert not OFFICE.holds(wall_s, accepts=True)
    assert OFFICE.holds(wall_s, accepts=False)


@given(st.floats(at("2020-01-02T00:00:00"), 4e9), st.integers(0, 1439), st.integers(1, 1440))
def test_a_schedule_says_what_the_calendar_says(wall_s: float, start: int, end: int) -> None:
    schedule = Schedule(("wed", "sat"), start * 60, end * 60)
    moment = datetime.fromtimestamp(wall_s, UTC)
    second = moment.hour * 3600 + moment.minute * 60 + moment.second
    today = DAYS[moment.weekday()] in schedule.days
    yesterday = DAYS[moment.weekday() - 1] in schedule.days
    within = today and start * 60 <= second < end * 60
    over = (today and second >= start * 60) or (yesterday and second < end * 60)
    assert schedule.holds(wall_s, accepts=True) == (within if start < end else over)


@given(st.integers(0, 1439))
def test_a_time_of_day_is_read_as_it_is_written(minutes: int) -> None:
    assert parse_time(clock_time(minutes * 60)) == minutes * 60


def test_a_day_that_there_is_not_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^days must be some of mon, tue, wed, thu, fri, sat, sun, not moon$"):
        Schedule(("moon",))


@given(
    days=st.lists(st.sampled_from(DAYS), min_size=1, unique=True),
    start=st.integers(0, 1439),
    end=st.integers(1, 1440),
    minute=st.integers(0, 8 * 1440 - 1),
)
def test_the_windows_within_days_are_open_when_the_whole_is_and_one_at_a_time(
    days: list[str], start: int, end: int, minute: int
) -> None:
    schedule = Schedule(tuple(day for day in DAYS if day in days), start * 60, end * 60)
    wall_s = 1_700_000_000 // 86400 * 86400 + minute * 60
    parts = schedule.within_days()
    assert all(each.start_s < each.end_s for each in parts)
    assert sum(each.holds(wall_s, accepts=True) for each in parts) == schedule.holds(wall_s, accepts=True)
