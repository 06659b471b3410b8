"""Policies of thousands of rules, each job beside its peer in the same run.

    python -m venv .venv-peers
    .venv-peers/bin/pip install -e . -r benchmarks/requirements.txt
    .venv-peers/bin/python benchmarks/policy.py [--rules N] [--rounds N] [--only ROW]

Peers have an environment of their own; one that is missing is said to be. Every figure is the median of interleaved
rounds; quote the ratios, never a single time.

    build      what passes, as diagrams, by OxiDD against CUDD (dd): the same rules and code       goal: 1.0 of CUDD
    question   "can any new packet of S pass?": from rules to an answer, against one query of z3   goal: 1/50 of z3
    sliced     the same against z3 with prefixes as slices of bits, which it takes better
    warm       a question asked of what was built before, against CUDD
    compile    rules to nftables text, overlaps resolved, with shadow report, against aerleon      goal: 1/40
    process    the same from YAML to the end of the process, against aclgen                        goal: 1/6
    load       `nft -f` of our text against aerleon's, in a network namespace                      goal: 0.4
    edit       `nft -f` of an edit of one rule against one of the whole, in a network namespace    goal: 1/20

z3 is asked once and for each question: its formula alone takes seconds to write. Both questions get the same answer
from everyone, and an edited table is the table that loading the whole gives, or the run ends.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Final

from policy_lists import (
    ROOT,
    Flow,
    aerleon_text,
    asked_of_z3,
    flows,
    ours,
    written_for_aerleon,
    written_for_us,
)

from vafw.traffic.nftables.rendering import nftables_table, nftables_text
from vafw.traffic.proof import Pattern, Proof, counterexample
from vafw.traffic.rule import Action, Ruleset
from vafw.traffic.space.diagram import Diagram
from vafw.traffic.space.layout import VARIABLES
from vafw.traffic.space.outcome import passing
from vafw.traffic.space.path import Hop
from vafw.traffic.space.scrutiny import scrutinise
from vafw.traffic.space.space import Space, new_space

LINE = "{:<10} {:>12} {:>12} {:>9}  {}"
INTERFACES = {"inside": "in0", "outside": "out0"}
EDITS: Final = 6
"""Rules that are changed one after the other in a round."""
ASKED: Final = 1000
"""Times that a warm question is asked."""


def timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def interleaved(rounds: int, *works: Callable[[], object]) -> list[float]:
    """Median seconds of each, run in turn."""
    times = [[timed(work) for work in works] for _ in range(rounds)]
    return [statistics.median(column) for column in zip(*times, strict=True)]


def shown(name: str, mine: float, peer: float | None, goal: str, missing: str = "") -> str:
    ratio = f"{mine / peer:.3g}" if peer else "-"
    return LINE.format(name, duration(mine), duration(peer) if peer else missing or "-", ratio, goal)


def duration(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms" if seconds >= 1e-3 else f"{seconds * 1e6:.2f} us"


def has(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


def build_row(given: Sequence[Flow], rounds: int) -> Iterator[str]:
    ruleset = ours(given)

    def build() -> object:
        return passing(new_space(rules=len(given)), ruleset).may

    if not has("dd"):
        yield shown("build", *interleaved(rounds, build), None, "1.0 of CUDD", "no dd")
        return
    from vafw.traffic.space.with_dd import DdDiagrams  # deferred: a peer

    mine, peer = interleaved(rounds, build, lambda: passing(Space(DdDiagrams(VARIABLES)), ruleset).may)
    yield shown("build", mine, peer, "1.0 of CUDD")


def question_rows(given: Sequence[Flow], rounds: int) -> Iterator[str]:
    """Two sets of packets, one that some rule lets pass and one that a rule stops, asked of everyone."""
    ruleset = ours(given)
    asked = [next(each for each in reversed(given) if each.accept is accept) for accept in (True, False)]
    patterns = [pattern(each) for each in asked]
    (mine,) = interleaved(rounds, lambda: [counterexample(ruleset, each) for each in patterns])
    answers = [counterexample(ruleset, each) is not None for each in patterns]
    for name, sliced, goal in (("question", False, "1/50 of z3"), ("sliced", True, "")):
        peer = None
        if has("z3"):
            began = time.perf_counter()
            theirs = [asked_of_z3(given, each, sliced=sliced) for each in asked]
            peer = (time.perf_counter() - began) / len(asked)
            assert theirs == answers, "both give the same answers"
        yield shown(name, mine / len(asked), peer, goal, "no z3")
    yield warm_row(ruleset, patterns)


def pattern(flow: Flow) -> Pattern:
    rule = ours([flow]).rules[0]
    return Pattern(rule.sources, rule.destinations, rule.services)


def warm_row(ruleset: Ruleset, patterns: Sequence[Pattern]) -> str:
    """The bare question, without a packet for an answer."""
    spaces = [new_space(rules=len(ruleset.rules))]
    if has("dd"):
        from vafw.traffic.space.with_dd import DdDiagrams  # deferred: a peer

        spaces.append(Space(DdDiagrams(VARIABLES)))
    times = []
    for space in spaces:
        proof = Proof([Hop("", ruleset)], space)
        sets = [proof.packets(each) for each in patterns]
        passes = proof.passing.may
        times.append(timed(partial(ask_often, space, passes, sets)))
    each = [seconds / (ASKED * len(patterns)) for seconds in times]
    return shown("warm", each[0], each[1] if len(each) > 1 else None, "", "no dd")


def ask_often(space: Space, passes: Diagram, sets: Sequence[Diagram]) -> None:
    for _ in range(ASKED):
        for each in sets:
            space.is_empty(passes & each)


def compile_row(given: Sequence[Flow], rounds: int) -> Iterator[str]:
    ruleset = ours(given)

    def compile_() -> object:
        return scrutinise(ruleset), nftables_text(ruleset, **INTERFACES)

    if not has("aerleon"):
        yield shown("compile", *interleaved(rounds, compile_), None, "1/40 of aerleon", "no aerleon")
        return
    mine, peer = interleaved(rounds, compile_, lambda: aerleon_text(given))
    yield shown("compile", mine, peer, "1/40 of aerleon")


def process_row(given: Sequence[Flow], rounds: int) -> Iterator[str]:
    """Each program from its documents to its exit, its modules compiled by a run before, as installed ones are."""
    with tempfile.TemporaryDirectory() as folder:
        compiled = {"PYTHONPYCACHEPREFIX": f"{folder}/compiled", "PYTHONDONTWRITEBYTECODE": ""}
        mine = written_for_us(Path(folder) / "ours", given)
        commands = [[sys.executable, "-m", "vafw", "policy", "compile", str(mine)]]
        if has("aerleon"):
            theirs = written_for_aerleon(Path(folder) / "theirs", given)
            commands.append([str(Path(sys.executable).parent / "aclgen"), *theirs])
        works = [partial(run, command, **compiled) for command in commands]
        interleaved(1, *works)
        found = interleaved(rounds, *works)
        yield shown("process", found[0], found[1] if len(found) > 1 else None, "1/6 of aclgen", "no aerleon")


def run(command: list[str], **variables: str) -> str:
    path = os.pathsep.join([str(ROOT), str(ROOT / "appliances"), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path, **variables}
    return subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout


def load_row(given: Sequence[Flow], rounds: int) -> Iterator[str]:
    if not can_load():
        yield LINE.format("load", "-", "-", "-", "needs root, nft, unshare and nsenter")
        return
    texts = [nftables_text(ours(given), **INTERFACES)]
    if has("aerleon"):
        texts.append(aerleon_text(given))
    with tempfile.TemporaryDirectory() as folder:
        files = written(Path(folder), texts)
        works = [lambda file=file: run(["unshare", "-n", "nft", "-f", str(file)]) for file in files]
        found = interleaved(rounds, *works)
    yield shown("load", found[0], found[1] if len(found) > 1 else None, "0.4 of aerleon", "no aerleon")


def edit_row(given: Sequence[Flow], rounds: int) -> Iterator[str]:
    """One rule after the other gets the opposite action: as an edit, and then the same table as a whole."""
    if not can_load():
        yield LINE.format("edit", "-", "-", "-", "needs root, nft, unshare and nsenter")
        return
    tables = [nftables_table(each, **INTERFACES) for each in edited(ours(given), rounds * EDITS)]
    edits = [new.edit_from(old) for old, new in pairwise(tables)]
    with tempfile.TemporaryDirectory() as folder, namespace() as inside:
        wholes = written(Path(folder) / "wholes", [each.text() for each in tables])
        steps = written(Path(folder) / "edits", edits)
        run([*inside, "nft", "-f", str(wholes[0])])
        times: list[tuple[float, float]] = []
        for step, whole in zip(steps, wholes[1:], strict=True):
            edit = timed(lambda step=step: run([*inside, "nft", "-f", str(step)]))
            now = listed(inside)
            times.append((edit, timed(lambda whole=whole: run([*inside, "nft", "-f", str(whole)]))))
            assert listed(inside) == now, "an edit gives the table that the whole gives"
    mine, peer = (statistics.median(column) for column in zip(*times, strict=True))
    yield shown("edit", mine, peer, "1/20 of the whole")


def listed(inside: Sequence[str]) -> list[str]:
    """What the kernel has, an element a line, in no order."""
    lines = run([*inside, "nft", "-s", "list", "ruleset"]).splitlines()
    return sorted(line.strip().removeprefix("elements = { ").rstrip(" },") for line in lines)


def edited(ruleset: Ruleset, count: int) -> Iterator[Ruleset]:
    """The list, then one list for each rule that is changed; only rules that decide on something are."""
    yield ruleset
    idle = {each.at for each in scrutinise(ruleset) if each.by}
    deciding = [at for at in range(len(ruleset.rules)) if at not in idle]
    for at in Random(1).sample(deciding, min(count, len(deciding))):
        rule = ruleset.rules[at]
        changed = replace(rule, action=Action.DROP if rule.action is Action.ACCEPT else Action.ACCEPT)
        ruleset = replace(ruleset, rules=(*ruleset.rules[:at], changed, *ruleset.rules[at + 1 :]))
        yield ruleset


def can_load() -> bool:
    return os.geteuid() == 0 and all(map(shutil.which, ("nft", "unshare", "nsenter")))


@contextmanager
def namespace() -> Iterator[list[str]]:
    """A network namespace that lasts; yields what leads a command into it."""
    with subprocess.Popen(["unshare", "-n", "cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as keeper:
        assert keeper.stdin is not None
        assert keeper.stdout is not None
        keeper.stdin.write(b"in\n")
        keeper.stdin.flush()
        keeper.stdout.readline()  # it has entered
        yield ["nsenter", "-n", "-t", str(keeper.pid)]
        keeper.stdin.close()


def written(folder: Path, texts: Sequence[str]) -> list[Path]:
    """A file for each text."""
    folder.mkdir(exist_ok=True)
    files = [folder / f"{at}.nft" for at in range(len(texts))]
    for file, text in zip(files, texts, strict=True):
        file.write_text(text)
    return files


ROWS: dict[str, Callable[[Sequence[Flow], int], Iterator[str]]] = {
    "build": build_row,
    "question": question_rows,
    "compile": compile_row,
    "process": process_row,
    "load": load_row,
    "edit": edit_row,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rules", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=ROWS, action="append", help="this row; may be given several times")
    given = parser.parse_args()
    rules = flows(given.rules)
    print(LINE.format("job", "vafw", "peer", "ratio", f"goal ({given.rules} rules)"))
    for name in given.only or ROWS:
        for line in ROWS[name](rules, given.rounds):
            print(line, flush=True)


if __name__ == "__main__":
    main()
