"""Configurations that people sign, against a machine that is up: from the proposal to the agent, and ways round it."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.cli.people import People
from tests.cli.running import PATIENCE_S, running
from tests.conftest import Vafw
from vafw.control.access import Access
from vafw.control.approval import Approval, Statement
from vafw.control.broker_mosquitto import installed
from vafw.control.envelope import Version, digest_of, seal, stamp
from vafw.control.proposal import Proposal
from vafw.control.topics import CONTROLLER, DESIRED, Place, topic
from vafw.errors import ExitCode
from vafw.openssh.signing import sign_with
from vafw.supervisor.requests import Answered, ask
from vafw.supervisor.run_directory import RunDirectory
from vafw.trace import EventKind

NAME, FIREWALL = "office-laptop", ("office-laptop", "firewall")
CHANGE = "traffic.rules[web].service=[https, quic]"
needs_ssh_keygen = pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="ssh-keygen is not installed")


def data(out: str) -> Any:
    return json.loads(out)["data"]


@pytest.fixture(autouse=True)
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VAFW_RUN_DIR", str(tmp_path / "run"))
    return tmp_path / "run"


@pytest.fixture
def people(tmp_path: Path) -> People:
    return People.made_in(tmp_path / "keys")


@pytest.fixture
def of_two(lab: Path, people: People) -> Path:
    """The shipped example, where the firewall takes what anna and ben have signed, and the DNS filter ben and carla."""
    people.declare(lab, "anna", "ben", "carla", signatures=2)
    return lab


@pytest.fixture
def machine(of_two: Path, runs: Path) -> Iterator[Path]:
    with running(of_two, runs):
        yield of_two


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "change.json"


def proposed(vafw: Vafw, file: Path, people: People, *names: str, appliance: str = "firewall") -> Path:
    """A proposal that these people have signed."""
    assert vafw("config", "propose", NAME, appliance, CHANGE, "--out", file).code == 0
    for name in names:
        assert vafw("config", "sign", file, "--key", people.key(name)).code == 0
    return file


def applied(vafw: Vafw, file: Path) -> str:
    """What applying a proposal that is refused says."""
    done = vafw("config", "apply", file)
    assert done.code == ExitCode.REFUSED
    return done.err.splitlines()[0].removeprefix("error: ")


def state(vafw: Vafw) -> tuple[int, str, bool]:
    now = data(vafw("config", "get", *FIREWALL, "--json").out)
    return now["desired"]["generation"], now["reported"]["outcome"], now["in-sync"]


def until(holds: Callable[[], Any]) -> Any:
    """Ask again until it holds."""
    deadline = time.monotonic() + PATIENCE_S
    while not (found := holds()):
        assert time.monotonic() < deadline, "it did not hold in time"
    return found


SHOWN = """\
set of firewall on office-laptop: generation 1.1 is followed by 1.2
  traffic.rules[web].service=[https, quic]
to be applied before EXPIRY
- ruleset.rules[web].services[0]: {"icmp-types": [], "ports": ["80"], "protocol": 6}
- ruleset.rules[web].services[1]: {"icmp-types": [], "ports": ["443"], "protocol": 6}
- ruleset.rules[web].services[2]: {"icmp-types": [], "ports": ["443"], "protocol": 17}
+ ruleset.rules[web].services[0]: {"icmp-types": [], "ports": ["443"], "protocol": 6}
+ ruleset.rules[web].services[1]: {"icmp-types": [], "ports": ["443"], "protocol": 17}
"""


@needs_ssh_keygen
def test_two_people_sign_and_it_is_applied_one_of_them_with_ssh_keygen(
    machine: Path, people: People, file: Path, tmp_path: Path, vafw: Vafw
) -> None:
    made = vafw("config", "propose", *FIREWALL, CHANGE, "--out", file)
    assert (made.code, made.out) == (0, "")
    assert re.sub(r"before \S+", "before EXPIRY", made.err) == f"{SHOWN}{file}: 2 of anna, ben must sign it\n"

    signed = vafw("config", "sign", file, "--key", people.key("anna"))
    assert re.sub(r"before \S+", "before EXPIRY", signed.err) == SHOWN
    assert signed.out == f"{file}: signed by {people.public('anna').fingerprint}, 1 in all\n"
    assert applied(vafw, file) == (
        "a change to generation 1.2 of firewall must be signed by 2 of anna, ben, and is signed by anna"
    )

    statement = tmp_path / "statement"
    statement.write_text(vafw("config", "sign", file, "--statement").out)
    command = ["ssh-keygen", "-q", "-Y", "sign", "-n", "vafw-config", "-f", str(people.key("ben")), str(statement)]
    subprocess.run(command, check=True, capture_output=True)
    by_hand = vafw("config", "sign", file, "--signature", f"{statement}.sig")
    assert by_hand.out == f"{file}: signed by {people.public('ben').fingerprint}, 2 in all\n"

    done = vafw("config", "apply", file)
    assert done.code == 0
    assert "firewall: generation 2, in sync\n" in done.out
    assert "[signed by anna, ben]\n" in done.out
    history = data(vafw("config", "history", *FIREWALL, "--json").out)
    assert [(each["generation"], each["signers"]) for each in history] == [(2, ["anna", "ben"]), (1, [])]
    assert vafw("config", "history", *FIREWALL).out.splitlines()[0].endswith(f"set {CHANGE} [signed by anna, ben]")
    assert applied(vafw, file) == "what was signed must build on what is committed, generation 1.2, not on 1.1"
    assert state(vafw) == (2, "applied", True)


def test_json_says_the_same(machine: Path, people: People, file: Path, vafw: Vafw) -> None:
    made = data(vafw("config", "propose", *FIREWALL, CHANGE, "--out", file, "--json").out)
    assert (made["file"], made["required"], made["people"]) == (str(file), 2, ["anna", "ben"])
    assert made["difference"] == SHOWN.splitlines()[3:]
    assert made["statement"] == json.loads(file.read_text())["statement"]
    signed = data(vafw("config", "sign", file, "--key", people.key("anna"), "--json").out)
    assert signed == {"file": str(file), "signed-by": [people.public("anna").fingerprint]}
    refused = json.loads(vafw("config", "apply", file, "--json").out)
    assert refused["exit"] == {"code": 22, "class": "refused"}
    printed = vafw("config", "propose", *FIREWALL, CHANGE)
    assert json.loads(printed.out)["statement"]["changes"] == [CHANGE]


def test_what_nobody_signed_is_refused_with_what_to_do(machine: Path, people: People, file: Path, vafw: Vafw) -> None:
    unsigned = "configuring firewall must be signed by 2 of anna, ben, and this is not signed"
    for request in (("set", *FIREWALL, CHANGE), ("push", *FIREWALL), ("rollback", *FIREWALL), ("confirm", *FIREWALL)):
        done = vafw("config", *request)
        assert (done.code, done.err.splitlines()[0]) == (ExitCode.REFUSED, f"error: {unsigned}")
    assert "--out change.json, then sign change.json --key KEY, then apply change.json; 2 people sign" in done.err
    one = vafw("config", "set", *FIREWALL, CHANGE, "--key", people.key("anna"))
    said = "error: configuring firewall must be signed by 2 of anna, ben, and --key gives one signature"
    assert (one.code, one.err.splitlines()[0]) == (ExitCode.REFUSED, said)
    assert "--propose change.json writes it down; each signs it with vafw config sign change.json" in one.err
    assert state(vafw) == (1, "applied", True)


def test_the_wrong_people_the_wrong_appliance_and_altered_files_are_refused(
    machine: Path, people: People, file: Path, vafw: Vafw
) -> None:
    proposed(vafw, file, people, "anna", "carla")
    assert applied(vafw, file) == (
        "a change to generation 1.2 of firewall must be signed by 2 of anna, ben, not by carla"
    )
    proposed(vafw, file, people, "anna", "ben", appliance="dns")
    assert applied(vafw, file) == "a change to generation 1.2 of dns must be signed by 2 of ben, carla, not by anna"
    proposed(vafw, file, people, "anna")
    twice = vafw("config", "sign", file, "--key", people.key("anna"))
    said = f"error: each key must sign once, and {people.public('anna').fingerprint} has signed already\n"
    assert (twice.code, twice.err.splitlines(keepends=True)[-1]) == (ExitCode.USAGE, said)
    whole = json.loads(file.read_text())
    for part, value, what in (
        ("after", {}, "its configurations are not those that its statement is about"),
        ("difference", [], "the difference that it shows is not that of its two configurations"),
        ("kind", "x", "it has other keys, or is of another kind"),
        ("signatures", ["x"], "a signature must be an SSHSIG by an ssh-ed25519 key, as ssh-keygen -Y sign writes it: "),
    ):
        file.write_text(json.dumps({**whole, part: value}))
        altered = vafw("config", "apply", file)
        assert altered.code == ExitCode.INVALID_DOCUMENT
        assert f"error: a proposal must be as vafw config propose wrote it: {what}" in altered.err
    assert state(vafw) == (1, "applied", True)


def test_an_older_generation_an_expired_one_and_another_machine_are_refused(
    machine: Path, people: People, file: Path, tmp_path: Path, vafw: Vafw
) -> None:
    older = proposed(vafw, tmp_path / "older.json", people, "anna", "ben")
    assert vafw("config", "apply", proposed(vafw, file, people, "ben", "anna")).code == 0
    assert applied(vafw, older) == "what was signed must build on what is committed, generation 1.2, not on 1.1"

    genuine = Proposal.read(proposed(vafw, file, people).read_bytes()).statement.to_json()
    passed = datetime.now(UTC) - timedelta(minutes=1)
    for different, said in (
        (
            {"expires": stamp(passed)},
            rf"a change to generation 1\.3 of firewall must be made before {stamp(passed)}, and it is \S+; sign it "
            "anew",
        ),
        ({"workstation": "kiosk"}, "what was signed must be for office-laptop firewall, not for kiosk firewall"),
        ({"appliance": "dns"}, "what was signed must be for office-laptop firewall, not for office-laptop dns"),
        (
            {"controller": f"sha256:{'0' * 64}"},
            "what was signed must be for this installation of office-laptop, and is for another one",
        ),
        (
            {"after": digest_of({})},
            rf"what was signed must come to {digest_of({})}, and comes to {genuine['after']}",
        ),
    ):
        statement = Statement.from_json({**genuine, **different})
        signatures = (sign_with(people.key(name), statement.data, "vafw-config") for name in ("anna", "ben"))
        approval = Approval(statement, tuple(map(str, signatures)))
        with pytest.raises(Answered) as refused:
            ask(RunDirectory(NAME), "config", verb="apply", appliance="firewall", approval=approval.to_json())
        assert re.fullmatch(said, refused.value.message)
        assert refused.value.exit_code == ExitCode.REFUSED
    assert state(vafw) == (2, "applied", True)


def test_a_trial_needs_people_to_stay_and_nobody_to_go_back(
    machine: Path, people: People, file: Path, vafw: Vafw
) -> None:
    def signed(*request: object) -> Any:
        assert vafw("config", *request).code == 0
        for name in ("anna", "ben"):
            assert vafw("config", "sign", file, "--key", people.key(name)).code == 0
        return vafw("config", "apply", file)

    tried = signed("propose", *FIREWALL, CHANGE, "--confirm-within", "5 min", "--out", file)
    assert "on-trial, 2 runs: it goes back at " in tried.out
    assert vafw("config", "confirm", *FIREWALL).code == ExitCode.REFUSED
    kept = signed("confirm", *FIREWALL, "--propose", file)
    assert (kept.code, "confirmed, 2 runs: it was confirmed in time" in kept.out) == (0, True)
    first = vafw("config", "history", *FIREWALL).out.splitlines()[0]
    assert first.endswith("[signed by anna, ben] [confirmed by anna, ben]")

    signed("propose", *FIREWALL, "traffic.default=reject", "--confirm-within", "1 s", "--out", file)
    until(lambda: state(vafw) == (4, "applied", True))
    assert data(vafw("config", "get", *FIREWALL, "--json").out)["desired"]["signers"] == ["anna", "ben"]


def test_one_signature_is_made_on_the_way_with_a_key(
    lab: Path, runs: Path, people: People, file: Path, vafw: Vafw
) -> None:
    people.declare(lab, "anna", "ben", signatures=1)
    with running(lab, runs):
        assert "[signed by anna]\n" in vafw("config", "set", *FIREWALL, CHANGE, "--key", people.key("anna")).out
        trial = ("--confirm-within", "5 min", "--key", people.key("ben"))
        assert "[signed by ben] [on trial]\n" in vafw("config", "set", *FIREWALL, "traffic.default=reject", *trial).out
        assert "[confirmed by anna]" in vafw("config", "confirm", *FIREWALL, "--key", people.key("anna")).out
        back = vafw("config", "rollback", *FIREWALL, "--to", "1", "--key", people.key("ben"))
        assert "firewall: generation 4, in sync\n" in back.out
        assert vafw("config", "push", *FIREWALL, "--key", people.key("anna")).code == 0
        stranger = vafw("config", "set", *FIREWALL, CHANGE, "--key", people.key("carla"))
        said = "a change to generation 1.6 of firewall must be signed by 1 of anna, ben, not by another key"
        assert (stranger.code, stranger.err.splitlines()[-1]) == (ExitCode.REFUSED, f"error: {said}")
        both = vafw("config", "push", *FIREWALL, "--key", people.key("anna"), "--propose", file)
        assert (both.code, "either --key or --propose must be given, not both" in both.err) == (ExitCode.USAGE, True)


def test_documents_that_were_edited_after_the_signing_are_not_pushed(
    machine: Path, people: People, file: Path, vafw: Vafw
) -> None:
    policy = machine.with_name("policy.yaml")
    policy.write_text(policy.read_text().replace("service: [http, https, quic]", "service: [https]"))
    assert vafw("config", "push", *FIREWALL, "--propose", file).code == 0
    for name in ("anna", "ben"):
        vafw("config", "sign", file, "--key", people.key(name))
    policy.write_text(policy.read_text().replace("service: [https]", "service: [https, quic]"))
    assert re.fullmatch(r"what was signed must come to sha256:\w+, and comes to sha256:\w+", applied(vafw, file))
    policy.write_text(policy.read_text().replace("service: [https, quic]", "service: [https]"))
    assert vafw("config", "apply", file).code == 0


def test_where_nobody_is_declared_nobody_signs(lab: Path, runs: Path, people: People, file: Path, vafw: Vafw) -> None:
    with running(lab, runs):
        keyed = vafw("config", "set", *FIREWALL, CHANGE, "--key", people.key("anna"))
        assert (keyed.code, "nobody needs to sign changes of firewall" in keyed.err) == (ExitCode.USAGE, True)
        made = vafw("config", "propose", *FIREWALL, CHANGE, "--out", file)
        assert made.err.splitlines()[-1] == f"{file}: nobody needs to sign it"
        unsigned = file.read_text()
        vafw("config", "sign", file, "--key", people.key("anna"))
        assert applied(vafw, file) == (
            "a signature must be of somebody whom the policy declares, and office-laptop has nobody declared"
        )
        file.write_text(unsigned)
        assert "firewall: generation 2, in sync\n" in vafw("config", "apply", file).out


# -- past the controller --------------------------------------------------------------------------------------


async def publish_as_the_controller(runs: Path, message: bytes) -> None:
    """With the controller's own certificate, which lies beside the broker's."""
    folder = runs / NAME / "broker"
    port = int(re.findall(r"^listener (\d+) ", (folder / "mosquitto.conf").read_text(), re.MULTILINE)[0])
    pem = [(folder / each).read_text() for each in ("ca.pem", f"{CONTROLLER}.pem", f"{CONTROLLER}.key")]
    line = Access(CONTROLLER, *pem).line("127.0.0.1", port, patience_s=PATIENCE_S)
    async with line.connect() as bus:
        await bus.publish(topic(*FIREWALL, DESIRED), message, retain=True)


@pytest.mark.skipif(installed() is None, reason="mosquitto is not installed on this host")
def test_who_has_the_controllers_key_and_the_broker_is_refused_by_the_agent_and_reported(
    machine: Path, runs: Path, vafw: Vafw
) -> None:
    key = Ed25519PrivateKey.from_private_bytes((runs / NAME / "state" / "controller.key").read_bytes())
    message = seal(
        Place(*FIREWALL, DESIRED),
        Version(1, 2),
        {"ruleset": {}},
        key,
        now=datetime.now(UTC),
        lifetime=timedelta(hours=1),
    )
    asyncio.run(publish_as_the_controller(runs, message))

    def refusals() -> list[Any]:
        events = RunDirectory(NAME, runs).events()
        said = [each["detail"] for each in events if each["kind"] == EventKind.CONFIG_REPORTED]
        return [each for each in said if isinstance(each, dict) and each["outcome"] == "refused"]

    (refused, *_) = until(refusals)
    assert refused["reason"] == (
        "a change to generation 1.2 of firewall must be signed by 2 of anna, ben, and is signed by nobody"
    )
    assert (refused["running"], refused["asked"]) == (Version(1, 1).to_json(), Version(1, 2).to_json())
    until(lambda: state(vafw) == (1, "applied", True))  # the controller is back and has said again what is committed


# -- over restarts --------------------------------------------------------------------------------------------


def test_what_was_signed_is_in_force_at_the_next_start_until_who_signed_it_may_no_longer(
    of_two: Path, runs: Path, people: People, file: Path, vafw: Vafw
) -> None:
    with running(of_two, runs):
        assert vafw("config", "apply", proposed(vafw, file, people, "anna", "ben")).code == 0
        vafw("down", NAME)
    with running(of_two, runs):
        assert state(vafw)[::2] == (2, True)
        vafw("down", NAME)
    people.declare(of_two, "anna", "carla", signatures=1)
    with running(of_two, runs):
        assert state(vafw)[::2] == (3, True)
        note = data(vafw("config", "history", *FIREWALL, "--json").out)[0]["note"]
    assert note == (
        "from the documents, for generation 1.2 is not allowed any more: a change to generation 1.2 of firewall must "
        "be signed by 1 of anna, not by another key"
    )


def test_a_ledger_that_was_written_into_is_not_put_in_force(
    of_two: Path, runs: Path, people: People, file: Path, vafw: Vafw
) -> None:
    with running(of_two, runs):
        assert vafw("config", "apply", proposed(vafw, file, people, "anna", "ben")).code == 0
        vafw("down", NAME)
    with closing(sqlite3.connect(runs / NAME / "state" / "ledger.sqlite", isolation_level=None)) as ledger:
        (body,) = ledger.execute("SELECT body FROM desired WHERE appliance = 'firewall'").fetchone()
        opened = json.loads(body.replace('"443"', '"1-65535"'))
        for table in ("desired", "history"):
            ledger.execute(
                f"UPDATE {table} SET body = ?, digest = ? WHERE appliance = 'firewall' AND generation = 2",
                (json.dumps(opened), digest_of(opened)),
            )
    with running(of_two, runs):
        history = data(vafw("config", "history", *FIREWALL, "--json").out)
        assert state(vafw)[::2] == (3, True)
    assert history[0]["digest"] == history[2]["digest"] != history[1]["digest"]
    assert "is not allowed any more: what was signed leads to generation 1.2 with " in history[0]["note"]
