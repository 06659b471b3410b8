"""One bench a platform, and the runs that several cases look at, each played once."""

from __future__ import annotations

import pytest

from tests.contract.benches import BENCHES, Bench
from tests.contract.story import CUT_SCRIPT, Story, play


@pytest.fixture(scope="session", params=list(BENCHES))
def bench(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """Every case runs against every platform."""
    return BENCHES[request.param](tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="session")
def story(bench: Bench) -> Story:
    """A run in which nothing goes wrong."""
    return play(bench)


@pytest.fixture(scope="session")
def cut(bench: Bench) -> Story:
    """A run in which the firewall is taken away before the user acts."""
    return play(bench, CUT_SCRIPT, without="firewall")
