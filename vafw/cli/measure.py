"""`vafw measure`: what components measure to, of a topology or of a machine that launches with TXT.

`vafw measure TOPOLOGY` is `vafw measure topology TOPOLOGY`; a topology in a file called ``components`` is named by its
path.
"""

from __future__ import annotations

import click

from vafw.cli.subverbs import SubVerbs


class MeasureVerbs(SubVerbs):
    """The sub-verbs of `vafw measure`."""

    verb = "measure"
    sentences = {  # noqa: RUF012 - never written
        "topology": "compute the reference values of a topology (the word may be left out)",
        "components": "measure the files of a machine that launches with TXT, and predict PCR 17 and 18",
    }


@click.command(
    cls=MeasureVerbs,
    subcommand_metavar="TOPOLOGY | SUB-VERB ...",
    epilog="Example: vafw measure policies/office-laptop/topology.yaml --write. "
    "`vafw measure topology --help` shows the options of that.",
)
def command() -> None:
    """Compute what components measure to, and predict the next launch."""
