"""An `ids:` section as the configuration of Suricata, and its rules with the action that the section wants."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

from vafw.document.sections import IdsSection

RULE_FILE: Final = "vafw.rules"
_ACTION: Final = re.compile(r"(alert|drop|reject|pass)(?=\s)")


def suricata_text(section: IdsSection, home: Iterable[str], *, inline: bool, ports: tuple[str, str]) -> str:
    """Text for ``suricata.yaml``; `ports` are the interfaces outside and inside, or the mirror port twice."""
    return "\n".join(["%YAML 1.1", "---", *_lines(section, home, inline, ports), ""])


def _lines(section: IdsSection, home: Iterable[str], inline: bool, ports: tuple[str, str]) -> Iterator[str]:
    networks = ",".join(sorted(home))
    yield "vars:"
    yield "  address-groups:"
    yield f'    HOME_NET: "[{networks}]"'
    yield '    EXTERNAL_NET: "!$HOME_NET"'
    yield "  port-groups:"
    yield '    HTTP_PORTS: "80"'
    yield '    SSH_PORTS: "22"'
    yield "default-rule-path: /etc/suricata/rules"
    yield "rule-files:"
    yield f"  - {RULE_FILE}"
    yield "outputs:"
    yield "  - eve-log: {enabled: yes, filetype: regular, filename: eve.json, types: [alert, drop, anomaly]}"
    yield "stream:"
    yield f"  inline: {'yes' if inline else 'no'}"
    yield f"  drop-invalid: {'yes' if inline and section.on_match == 'drop' else 'no'}"
    yield "af-packet:"
    outside, inside = ports
    for cluster, (here, there) in enumerate(((outside, inside), (inside, outside)) if inline else ((outside, ""),)):
        yield f"  - interface: {here}"
        yield f"    cluster-id: {98 + cluster}"
        yield "    cluster-type: cluster_flow"
        yield "    defrag: yes"
        if inline:  # `ips` sends on what no rule drops and nothing else: with the program the traffic stops
            yield "    copy-mode: ips"
            yield f"    copy-iface: {there}"


def rules_text(lines: Iterable[str], on_match: str) -> str:
    """The rules with `alert` and `drop` made what the section wants; `pass` and `reject` stay what they are."""
    return "".join(f"{_with_action(line.strip(), on_match)}\n" for line in lines if line.strip()[:1] not in ("", "#"))


def _with_action(line: str, on_match: str) -> str:
    found = _ACTION.match(line)
    if found is None:
        raise ValueError(f"a rule must begin with alert, drop, reject or pass, not {line[:40]!r}")
    return f"{on_match}{line[found.end() :]}" if found[1] in ("alert", "drop") else line
