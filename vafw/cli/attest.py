"""`vafw attest`: whether a machine is to be believed, and everything around it; each sub-verb imported when it is used.

`vafw attest NAME` attests that topology, as everybody wants most of the time; the other sub-verbs have names of their
own, and a topology called like one is named by its file.
"""

from __future__ import annotations

import click

from vafw.cli.subverbs import SubVerbs


class AttestVerbs(SubVerbs):
    """The sub-verbs of `vafw attest`."""

    verb = "attest"
    sentences = {  # noqa: RUF012 - never written
        "topology": "attest a running topology anew, or a fresh launch (the name may be left out)",
        "explain": "account for a fresh launch event by event: what diverged, and what to do",
        "log": "print an event log of any kind, and replay it",
        "enrol": "bind the TPM of a topology's platform to it, once",
    }


@click.command(
    cls=AttestVerbs,
    subcommand_metavar="NAME | SUB-VERB ...",
    epilog="Example: vafw attest office-laptop. `vafw attest topology --help` shows the options of that.",
)
def command() -> None:
    """Attest a topology (NAME: a running topology, or a topology file), or do one of the things around it."""
