"""`vafw config`: read and change what the appliances of a running topology are configured with."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click

from vafw.cli.config_asking import ask_config, marks_of, number_of, state_lines
from vafw.cli.config_signing import apply, change, key_option, propose, propose_option, sign, within_option
from vafw.cli.options import json_option, run_argument
from vafw.cli.output import Output
from vafw.supervisor.run_directory import RunDirectory
from vafw.trace import Value

_EXAMPLE: Final = "vafw config set office-laptop firewall 'traffic.rules[web].service=[https, quic]'"


@click.group(epilog=f"Example: {_EXAMPLE}")
def command() -> None:
    """Read and change what the appliances of a running topology are configured with."""


appliance_argument = click.argument("appliance")


@command.command(epilog="Example: vafw config get office-laptop firewall 'traffic.rules[web].action'")
@run_argument
@click.argument("appliance", required=False)
@click.argument("path", required=False)
@json_option
def get(run: RunDirectory, appliance: str | None, path: str | None, as_json: bool) -> int:
    """Print what APPLIANCE is to have against what it reports, or the value at PATH; without APPLIANCE, of all."""
    verb = "get" if appliance else "list"
    answer = ask_config(run, as_json, verb, appliance=appliance, path=path)
    if isinstance(answer, int):
        return answer
    if not as_json:
        states = answer if isinstance(answer, list) else [answer]
        if path is not None:
            print(states[0]["value"])
        else:
            for state in states:
                print("\n".join(state_lines(state)))
    return Output(as_json, "Config").result(answer)


@command.command("set", epilog=f"Example: {_EXAMPLE}")
@run_argument
@appliance_argument
@click.argument("changes", metavar="PATH=VALUE...", nargs=-1, required=True)
@within_option
@key_option
@propose_option
@json_option
def set_(
    run: RunDirectory,
    appliance: str,
    *,
    changes: tuple[str, ...],
    within_s: float | None,
    key: Path | None,
    out: Path | None,
    as_json: bool,
) -> int:
    """Change values of the policy or of APPLIANCE's config; the result is checked like the documents, then applied.

    PATH is `traffic....` of the policy or `config....` of the appliance; an entry of a list is named in brackets.
    The files stay as they are.
    """
    return change(run, as_json, "set", key, out, appliance=appliance, changes=list(changes), **_trial(within_s))


@command.command(epilog="Example: vafw config push office-laptop firewall")
@run_argument
@appliance_argument
@within_option
@key_option
@propose_option
@json_option
def push(
    run: RunDirectory, appliance: str, *, within_s: float | None, key: Path | None, out: Path | None, as_json: bool
) -> int:
    """Read the documents anew and give APPLIANCE what they say now."""
    return change(run, as_json, "push", key, out, appliance=appliance, **_trial(within_s))


@command.command(epilog="Example: vafw config confirm office-laptop firewall")
@run_argument
@appliance_argument
@key_option
@propose_option
@json_option
def confirm(run: RunDirectory, appliance: str, key: Path | None, out: Path | None, as_json: bool) -> int:
    """Keep the change of APPLIANCE that is on trial."""
    return change(run, as_json, "confirm", key, out, appliance=appliance)


@command.command(epilog="Example: vafw config rollback office-laptop firewall --to 3")
@run_argument
@appliance_argument
@click.option("--to", metavar="GENERATION", help="The generation to go back to; without it, the one before.")
@key_option
@propose_option
@json_option
def rollback(
    run: RunDirectory, appliance: str, *, to: str | None, key: Path | None, out: Path | None, as_json: bool
) -> int:
    """Give APPLIANCE the configuration of an earlier generation, as a new one."""
    return change(run, as_json, "rollback", key, out, appliance=appliance, to=to)


@command.command(epilog="Example: vafw config history office-laptop firewall")
@run_argument
@appliance_argument
@json_option
def history(run: RunDirectory, appliance: str, as_json: bool) -> int:
    """Print every generation of APPLIANCE: when, who, why."""
    answer = ask_config(run, as_json, "history", appliance=appliance)
    if isinstance(answer, int):
        return answer
    if not as_json:
        for each in answer:
            at = each["at"][:19].replace("T", " ")
            print(f"{number_of(each):>6}  {at}  {each['author']:<12} {each['note']}{marks_of(each)}")
    return Output(as_json, "ConfigHistory").result(answer)


def _trial(within_s: float | None) -> dict[str, Value]:
    return {} if within_s is None else {"within-s": within_s}


command.add_command(propose)
command.add_command(sign)
command.add_command(apply)
