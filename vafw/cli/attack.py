"""`vafw attack`: run attacks against a topology on the model, and see which mechanism stops each."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from vafw.cli.options import json_option, topology_file
from vafw.cli.output import Output, columns, fitted, paint
from vafw.errors import ExitCode, UsageError
from vafw.trace import Value

if TYPE_CHECKING:
    from vafw.attack.computer import Supplies
    from vafw.attack.matrix import Row
    from vafw.attack.mechanism import Mechanism
    from vafw.attack.scenario import Outcome, Scenario

_EXAMPLE: Final = "vafw attack run stale-iotlb policies/office-laptop/topology.yaml --without invalidation"


@click.group(epilog=f"Example: {_EXAMPLE}")
def command() -> None:
    """Run attacks against a topology on the model, and see which mechanism stops each."""


@command.command("list", epilog="Example: vafw attack list")
@json_option
def list_(as_json: bool) -> int:
    """Print every attack with what stands in its way, and every mechanism that can be switched off."""
    from vafw.attack.matrix import describe  # deferred: other verbs need no attacks
    from vafw.attack.mechanism import MEANING
    from vafw.attack.roster import SCENARIOS

    if not as_json:
        print(paint("ATTACKS", "bold", sys.stdout))
        for each in SCENARIOS:
            print(f"  {each.name:<26}{each.threat}")
            print(f"  {'':<26}{paint(_layers(each), 'dim', sys.stdout)}")
        print(paint("\nMECHANISMS", "bold", sys.stdout))
        for mechanism, meaning in MEANING.items():
            print(f"  {mechanism.value:<26}{meaning}")
    attacks: list[Value] = [describe(each) for each in SCENARIOS]
    mechanisms: dict[str, Value] = {each.value: meaning for each, meaning in MEANING.items()}
    return Output(as_json, "AttackList").result({"attacks": attacks, "mechanisms": mechanisms})


@command.command(epilog=f"Example: {_EXAMPLE}")
@click.argument("names", metavar="[NAME...]", nargs=-1)
@click.argument("topology", type=click.Path(path_type=Path))
@click.option("--without", metavar="MECHANISM", multiple=True, help="Switch a mechanism off; may be given again.")
@click.option("--steps", is_flag=True, help="Print what each attack does.")
@json_option
def run(names: tuple[str, ...], topology: Path, without: tuple[str, ...], steps: bool, as_json: bool) -> int:
    """Run attacks, or all of them, against TOPOLOGY; exit code 1 where one ends otherwise than it should."""
    from vafw.attack.matrix import as_declared, report, run_all  # deferred: other verbs need no attacks
    from vafw.attack.roster import SCENARIOS, named

    off = tuple(_mechanism(each) for each in without)
    chosen = tuple(named(each) for each in names) if names else SCENARIOS
    outcomes = run_all(_supplies(topology_file(topology)), chosen, off)
    if not as_json:
        _print_outcomes(outcomes, off, steps)
    surprises = [each for each in outcomes if not as_declared(each, off)]
    data: dict[str, Value] = {
        "without": [each.value for each in off],
        "attacks": [
            {
                "name": each.scenario.name,
                **report(each),
                "steps": list(each.steps),
                "as-declared": each not in surprises,
            }
            for each in outcomes
        ],
    }
    return Output(as_json, "AttackRun").result(data, ExitCode.FAILED if surprises else ExitCode.DONE)


@command.command(epilog="Example: vafw attack matrix policies/office-laptop/topology.yaml")
@click.argument("names", metavar="[NAME...]", nargs=-1)
@click.argument("topology", type=click.Path(path_type=Path))
@json_option
def matrix(names: tuple[str, ...], topology: Path, as_json: bool) -> int:
    """Run attacks, or all, with everything on, with each mechanism off, and with all off that stand in their way."""
    from vafw.attack.matrix import matrix as every_cell  # deferred: other verbs need no attacks
    from vafw.attack.roster import SCENARIOS, named

    chosen = tuple(named(each) for each in names) if names else SCENARIOS
    rows = every_cell(_supplies(topology_file(topology)), chosen)
    if not as_json:
        _print_matrix(rows)
    surprises = [row.scenario.name for row in rows if not _is_as_declared(row)]
    data: dict[str, Value] = {"attacks": [row.to_json() for row in rows], "surprises": list(surprises)}
    return Output(as_json, "AttackMatrix").result(data, ExitCode.FAILED if surprises else ExitCode.DONE)


def _supplies(topology: Path) -> Supplies:
    from vafw.attack.computer import Supplies  # deferred: it stands on the modelled PC
    from vafw.document.load import load_topology
    from vafw.plan.compile import compile_plan
    from vafw.provider.model.provider import ModelProvider

    documents = load_topology(topology)
    return Supplies.of(compile_plan(documents, ModelProvider.CAPABILITY), documents)


def _mechanism(name: str) -> Mechanism:
    from vafw.attack.mechanism import Mechanism  # deferred: other verbs need no attacks

    try:
        return Mechanism(name)
    except ValueError:
        raise UsageError(f"--without must name one of {', '.join(Mechanism)}, not {name!r}") from None


def _layers(scenario: Scenario) -> str:
    return "stopped by " + ", then ".join(" with ".join(sorted(each)) for each in scenario.layers)


def _print_outcomes(outcomes: Sequence[Outcome], off: Sequence[Mechanism], steps: bool) -> None:
    width = columns(sys.stdout)
    print(f"{'ATTACK':<26}{'STOPPED BY':<24}RECORD")
    for each in outcomes:
        if steps:
            print("\n".join(f"{'':<4}{paint(line, 'dim', sys.stdout)}" for line in each.steps))
        verdict, colour, text = _cell(each)
        line = fitted(text, max(width - 50, 20))
        print(f"{each.scenario.name:<26}{paint(f'{verdict:<24}', colour, sys.stdout)}{line}")
    tried = [each for each in outcomes if each.verdict is not None]
    stopped = sum(each.verdict is not None and not each.verdict.succeeded for each in tried)
    missing = f" without {', '.join(each.value for each in off)}" if off else ""
    print(f"\n{stopped} of {len(tried)} attacks stopped{missing}")


def _cell(outcome: Outcome) -> tuple[str, str, str]:
    """Word, colour and record of an outcome."""
    if outcome.verdict is None:
        return "not applicable", "dim", outcome.why_not
    if outcome.verdict.stopped_by is None:
        return "SUCCEEDED", "bold red", outcome.verdict.record
    return outcome.verdict.stopped_by.value, "green", outcome.verdict.record


def _print_matrix(rows: Sequence[Row]) -> None:
    """One line an attack: what stops it, what it then succeeds without, and what stops it instead."""
    print(f"{'ATTACK':<26}{'STOPPED BY':<22}{'SUCCEEDS WITHOUT':<36}STOPPED BY THE NEXT LAYER WITHOUT")
    for row in rows:
        word, colour, _ = _cell(row.whole)
        alone = [each.value for each, outcome in row.without.items() if outcome.verdict and outcome.verdict.succeeded]
        if not alone and row.bare.verdict and row.bare.verdict.succeeded:
            alone = [" + ".join(each.value for each in row.scenario.mechanisms)]
        others = [f"{each.value} ({_cell(row.without[each])[0]})" for each in row.scenario.mechanisms
                  if (verdict := row.without[each].verdict) and not verdict.succeeded]  # fmt: skip
        name = f"{row.scenario.name:<26}{paint(f'{word:<22}', colour, sys.stdout)}"
        print(f"{name}{', '.join(alone):<36}{', '.join(others)}".rstrip())


def _is_as_declared(row: Row) -> bool:
    from vafw.attack.matrix import as_declared  # deferred: other verbs need no attacks

    return (
        as_declared(row.whole, ())
        and all(as_declared(outcome, (mechanism,)) for mechanism, outcome in row.without.items())
        and as_declared(row.bare, row.scenario.mechanisms)
    )
