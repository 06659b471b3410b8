"""`vafw explain`: what an error code means."""

from __future__ import annotations

from difflib import get_close_matches

import click

from vafw.cli.options import json_option
from vafw.cli.output import Output
from vafw.errors import NoSuchObject


@click.command(epilog="Example: vafw explain VAFW-T031")
@click.argument("code")
@json_option
def command(code: str, as_json: bool) -> int:
    """Explain the error code CODE: what it means, an example, and what to do."""
    from vafw.document.codes import CODES as DOCUMENT_CODES  # deferred: tables of prose
    from vafw.plan.codes import CODES as PLAN_CODES

    codes = {**DOCUMENT_CODES, **PLAN_CODES}
    found = codes.get(code.upper())
    if found is None:
        nearest = get_close_matches(code.upper(), codes, n=1)
        raise NoSuchObject(f"there is no error code {code!r}", hint=f"did you mean {nearest[0]}?" if nearest else None)
    if not as_json:
        click.echo(f"{code.upper()}: {found.title}\n\n{found.cause}\n\nWhat to do: {found.remedy}")
        if found.example:
            click.echo(f"\n{found.example}")
    return Output(as_json, "Explain").result(
        {
            "code": code.upper(),
            "title": found.title,
            "cause": found.cause,
            "remedy": found.remedy,
            "example": found.example,
        }
    )
