"""`vafw config`: read and change what the appliances of a running topology are configured with."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from typing import Any, Final

import click

from vafw.cli.options import json_option, run_argument
from vafw.cli.output import Output
from vafw.errors import ExitCode, UsageError
from vafw.supervisor.requests import Answered, ask
from vafw.supervisor.run_directory import RunDirectory
from vafw.trace import Value

_EXAMPLE: Final = "vafw config set office-laptop firewall 'traffic.rules[web].service=[https, quic]'"


@click.group(epilog=f"Example: {_EXAMPLE}")
def command() -> None:
    """Read and change what the appliances of a running topology are configured with."""


appliance_argument = click.argument("appliance")
within_option = click.option(
    "--confirm-within",
    "within_s",
    metavar="TIME",
    callback=lambda _context, _option, value: None if value is None else _seconds(value),
    help="Go back by itself unless `vafw config confirm` comes within TIME (`30 s`, `5 min`).",
)


@command.command(epilog="Example: vafw config get office-laptop firewall 'traffic.rules[web].action'")
@run_argument
@click.argument("appliance", required=False)
@click.argument("path", required=False)
@json_option
def get(run: RunDirectory, appliance: str | None, path: str | None, as_json: bool) -> int:
    """Print what APPLIANCE is to have against what it reports, or the value at PATH; without APPLIANCE, of all."""
    verb = "get" if appliance else "list"
    answer = _ask(run, as_json, verb, appliance=appliance, path=path)
    if isinstance(answer, int):
        return answer
    if not as_json:
        states = answer if isinstance(answer, list) else [answer]
        if path is not None:
            print(states[0]["value"])
        else:
            for state in states:
                print("\n".join(_lines(state)))
    return Output(as_json, "Config").result(answer)


@command.command("set", epilog=f"Example: {_EXAMPLE}")
@run_argument
@appliance_argument
@click.argument("changes", metavar="PATH=VALUE...", nargs=-1, required=True)
@within_option
@json_option
def set_(run: RunDirectory, appliance: str, changes: tuple[str, ...], within_s: float | None, as_json: bool) -> int:
    """Change values of the policy or of APPLIANCE's config; the result is checked like the documents, then applied.

    PATH is `traffic....` of the policy or `config....` of the appliance; an entry of a list is named in brackets.
    The files stay as they are.
    """
    return _change(run, as_json, "set", appliance=appliance, changes=list(changes), **_trial(within_s))


@command.command(epilog="Example: vafw config push office-laptop firewall")
@run_argument
@appliance_argument
@within_option
@json_option
def push(run: RunDirectory, appliance: str, within_s: float | None, as_json: bool) -> int:
    """Read the documents anew and give APPLIANCE what they say now."""
    return _change(run, as_json, "push", appliance=appliance, **_trial(within_s))


@command.command(epilog="Example: vafw config confirm office-laptop firewall")
@run_argument
@appliance_argument
@json_option
def confirm(run: RunDirectory, appliance: str, as_json: bool) -> int:
    """Keep the change of APPLIANCE that is on trial."""
    return _change(run, as_json, "confirm", appliance=appliance)


@command.command(epilog="Example: vafw config rollback office-laptop firewall --to 3")
@run_argument
@appliance_argument
@click.option("--to", metavar="GENERATION", help="The generation to go back to; without it, the one before.")
@json_option
def rollback(run: RunDirectory, appliance: str, to: str | None, as_json: bool) -> int:
    """Give APPLIANCE the configuration of an earlier generation, as a new one."""
    return _change(run, as_json, "rollback", appliance=appliance, to=to)


@command.command(epilog="Example: vafw config history office-laptop firewall")
@run_argument
@appliance_argument
@json_option
def history(run: RunDirectory, appliance: str, as_json: bool) -> int:
    """Print every generation of APPLIANCE: when, who, why."""
    answer = _ask(run, as_json, "history", appliance=appliance)
    if isinstance(answer, int):
        return answer
    if not as_json:
        for each in answer:
            at = each["at"][:19].replace("T", " ")
            print(f"{_number(each):>6}  {at}  {each['author']:<12} {each['note']}{_tried(each)}")
    return Output(as_json, "ConfigHistory").result(answer)


def _change(run: RunDirectory, as_json: bool, verb: str, **details: Value) -> int:
    answer = _ask(run, as_json, verb, **details)
    if isinstance(answer, int):
        return answer
    if not as_json:
        print("\n".join(_lines(answer)))
    return Output(as_json, "Config").result(answer)


def _ask(run: RunDirectory, as_json: bool, verb: str, **details: Value) -> Any:
    """The answer, or the exit code where documents are wrong, whose diagnostics are printed here."""
    try:
        return ask(run, "config", verb=verb, **details)
    except Answered as refused:
        if "rendered" not in refused.answer:
            raise
        if not as_json:
            print(refused.answer["rendered"], file=sys.stderr)
        code: ExitCode = refused.exit_code
        return Output(as_json, "Config").result(None, code, refused.answer["diagnostics"])


def _lines(state: Mapping[str, Any]) -> list[str]:
    desired, reported = state["desired"], state["reported"]
    said = "nothing reported yet"
    if reported:
        running = _number(reported["running"]) if reported["running"] else "what it was started with"
        said = f"{reported['outcome']}, {running} runs: {reported['reason']}"
    marker = "in sync" if state["in-sync"] else "not in sync"
    return [
        f"{state['appliance']}: generation {_number(desired)}, {marker}",
        f"  desired   {desired['note'] or 'no note'} ({desired['author']}, {desired['at'][:19].replace('T', ' ')})"
        f"{_tried(desired)}",
        f"  reported  {said}",
    ]


def _tried(entry: Mapping[str, Any]) -> str:
    """How a generation's trial stands, to be said behind it."""
    trial = entry["trial"]
    if not trial:
        return ""
    return f" [{trial['state']}: {trial['reason']}]" if trial["reason"] else f" [{trial['state']}]"


def _trial(within_s: float | None) -> dict[str, Value]:
    return {} if within_s is None else {"within-s": within_s}


def _seconds(text: str) -> float:
    """``30 s``, ``5 min`` or ``1 h`` in seconds; UsageError for anything else."""
    found = re.fullmatch(r"([0-9]{1,5}) ?(s|min|h)", text.strip())
    if not found or not int(found[1]):
        raise UsageError(f"a time must be written such as `30 s`, `5 min` or `1 h`, not {text!r}")
    return float(int(found[1]) * {"s": 1, "min": 60, "h": 3600}[found[2]])


def _number(version: Mapping[str, Any]) -> str:
    """The generation, with its epoch where that is not the first."""
    epoch, generation = version["epoch"], version["generation"]
    return str(generation) if epoch == 1 else f"{epoch}.{generation}"
