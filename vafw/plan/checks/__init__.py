"""What documents must agree on, as pure functions: each takes a `DocumentSet` and yields what it finds wrong.

`CHECKS` lists all of them by theme. They do not depend on each other's findings; where one would only repeat what
another has said, it says nothing. Diagnostics are sorted by position afterwards, so the order here is for readers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, TypeAlias

from vafw.document.diagnostic import Diagnostic
from vafw.document.load import DocumentSet
from vafw.plan.checks import (
    address,
    assignment,
    idle_rules,
    links,
    machine,
    names,
    path,
    people,
    ports,
    proofs,
    routing,
    rules,
    sections,
    settings,
    uplinks,
)

Check: TypeAlias = Callable[[DocumentSet], Iterable[Diagnostic]]

CHECKS: Final[tuple[Check, ...]] = (
    names.appliances_are_known,
    names.roles_fit,
    names.images_are_measured,
    names.devices_are_known,
    names.names_are_free,
    path.begins_at_the_wire,
    path.hops_are_known,
    path.inline_appliances_stand_in_the_path,
    path.hops_have_ports,
    links.ends_are_known,
    links.ports_are_used_once,
    links.link_names_are_free,
    links.links_join_two_vms,
    links.nothing_leads_round_the_path,
    assignment.functions_have_one_owner,
    assignment.groups_have_one_owner,
    assignment.functions_can_change_hands,
    assignment.remapping_is_there,
    assignment.the_user_has_no_nic,
    assignment.policy_allows_the_owner,
    assignment.manifest_allows_the_class,
    assignment.the_first_appliance_has_the_nic,
    ports.devices_stand_behind_ports,
    ports.groups_follow_from_the_ports,
    machine.memory_suffices,
    machine.vcpus_suffice,
    machine.minimum_memory_is_given,
    machine.the_vmm_fits,
    machine.a_measured_launch_is_possible,
    machine.required_hardware_is_there,
    machine.the_wire_has_a_mac,
    address.addresses_have_one_owner,
    address.addresses_are_usable,
    address.gateways_are_reachable,
    routing.routers_are_of_the_path,
    routing.routers_have_next_hops,
    routing.routed_networks_are_apart,
    uplinks.uplinks_are_of_a_firewall,
    uplinks.uplinks_have_cards,
    uplinks.marks_choose_one_uplink,
    sections.sections_are_carried_out,
    sections.tunnels_lead_somewhere,
    sections.kill_switches_stay_on,
    sections.proxies_are_hosts,
    sections.proxies_stand_behind_the_firewall,
    sections.mirrors_only_alert,
    sections.listed_files_of_sections_are_there,
    settings.settings_are_known,
    settings.settings_have_their_type,
    settings.listed_files_are_there,
    rules.zones_are_known,
    rules.services_are_known,
    rules.zone_names_are_free,
    rules.zones_hold_something,
    rules.rules_are_enforced,
    rules.names_are_followed,
    rules.translation_is_done,
    rules.owners_are_known,
    rules.managed_appliances_are_known,
    people.groups_have_people,
    people.signatures_can_be_had,
    people.keys_are_of_one_person,
    people.people_may_do_something,
    proofs.proofs_hold,
    idle_rules.rules_do_work,
)
"""Every check, by theme."""

__all__ = ["CHECKS", "Check"]
