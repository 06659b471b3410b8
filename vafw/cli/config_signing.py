"""`vafw config propose`, `sign` and `apply`, and what `--key` and `--propose` do to the other verbs.

What needs cryptography is imported when something is signed or read: asking and looking need none of it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vafw.cli.config_asking import ask_config, print_state, seconds_of
from vafw.cli.options import json_option, run_argument
from vafw.cli.output import Output
from vafw.errors import Refused, UsageError
from vafw.supervisor.run_directory import RunDirectory
from vafw.trace import Value

if TYPE_CHECKING:
    from vafw.control.proposal import Proposal
    from vafw.openssh.signature import Signature

key_option = click.option(
    "--key",
    type=click.Path(path_type=Path),
    help="Sign it with this OpenSSH key; enough where the policy asks for one signature.",
)
propose_option = click.option(
    "--propose",
    "out",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Change nothing, and write a proposal for people to sign.",
)
within_option = click.option(
    "--confirm-within",
    "within_s",
    metavar="TIME",
    callback=lambda _context, _option, value: None if value is None else seconds_of(value),
    help="Go back by itself unless `vafw config confirm` comes within TIME (`30 s`, `5 min`).",
)
file_argument = click.argument("file", type=click.Path(path_type=Path))


def change(
    run: RunDirectory, as_json: bool, kind: str, key: Path | None = None, out: Path | None = None, **details: Value
) -> int:
    """Make a change: without a signature, with one of `key`, or only as a proposal in `out`."""
    if key is None and out is None:
        return print_state(ask_config(run, as_json, kind, **details), as_json)
    if key is not None and out is not None:
        raise UsageError("either --key or --propose must be given, not both", hint="vafw config sign signs a proposal")
    answer = ask_config(run, as_json, "propose", kind=kind, **details)
    if isinstance(answer, int):
        return answer
    proposal = _proposed(answer, run, kind, details)
    if key is None:
        return _written(proposal, answer, out, as_json)
    _require_one_is_enough(answer, str(details["appliance"]))
    _say(proposal.shown(), as_json)
    return _applied(run, as_json, proposal.signed(_signature(key, proposal)))


@click.command(epilog="Example: vafw config propose research-lab dns 'config.block=[ads.txt]' --out change.json")
@run_argument
@click.argument("appliance")
@click.argument("changes", metavar="PATH=VALUE...", nargs=-1, required=True)
@within_option
@click.option(
    "--valid-for",
    "valid_s",
    metavar="TIME",
    callback=lambda _context, _option, value: None if value is None else seconds_of(value),
    help="How long it may be applied; 24 h where nothing is said, 168 h at most.",
)
@click.option(
    "--out", metavar="FILE", type=click.Path(path_type=Path), help="Where to; without it, to standard output."
)
@json_option
def propose(
    run: RunDirectory,
    appliance: str,
    *,
    changes: tuple[str, ...],
    within_s: float | None,
    valid_s: float | None,
    out: Path | None,
    as_json: bool,
) -> int:
    """Have the running machine compile a change of APPLIANCE, and write it down for people to sign."""
    details: dict[str, Value] = {"appliance": appliance, "changes": list(changes)}
    given = {"within-s": within_s, "valid-s": valid_s}
    details |= {name: value for name, value in given.items() if value is not None}
    answer = ask_config(run, as_json, "propose", kind="set", **details)
    if isinstance(answer, int):
        return answer
    return _written(_proposed(answer, run, "set", details), answer, out, as_json)


@click.command(epilog="Example: vafw config sign change.json --key ~/.ssh/id_ed25519")
@file_argument
@click.option("--key", type=click.Path(path_type=Path), help="An OpenSSH key, or the .pub file of one in an agent.")
@click.option(
    "--signature",
    "made",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Add what `ssh-keygen -Y sign -n vafw-config` made of the statement.",
)
@click.option("--statement", is_flag=True, help="Print the bytes to be signed, and nothing else.")
@click.option("--yes", is_flag=True, help="Do not ask whether to sign.")
@json_option
def sign(file: Path, *, key: Path | None, made: Path | None, statement: bool, yes: bool, as_json: bool) -> int:
    """Show what the proposal in FILE does, and add a signature to it."""
    if (key is not None) + (made is not None) + statement != 1:
        raise UsageError("one of --key, --signature and --statement must be given")
    proposal = _read(file)
    if statement:
        sys.stdout.buffer.write(proposal.statement.data)
        sys.stdout.flush()
        return 0
    _say(proposal.shown(), as_json)
    if key is not None and not yes and sys.stdin.isatty():
        click.confirm("Sign it?", abort=True, err=True)
    signature = _signature(key, proposal) if key is not None else _signature_in(made)
    signed = proposal.signed(signature)
    _replace(file, signed)
    if not as_json:
        print(f"{file}: signed by {signature.key.fingerprint}, {len(signed.signatures)} in all")
    data: dict[str, Value] = {"file": str(file), "signed-by": list(signed.fingerprints)}
    return Output(as_json, "ConfigSignature").result(data)


@click.command(epilog="Example: vafw config apply change.json")
@file_argument
@json_option
def apply(file: Path, as_json: bool) -> int:
    """Have the machine that the proposal in FILE is for do what was signed."""
    proposal = _read(file)
    return _applied(RunDirectory(proposal.statement.workstation), as_json, proposal)


def _applied(run: RunDirectory, as_json: bool, proposal: Proposal) -> int:
    appliance, approval = proposal.statement.appliance, proposal.approval.to_json()
    return print_state(ask_config(run, as_json, "apply", appliance=appliance, approval=approval), as_json)


def _proposed(answer: Mapping[str, Any], run: RunDirectory, kind: str, details: Mapping[str, Value]) -> Proposal:
    """The machine's proposal; Refused where it is of something else than it was asked for."""
    from vafw.control.proposal import Proposal  # deferred: see above

    proposal = Proposal.of_answer(dict(answer))
    stated = proposal.statement
    asked = (kind, run.name, details["appliance"], details.get("changes", []), details.get("within-s"))
    if (stated.kind, stated.workstation, stated.appliance, list(stated.changes), stated.trial_s) != asked:
        raise Refused(f"{run.name} must propose what it was asked for, and proposes something else")
    return proposal


def _written(proposal: Proposal, answer: Mapping[str, Any], out: Path | None, as_json: bool) -> int:
    wanted = (
        f"{answer['required']} of {', '.join(answer['people'])} must sign it"
        if answer["required"]
        else ("nobody needs to sign it")
    )
    if out is not None:
        _replace(out, proposal)
        _say(proposal.shown(), as_json)
    elif not as_json:
        print(proposal.text, end="")
    _say([f"{out or 'proposed'}: {wanted}"], as_json)
    data: dict[str, Value] = {
        "file": str(out) if out else None,
        "statement": proposal.statement.to_json(),
        "difference": list(proposal.difference()),
        "required": answer["required"],
        "people": answer["people"],
    }
    return Output(as_json, "ConfigProposal").result(data)


def _require_one_is_enough(answer: Mapping[str, Any], appliance: str) -> None:
    required, people = answer["required"], ", ".join(answer["people"])
    if required == 0:
        raise UsageError(f"nobody needs to sign changes of {appliance}", hint="leave --key out")
    if required > 1:
        raise Refused(
            f"configuring {appliance} must be signed by {required} of {people}, and --key gives one signature",
            hint="--propose change.json writes it down; each signs it with vafw config sign change.json --key KEY, "
            "then vafw config apply change.json",
        )


def _signature(key: Path, proposal: Proposal) -> Signature:
    from vafw.control.approval import NAMESPACE  # deferred: see above
    from vafw.openssh.signing import sign_with

    return sign_with(key.expanduser(), proposal.statement.data, NAMESPACE)


def _signature_in(file: Path | None) -> Signature:
    """A signature that ssh-keygen wrote to a file; line ends of another system are no part of it."""
    from vafw.openssh.signature import Signature  # deferred: see above

    assert file is not None, "one of the three is given"
    return Signature.parse(file.read_text(encoding="ascii", errors="replace").strip() + "\n")


def _read(file: Path) -> Proposal:
    from vafw.control.proposal import Proposal  # deferred: see above

    return Proposal.read(file.read_bytes())


def _replace(file: Path, proposal: Proposal) -> None:
    partial = file.with_name(f".{file.name}.partial")
    partial.write_text(proposal.text, encoding="utf-8")
    partial.replace(file)


def _say(lines: Iterable[str], as_json: bool) -> None:
    """Say something on the way, which is no result."""
    if not as_json:
        print("\n".join(lines), file=sys.stderr)
