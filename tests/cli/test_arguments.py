"""What the command line says about itself, and to those who mistype it."""

from __future__ import annotations

import json

import click
import pytest

from tests.conftest import Vafw
from vafw import __version__
from vafw.cli.main import VERBS
from vafw.cli.main import vafw as root
from vafw.errors import ExitCode


def test_the_version_is_one_line(vafw: Vafw) -> None:
    assert vafw("--version").out == f"vafw {__version__}\n"


def test_help_lists_every_verb_and_says_where_to_start(vafw: Vafw) -> None:
    said = vafw("--help").out
    assert [verb for verb in VERBS if f"\n  {verb} " not in said] == []
    assert "Start with: vafw up policies/office-laptop/topology.yaml" in said


def test_help_fits_in_eighty_columns(vafw: Vafw, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    wide = [line for verb in VERBS for line in vafw(verb, "--help").out.splitlines() if len(line) > 80]
    assert wide == []


@pytest.mark.parametrize("verb", VERBS)
def test_the_help_of_each_verb_has_an_example(vafw: Vafw, verb: str) -> None:
    done = vafw(verb, "--help")
    assert (done.code, f"Example: vafw {verb} " in done.out) == (ExitCode.DONE, True)


def commands(name: str) -> list[str]:
    """The verb, or each verb below it where it is a group of them."""
    context = click.Context(root)
    command = root.get_command(context, name)
    if not isinstance(command, click.Group):
        return [name]
    return [f"{name} {each}" for each in command.list_commands(context)]


@pytest.mark.parametrize("command", [each for verb in VERBS if verb != "tui" for each in commands(verb)])
def test_each_command_but_the_screen_offers_json(vafw: Vafw, command: str) -> None:
    assert "--json" in vafw(*command.split(), "--help").out


@pytest.mark.parametrize(
    ("typed", "meant"), [("chekc", "check"), ("stauts", "status"), ("ups", "up"), ("plann", "plan")]
)
def test_an_unknown_verb_is_answered_with_the_nearest_refused(vafw: Vafw, typed: str, meant: str) -> None:
    done = vafw(typed)
    assert (done.code, done.out) == (ExitCode.USAGE, "")
    assert f"error: there is no verb '{typed}'; did you mean '{meant}'?\n" in done.err


def test_a_verb_like_no_other_is_answered_with_all_of_them_refused(vafw: Vafw) -> None:
    done = vafw("xyzzy")
    assert done.code == ExitCode.USAGE
    assert f"error: there is no verb 'xyzzy'; it must be one of {', '.join(VERBS)}\n" in done.err


def test_a_missing_argument_is_refused(vafw: Vafw) -> None:
    assert vafw("check").err == (
        "usage: vafw check [OPTIONS] TOPOLOGY\nerror: missing argument 'TOPOLOGY'\nhint: vafw check --help\n"
    )


def test_an_unknown_option_is_refused(vafw: Vafw, office: str) -> None:
    done = vafw("plan", office, "--exit-cod")
    assert done.code == ExitCode.USAGE
    assert "error: no such option '--exit-cod'. Did you mean '--exit-code'?\n" in done.err


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ([], ExitCode.USAGE),
        (["xyzzy"], ExitCode.USAGE),
        (["check"], ExitCode.USAGE),
        (["check", "a", "b"], ExitCode.USAGE),
        (["check", "nowhere.yaml"], ExitCode.INVALID_DOCUMENT),
        (["plan", "nowhere.yaml"], ExitCode.INVALID_DOCUMENT),
        (["graph", "nowhere.yaml"], ExitCode.INVALID_DOCUMENT),
        (["graph", "nowhere.yaml", "--format", "png"], ExitCode.USAGE),
        (["measure", "nowhere.yaml"], ExitCode.INVALID_DOCUMENT),
        (["up", "nowhere.yaml"], ExitCode.INVALID_DOCUMENT),
        (["up", "nowhere.yaml", "--pcap", "nowhere.pcap"], ExitCode.USAGE),
        (["up", "nowhere.yaml", "--for", "soon"], ExitCode.USAGE),
        (["attest", "nowhere.yaml"], ExitCode.INVALID_DOCUMENT),
        (["attest", "nobody"], ExitCode.NOT_RUNNING),
        (["status", "nobody"], ExitCode.NOT_RUNNING),
        (["status", "nowhere.yaml"], ExitCode.INVALID_DOCUMENT),
        (["down", "nobody"], ExitCode.NOT_RUNNING),
        (["logs", "nobody"], ExitCode.NOT_RUNNING),
        (["capture", "nobody"], ExitCode.USAGE),
        (["capture", "nobody", "--display", "x.png"], ExitCode.NOT_RUNNING),
        (["schema", "topologi"], ExitCode.NO_SUCH_OBJECT),
        (["explain", "VAFW-X999"], ExitCode.NO_SUCH_OBJECT),
    ],
    ids=str,
)
def test_a_failure_is_one_json_document_with_code_class_and_message(
    vafw: Vafw, arguments: list[str], code: ExitCode
) -> None:
    done = vafw(*arguments, "--json")
    document = json.loads(done.out)
    assert (done.code, done.err) == (code, "")
    assert document["exit"] == {"code": int(code), "class": code.exit_class}
    assert (document["vafw"], document["apiVersion"]) == (__version__, "vafw/v1")
    assert all(each["severity"] == "error" and each["message"] for each in document["diagnostics"])
    assert document["diagnostics"]


def test_a_fault_of_vafw_is_said_as_such_and_is_json_too(vafw: Vafw, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vafw.cli.explain.get_close_matches", None)
    done = vafw("explain", "VAFW-X999", "--json")
    document = json.loads(done.out)
    assert done.code == ExitCode.FAILED
    assert document["diagnostics"][0]["message"].startswith("this is a fault of vafw, please report it: TypeError")
    assert "Traceback" in done.err
