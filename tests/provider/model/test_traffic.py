"""What feeds the machine, as options say it."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from vafw.errors import UsageError
from vafw.provider.model.traffic import parse_date


def test_a_date_is_read_in_its_time_zone() -> None:
    assert parse_date("2026-11-30T09:00Z") == datetime(2026, 11, 30, 9, tzinfo=UTC)
    assert parse_date("2026-11-30T09:00:30+02:00") == datetime(2026, 11, 30, 7, 0, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("noon", "--clock must be a date and time, such as 2026-11-30T09:00Z, not 'noon'"),
        ("2026-11-30T09:00", "--clock must name its time zone, such as 2026-11-30T09:00Z, not '2026-11-30T09:00'"),
        (
            "2019-12-31T23:00Z",
            "--clock must be 2020 or later, not '2019-12-31T23:00Z': before that, a clock counts as never set",
        ),
    ],
)
def test_what_is_no_date_is_refused(text: str, message: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse_date(text)
    assert refused.value.message == message
