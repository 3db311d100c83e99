"""The tests of the leak catalogue can fail: each of these faults, in a running server, makes one of them fail.

What is run is the test itself, before the fault and with it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.leaks import (
    mutants,
    test_hidden_is_absent,
    test_rights_end,
    test_search_leaks,
    test_writes_and_operations,
)
from tests.leaks.catalogue import Check, calls

SCENES = {
    "tests.leaks.test_hidden_is_absent": test_hidden_is_absent.opened,
    "tests.leaks.test_rights_end": test_rights_end.opened,
    "tests.leaks.test_search_leaks": test_search_leaks.opened,
}
SAME = {"tests.leaks.test_writes_and_operations": "tests.leaks.test_hidden_is_absent"}

_hidden, _rights, _search, _writes = (
    test_hidden_is_absent,
    test_rights_end,
    test_search_leaks,
    test_writes_and_operations,
)
CAUGHT: list[tuple[mutants.Breaking, Check]] = [
    (mutants.masks_forgotten, _hidden.test_a_request_for_a_hidden_document_is_that_for_none),
    (mutants.masks_forgotten, _hidden.test_l12_l13_searches_do_not_hold_it),
    (mutants.masks_forgotten, _hidden.test_l08_an_update_of_a_hidden_document_is_no_conflict),
    (mutants.masks_forgotten, _hidden.test_l42_an_entry_of_a_batch_is_a_request_like_another),
    (mutants.masks_forgotten, _search.test_l46_everything_is_everything_visible),
    (mutants.masks_forgotten, _search.test_l38_the_compartment_of_what_is_hidden_is_that_of_nothing),
    (mutants.masks_forgotten, _writes.test_l09_a_patch_of_a_hidden_document_tests_nothing),
    (mutants.masks_forgotten, _writes.test_l61_nothing_made_of_a_hidden_document_is_seen),
    (mutants.masks_forgotten, _writes.test_l20_the_next_page_obeys_what_was_said_since_the_first),
    (mutants.gate_always_open, _rights.test_l69_what_is_over_or_for_another_record_opens_nothing),
    (mutants.gate_always_open, _search.test_l29_a_chain_into_a_patient_who_is_not_visible_finds_nothing),
    (mutants.grant_for_everyone, _rights.test_l69_a_grant_is_for_whom_it_names_and_while_it_lasts),
    (mutants.membership_without_end, _rights.test_l69_a_team_opens_its_own_record_while_it_lasts),
    (mutants.team_without_consent, _rights.test_l69_a_team_opens_its_own_record_while_it_lasts),
    (mutants.own_pierces_a_deny, _hidden.test_l11_a_push_by_a_blocked_doctor_is_not_echoed),
    (
        mutants.treating_doctor_obeys_everything,
        _rights.test_a_directive_for_everyone_does_not_bind_the_medecin_traitant,
    ),
    (
        mutants.emergency_as_treating_doctor,
        _rights.test_l71_an_emergency_is_for_one_patient_has_a_reason_and_pierces_no_mask,
    ),
    (mutants.opposition_forgotten, _rights.test_l71_an_emergency_is_for_one_patient_has_a_reason_and_pierces_no_mask),
    (mutants.opening_for_every_patient, _rights.test_l69_what_is_over_or_for_another_record_opens_nothing),
    (mutants.opening_without_end, _rights.test_l69_what_is_over_or_for_another_record_opens_nothing),
    (mutants.representative_for_ever, _rights.test_l70_representation_ends_at_majority),
    (mutants.scopes_forgotten, _search.test_l65_a_scope_filters_what_is_included_and_chained),
    (mutants.hops_without_predicate, _search.test_l30_l31_l32_reverse_chains_see_no_hidden_rows),
    (mutants.hops_without_predicate, _search.test_l29_a_chain_into_a_patient_who_is_not_visible_finds_nothing),
    (mutants.includes_unguarded, _search.test_l33_l34_l35_what_is_included_is_visible),
    (mutants.page_cut_before_the_predicate, _writes.test_l18_a_hundred_hidden_rows_do_not_fill_the_first_page),
    (mutants.page_cut_before_the_predicate, _search.test_l36_hidden_rows_take_nothing_of_the_budget),
    (mutants.total_of_everything, _hidden.test_l16_l17_totals_count_the_visible),
    (mutants.history_by_current_facts, _writes.test_l03_l04_a_version_that_was_hidden_stays_hidden),
    (mutants.content_for_everyone, _hidden.test_l57_l58_its_content_is_hidden_with_it),
    (
        mutants.carriers_by_their_own_facts,
        _writes.test_l39_what_carries_a_hidden_document_is_hidden_or_says_nothing_of_it,
    ),
    (mutants.displays_kept, _writes.test_l39_what_carries_a_hidden_document_is_hidden_or_says_nothing_of_it),
    (mutants.folders_as_they_are, _writes.test_l39_what_carries_a_hidden_document_is_hidden_or_says_nothing_of_it),
    (
        mutants.folders_found_by_hidden_entries,
        _writes.test_l39_what_carries_a_hidden_document_is_hidden_or_says_nothing_of_it,
    ),
    (mutants.replacement_without_lineage, _writes.test_l40_a_chain_of_replacements_is_hidden_as_one),
    (mutants.displays_kept, _writes.test_l40_a_chain_of_replacements_is_hidden_as_one),
    (mutants.cursor_of_anybody, _hidden.test_l20_a_page_link_is_its_callers_alone),
    (mutants.forbidden_for_not_found, _hidden.test_a_request_for_a_hidden_document_is_that_for_none),
    (mutants.gone_for_not_found, _hidden.test_l05_a_deleted_hidden_document_is_not_gone_but_absent),
    (mutants.criteria_of_writes_unguarded, _hidden.test_l43_l44_criteria_of_writes_do_not_find_it),
    (mutants.documents_of_everybody_are_unique, _writes.test_l45_no_refusal_names_what_is_hidden),
    (mutants.log_tells_representatives, _rights.test_l70_what_is_hidden_from_representatives_leaves_no_line),
    (mutants.log_tells_representatives, _rights.test_l72_a_log_names_nothing_that_its_reader_may_not_see),
    (mutants.equals_for_is, _rights.test_l16_what_has_no_category_and_no_time_is_counted_rightly),
    (mutants.range_without_not_null, _rights.test_l16_what_has_no_category_and_no_time_is_counted_rightly),
    (mutants.parentheses_missing, _hidden.test_l12_l13_searches_do_not_hold_it),
]


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """The scenes that the tests are played in, one of each, by the module of the tests."""
    with ExitStack() as stack:
        yield {name: stack.enter_context(made(tmp_path_factory.mktemp("mutants"))) for name, made in SCENES.items()}


@pytest.mark.parametrize(
    ("breaking", "check"), CAUGHT, ids=[f"{each.__name__}-{check.__name__[5:40]}" for each, check in CAUGHT]
)
def test_a_fault_is_caught(scenes: dict[str, Any], breaking: mutants.Breaking, check: Check) -> None:
    """The test passes without the fault, and fails with it in one of its runs."""
    scene = scenes[SAME.get(check.__module__, check.__module__)]
    runs = list(calls(check))
    with mutants.broken(breaking):
        failed = next((given for given in runs if _fails(check, scene, given)), None)
    assert failed is not None, f"{check.__name__} does not notice: {breaking.__doc__}"
    check(scene, **failed)


def _fails(check: Check, scene: Any, given: dict[str, Any]) -> bool:
    try:
        check(scene, **given)
    except (AssertionError, LookupError, ValueError, TypeError):
        return True
    return False
