"""The `vafw` command: finds the verb, imports only what it needs, and turns every error into its exit code.

Results go to standard output, everything said on the way to standard error. With `--json` standard output holds exactly
one JSON document, also when the verb fails.
"""

from __future__ import annotations

import gc
import importlib
import io
import os
import sys
from typing import Final

import click

from vafw import __version__
from vafw.errors import ExitCode, VafwError

os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
"""A plugin of another package has no business in these documents, and looking for plugins costs a tenth of a start."""

VERBS: Final = {
    "check": "find every error of every file, each with its remedy",
    "plan": "print what `up` would bring up, and what would change",
    "policy": "ask a policy: test its proofs, explain a packet, compare, replay, compile",
    "up": "bring a topology up: launch, attest, gate, VMs, traffic",
    "status": "show a running topology, or how its last run ended",
    "down": "stop a running topology",
    "config": "read and change what the appliances of a running topology have",
    "attest": "attest a running topology anew, or a fresh launch",
    "attack": "run attacks on the model, and see which mechanism stops each",
    "ledger": "read, verify and export the record of enrolments and gate decisions",
    "verifier": "appraise machines for as long as it runs, asked over MQTT",
    "measure": "compute the reference values of the components",
    "tui": "look at, edit and run a topology in the terminal",
    "graph": "draw a topology: ascii, mermaid, dot or svg",
    "capture": "save the user's screen as PNG",
    "logs": "print the events of a run",
    "model": "look into modelled hardware, or into tables dumped from real hardware",
    "schema": "print the JSON Schema of a kind of document",
    "explain": "explain an error code",
}

COLLECT_AFTER: Final = 100_000
"""Objects that are made before cycles are looked for: what documents become has none, and a long policy is a million
objects that would be walked hundreds of times (a quarter of ``policy compile`` with ten thousand rules)."""


class Verbs(click.Group):
    """The verbs, each imported when it is used."""

    def list_commands(self, _context: click.Context) -> list[str]:
        """Every verb, in the order a person meets them."""
        return list(VERBS)

    def get_command(self, _context: click.Context, name: str) -> click.Command | None:
        """Import the verb's module, which offers it under its own name."""
        if name not in VERBS:
            return None
        gc.disable()  # imports make much and drop nothing: collecting meanwhile costs a tenth of the start
        command = getattr(importlib.import_module(f"vafw.cli.{name}"), "command")  # noqa: B009
        gc.freeze()
        gc.set_threshold(COLLECT_AFTER)
        gc.enable()
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, context: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Name the nearest verb where the one given does not exist."""
        if args and args[0] not in VERBS and not args[0].startswith("-"):
            from difflib import get_close_matches  # deferred: only a mistyped verb needs it

            nearest = get_close_matches(args[0], VERBS, n=1)
            hint = f"did you mean '{nearest[0]}'?" if nearest else f"it must be one of {', '.join(VERBS)}"
            raise click.UsageError(f"there is no verb '{args[0]}'; {hint}", context)
        return super().resolve_command(context, args)

    def format_commands(self, _context: click.Context, formatter: click.HelpFormatter) -> None:
        """List the verbs from their table, without importing them."""
        with formatter.section("Verbs"):
            formatter.write_dl(list(VERBS.items()))


@click.group(
    cls=Verbs,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Start with: vafw up policies/office-laptop/topology.yaml --until-idle",
    subcommand_metavar="VERB ...",
)
@click.version_option(__version__, message="vafw %(version)s")
def vafw() -> None:
    """Moves a PC's network card out of the user's OS and behind attested security appliances."""


def main() -> None:
    """Run the command line and exit with its code; a stream that cannot carry a sign gets a question mark for it."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run one command line and return its exit code."""
    from vafw.cli.output import Output  # deferred: `--version` and `--help` need none of it

    output = Output.for_arguments(arguments)
    try:
        code = vafw.main(arguments, prog_name="vafw", standalone_mode=False)
        return int(code) if isinstance(code, int) else ExitCode.DONE
    except VafwError as error:
        return output.failure(error)
    except click.ClickException as error:
        return output.usage(error)
    except (KeyboardInterrupt, click.Abort):
        return output.interrupted()
    except BrokenPipeError:
        return output.closed_pipe()
    except OSError as error:  # a file that was named on the command line and cannot be had; anything else is a fault
        return output.failure(_about_file(error)) if error.filename else output.fault(error)
    except MemoryError as error:
        return output.failure(_about_memory(error))
    except Exception as error:  # a fault of this program: said as such, in the form that was asked for
        return output.fault(error)


def _about_memory(error: MemoryError) -> VafwError:
    text = f"there must be more memory for this: {error}" if str(error) else "there must be more memory for this"
    return VafwError(text, hint="rules that name many sources and many destinations crosswise cost most to prove")


def _about_file(error: OSError) -> VafwError:
    return VafwError(f"{os.fsdecode(error.filename)}: {(error.strerror or str(error)).lower()}")
