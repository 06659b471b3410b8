"""Who may write and read which topic: one table, from which the access lists, the agent's checks and the page come.

    vafw/1/<workstation>/<appliance>/<leaf>    on the broker of a run
    vafw/1/attest/<platform>/<leaf>            on the broker between machines and their verifier

Not the messages themselves (`envelope`). The hard part is `covers`: a subscription is allowed only where every topic it
can ever match is allowed, so ``a/+`` does not cover ``a/#``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from vafw.errors import VafwError

ROOT: Final = "vafw/1"
"""First levels of every topic: the product and the major version of the messages."""
CONTROLLER: Final = "controller.vafw"
"""The controller's identity; no appliance can carry it, for a dot stands in no document's names."""
VERIFIER: Final = "vafw-verifier"
"""What a verifier calls itself in its results, and at the broker."""
ATTEST: Final = f"{ROOT}/attest"
"""First levels of what machines and verifiers say to each other."""
_NAME: Final = re.compile(r"[a-z][a-z0-9-]{0,62}")


class Role(StrEnum):
    """Who is on the bus."""

    CONTROLLER = "controller"
    AGENT = "agent"
    """The agent of one appliance; it sees that appliance's topics and no others."""
    MACHINE = "machine"
    """A machine that is attested; it sees its own platform's topics and no others."""
    VERIFIER = "verifier"


@dataclass(frozen=True, slots=True)
class Leaf:
    """One kind of topic below an appliance, or below a platform."""

    name: str
    writer: Role
    reader: Role
    retained: bool
    payload: str
    meaning: str


DESIRED: Final = Leaf(
    "desired",
    Role.CONTROLLER,
    Role.AGENT,
    True,
    "envelope signed by the controller; empty: the appliance is no longer managed",
    "The configuration that the appliance is to have.",
)
REPORTED: Final = Leaf(
    "reported",
    Role.AGENT,
    Role.CONTROLLER,
    True,
    "envelope signed by the agent",
    "What runs, what was asked last, and what became of it with the reason.",
)
AVAIL: Final = Leaf(
    "avail",
    Role.AGENT,
    Role.CONTROLLER,
    True,
    "JSON: `state` (online, lost), `session`",
    "Birth message and last will; a `lost` of another session than the last `online` is stale.",
)
EVENT: Final = Leaf(
    "event",
    Role.AGENT,
    Role.CONTROLLER,
    False,
    "envelope signed by the agent",
    "Each refusal and each change as it happens, for a log; nothing is decided by it.",
)
LEAVES: Final = (DESIRED, REPORTED, AVAIL, EVENT)
"""The table of an appliance."""
ASK: Final = Leaf("ask", Role.MACHINE, Role.VERIFIER, False, "JSON: `id`", "Asks for a challenge.")
CHALLENGE: Final = Leaf(
    "challenge",
    Role.VERIFIER,
    Role.MACHINE,
    False,
    "JSON: `id`, and `nonce` or `error`",
    "The verifier's nonce, good for one answer.",
)
EVIDENCE: Final = Leaf(
    "evidence", Role.MACHINE, Role.VERIFIER, False, "JSON: `id`, `nonce`, `evidence`", "The answer: quote, values, log."
)
RESULT: Final = Leaf(
    "result",
    Role.VERIFIER,
    Role.MACHINE,
    False,
    "JSON: `id`, and `result`, `token` or `error`",
    "What the verifier finds, for people, and signed for the gate.",
)
ATTEST_LEAVES: Final = (ASK, CHALLENGE, EVIDENCE, RESULT)
"""The table of a platform."""


class TopicInvalid(VafwError):
    """A name that must not become a level of a topic."""


@dataclass(frozen=True, slots=True)
class Place:
    """A topic taken apart."""

    workstation: str
    appliance: str
    leaf: Leaf


def require_name(name: str, what: str) -> str:
    """`name`, if it can be one level of a topic and an identity; TopicInvalid else."""
    if not _NAME.fullmatch(name):
        shown = ascii(name if len(name) <= 64 else f"{name[:61]}...")
        raise TopicInvalid(f"{what} must be lower-case letters, digits and hyphens, 63 at most, not {shown}")
    return name


def topic(workstation: str, appliance: str, leaf: Leaf) -> str:
    """The topic of a leaf of one appliance; TopicInvalid for names that cannot stand in one."""
    require_name(workstation, "a workstation")
    require_name(appliance, "an appliance")
    return f"{ROOT}/{workstation}/{appliance}/{leaf.name}"


def every(workstation: str, leaf: Leaf) -> str:
    """The filter for a leaf of every appliance of a workstation."""
    return f"{ROOT}/{require_name(workstation, 'a workstation')}/+/{leaf.name}"


def place(name: str) -> Place | None:
    """A topic taken apart; None where it is none of the table's."""
    levels = name.split("/")
    leaf = next((each for each in LEAVES if each.name == levels[-1]), None)
    if leaf is None or len(levels) != 5 or "/".join(levels[:2]) != ROOT:
        return None
    if not all(_NAME.fullmatch(each) for each in levels[2:4]):
        return None
    return Place(levels[2], levels[3], leaf)


def platform_level(platform: str) -> str:
    """A platform's name as one level of a topic, and as its identity: without what MQTT gives a meaning to."""
    return "".join(each if each.isalnum() or each in "-_.:" else f"%{ord(each):x}" for each in platform)


def attest_topic(platform: str, leaf: Leaf) -> str:
    """The topic of a leaf of one platform."""
    return f"{ATTEST}/{platform_level(platform)}/{leaf.name}"


def every_platform(leaf: Leaf) -> str:
    """The filter for a leaf of every platform."""
    return f"{ATTEST}/+/{leaf.name}"


def attest_place(name: str) -> tuple[str, Leaf] | None:
    """The level of the platform, and the leaf; None for a topic that is none of the table's."""
    head, _, last = name.rpartition("/")
    leaf = next((each for each in ATTEST_LEAVES if each.name == last), None)
    level = head.removeprefix(f"{ATTEST}/")
    if leaf is None or level == head or not level or any(each in level for each in "/+#"):
        return None
    return level, leaf


def may_write(identity: str, workstation: str, name: str) -> bool:
    """Whether `identity` may publish to the topic `name`; wildcards never, what is not in the table never."""
    found = place(name)
    return found is not None and any(covers(each, name) for each in _allowed(identity, workstation, writing=True))


def may_read(identity: str, workstation: str, wanted: str) -> bool:
    """Whether `identity` may subscribe to the filter (or receive from the topic) `wanted`."""
    if not wanted or wanted.startswith("$"):
        return False
    return any(covers(each, wanted) for each in _allowed(identity, workstation, writing=False))


def covers(allowed: str, wanted: str) -> bool:
    """Whether every topic that the filter `wanted` matches is matched by the filter `allowed` (MQTT 3.1.1, 4.7)."""
    have, want = allowed.split("/"), wanted.split("/")
    for index, level in enumerate(have):
        if level == "#":
            return True
        if index == len(want) or want[index] == "#":
            return False
        if level not in ("+", want[index]):
            return False
    return len(have) == len(want)


def _allowed(identity: str, workstation: str, *, writing: bool) -> Iterator[str]:
    """The filters of everything that an identity may write, or read."""
    role = Role.CONTROLLER if identity == CONTROLLER else Role.AGENT
    if role is Role.AGENT and not _NAME.fullmatch(identity):
        return
    for leaf in LEAVES:
        if role is (leaf.writer if writing else leaf.reader):
            yield every(workstation, leaf) if role is Role.CONTROLLER else topic(workstation, identity, leaf)


def access_list(workstation: str) -> str:
    """The table as mosquitto's access list; `%u` is the identity, which is the certificate's common name."""
    require_name(workstation, "a workstation")
    agent = [f"pattern {_verb(leaf, Role.AGENT)} {ROOT}/{workstation}/%u/{leaf.name}" for leaf in LEAVES]
    controller = [f"topic {_verb(leaf, Role.CONTROLLER)} {every(workstation, leaf)}" for leaf in LEAVES]
    return "\n".join([*agent, "", f"user {CONTROLLER}", *controller, ""])


def verifier_access_list() -> str:
    """The table of a platform as mosquitto's access list; `%u` is the platform's level of the topic."""
    machine = [f"pattern {_verb(leaf, Role.MACHINE)} {ATTEST}/%u/{leaf.name}" for leaf in ATTEST_LEAVES]
    verifier = [f"topic {_verb(leaf, Role.VERIFIER)} {every_platform(leaf)}" for leaf in ATTEST_LEAVES]
    return "\n".join([*machine, "", f"user {VERIFIER}", *verifier, ""])


def _verb(leaf: Leaf, role: Role) -> str:
    return "write" if leaf.writer is role else "read"


def page() -> str:
    """The table as the page `docs/mqtt-topics.md`."""
    return "\n".join(
        [
            "# MQTT topics",
            "",
            f"Every topic is `{ROOT}/<workstation>/<appliance>/<leaf>`. The workstation is the topology's name, the",
            "appliance its name there. An agent writes and reads the topics of its own appliance only; its identity is",
            f"its certificate's common name. The controller's identity is `{CONTROLLER}`. What this table does not",
            "allow is refused by the broker and not read by anybody.",
            "",
            *_rows(LEAVES),
            "",
            "An envelope is JSON: `v`, `ws` and `id` (whose it is), `epoch` and `gen`, `ts` and `exp`, `hash` of the",
            "`body`, and `sig`, Ed25519 over the rest. In `desired` there may be `trial` (seconds until it goes back),",
            "and where the policy declares people `approval` and `confirmation`: what they signed for the change, and",
            "for its staying after a trial, each as `statement` and `signatures` (SSHSIG of its canonical JSON in the",
            "namespace `vafw-config`). An agent that was started with people takes no change that they did not sign,",
            "whoever signed the envelope.",
            "",
            "## Between a machine and its verifier",
            "",
            f"Every topic is `{ATTEST}/<platform>/<leaf>`, on a broker of its own. A machine's identity there is its",
            f"platform's name, the verifier's is `{VERIFIER}`; `vafw verifier --access-list` prints mosquitto's access",
            "list. Neither side believes the broker: a nonce counts once, evidence is signed by the TPM, a result by",
            "the verifier.",
            "",
            *_rows(ATTEST_LEAVES),
            "",
            "Everything is MQTT 3.1.1, QoS 1. This page is generated from `vafw.control.topics`; a test holds it.",
            "",
        ]
    )


def _rows(leaves: tuple[Leaf, ...]) -> list[str]:
    return [
        "| leaf | written by | read by | retained | payload | meaning |",
        "|---|---|---|---|---|---|",
        *(
            f"| `{leaf.name}` | {leaf.writer} | {leaf.reader} | {'yes' if leaf.retained else 'no'} "
            f"| {leaf.payload} | {leaf.meaning} |"
            for leaf in leaves
        ),
    ]
