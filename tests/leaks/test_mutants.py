"""The tests of the leak catalogue can fail: each of these faults, in a running server, makes one of them fail.

What is run is the test itself, with the fault and after it. Three checks are made twice, here and by the library that
reads signatures: the critical extensions of A03, and the use and the type of a key in A05. The faults of the first two
take both away; that a key is of the type of its algorithm cannot be taken from the library, and has no fault here.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from inspect import signature
from typing import Any

import pytest

from fhir_server.auth import lockout
from tests.leaks import (
    mutants,
    mutants_of_assertions,
    mutants_of_tokens,
    test_hidden_is_absent,
    test_rights_end,
    test_search_leaks,
    test_tokens_and_oauth,
    test_writes_and_operations,
)
from tests.leaks.catalogue import Check, calls

SCENES = {
    "tests.leaks.test_hidden_is_absent": test_hidden_is_absent.opened,
    "tests.leaks.test_rights_end": test_rights_end.opened,
    "tests.leaks.test_search_leaks": test_search_leaks.opened,
    "tests.leaks.test_tokens_and_oauth": test_tokens_and_oauth.opened,
}
SAME = {"tests.leaks.test_writes_and_operations": "tests.leaks.test_hidden_is_absent"}

_hidden, _rights, _search, _writes, _oauth = (
    test_hidden_is_absent,
    test_rights_end,
    test_search_leaks,
    test_writes_and_operations,
    test_tokens_and_oauth,
)
_proofs, _tokens = mutants_of_assertions, mutants_of_tokens
CAUGHT: list[tuple[mutants.Breaking, Check]] = [
    (mutants.masks_forgotten, _hidden.test_a_request_for_a_hidden_document_is_that_for_none),
    (mutants.masks_forgotten, _hidden.test_l12_l13_searches_do_not_hold_it),
    (mutants.masks_forgotten, _hidden.test_l08_an_update_of_a_hidden_document_is_no_conflict),
    (mutants.masks_forgotten, _hidden.test_l27_labels_of_hidden_documents_find_nothing),
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
    (mutants.masks_forgotten, _hidden.test_criteria_find_what_is_visible_only),
    (mutants.masks_forgotten, _hidden.test_l15_a_posted_search_is_the_same_search),
    (mutants.page_cut_before_the_predicate, _hidden.test_l18_l19_hidden_documents_take_no_place_on_a_page),
    (mutants.masks_forgotten, _search.test_criteria_find_what_is_visible),
    (mutants.masks_forgotten, _search.test_l14_a_search_of_several_types_is_a_search_like_another),
    (mutants.masks_forgotten, _search.test_l21_the_order_is_that_of_the_visible),
    (mutants.masks_forgotten, _search.test_l38_compartments_hold_what_is_visible),
    (mutants.content_for_everyone, _search.test_l46_content_that_no_document_shows_is_not_beside_what_is_visible),
    (mutants.masks_forgotten, _writes.test_l51_a_label_is_lowered_by_those_who_may),
    (mutants.gate_always_open, _hidden.test_l62_another_patients_resource_is_absent),
    (mutants.refused_where_something_is, _writes.test_an_operation_that_is_not_offered_tells_nothing),
    (_tokens.letters_merged, _search.test_l64_reading_and_searching_are_rights_apart),
    (_proofs.none_is_an_algorithm, _oauth.test_A01_alg_none),
    (_proofs.public_key_as_secret, _oauth.test_A02_a_public_key_is_no_secret),
    (_proofs.any_algorithm_of_the_key, _oauth.test_A02_a_public_key_is_no_secret),
    (_proofs.critical_is_passed_over, _oauth.test_A03_an_extension_that_is_critical_is_refused),
    (_proofs.jku_passed_over, _oauth.test_A04_keys_are_not_fetched_from_where_the_header_says),
    (_proofs.jku_by_its_beginning, _oauth.test_A04_keys_are_not_fetched_from_where_the_header_says),
    (_proofs.key_of_the_header, _oauth.test_A04_keys_are_not_fetched_from_where_the_header_says),
    (_proofs.first_of_several_keys, _oauth.test_A05_two_keys_with_one_kid_are_none),
    (_proofs.keys_for_encryption, _oauth.test_A05_two_keys_with_one_kid_are_none),
    (_proofs.assertions_forgotten, _oauth.test_A06_an_assertion_is_good_once),
    (_proofs.assertions_remembered_late, _oauth.test_A06_an_assertion_is_good_once),
    (_proofs.assertions_by_their_bytes, _oauth.test_A06_an_assertion_is_good_once),
    (_proofs.assertions_for_long, _oauth.test_A07_an_assertion_ends_within_five_minutes),
    (_proofs.assertions_of_tomorrow, _oauth.test_A07_an_assertion_ends_within_five_minutes),
    (_proofs.time_as_any_number, _oauth.test_A07_an_assertion_ends_within_five_minutes),
    (_proofs.audience_passed_over, _oauth.test_A08_an_assertion_is_for_this_server_alone),
    (_proofs.audience_among_others, _oauth.test_A08_an_assertion_is_for_this_server_alone),
    (_proofs.subject_passed_over, _oauth.test_A08_an_assertion_is_for_this_server_alone),
    (_tokens.code_kept, _oauth.test_A09_a_code_is_good_once_and_its_family_ends_with_a_second_use),
    (_tokens.families_live_on, _oauth.test_A09_a_code_is_good_once_and_its_family_ends_with_a_second_use),
    (_tokens.verifier_passed_over, _oauth.test_A10_no_code_without_its_verifier),
    (_tokens.challenge_as_verifier, _oauth.test_A10_no_code_without_its_verifier),
    (_tokens.plain_challenges, _oauth.test_A10_no_code_without_its_verifier),
    (_tokens.code_kept, _oauth.test_A10_no_code_without_its_verifier),
    (_tokens.redirects_by_their_beginning, _oauth.test_A11_nobody_is_sent_to_an_address_that_is_not_registered),
    (_tokens.redirects_in_any_case, _oauth.test_A11_nobody_is_sent_to_an_address_that_is_not_registered),
    (_tokens.redirect_passed_over_at_the_end, _oauth.test_A11_nobody_is_sent_to_an_address_that_is_not_registered),
    (_tokens.errors_without_issuer, _oauth.test_A12_every_answer_says_who_gives_it),
    (_tokens.codes_without_issuer, _oauth.test_A12_every_answer_says_who_gives_it),
    (_tokens.state_where_there_was_none, _oauth.test_A13_the_state_comes_back_as_it_was),
    (_tokens.state_cut, _oauth.test_A13_the_state_comes_back_as_it_was),
    (_tokens.old_refresh_tokens, _oauth.test_A14_an_old_refresh_token_ends_its_family),
    (_tokens.families_live_on, _oauth.test_A14_an_old_refresh_token_ends_its_family),
    (_tokens.unknown_clients_told, _oauth.test_A15_a_wrong_secret_and_an_unknown_client_look_the_same),
    (_tokens.name_as_proof, _oauth.test_A15_a_wrong_secret_and_an_unknown_client_look_the_same),
    (_tokens.first_proof_of_several, _oauth.test_A15_a_wrong_secret_and_an_unknown_client_look_the_same),
    (_tokens.token_in_the_url, _oauth.test_A16_a_token_in_the_url_is_none),
    (_tokens.token_in_a_cookie, _oauth.test_A16_a_token_in_the_url_is_none),
    (_tokens.token_of_any_scheme, _oauth.test_A16_a_token_in_the_url_is_none),
    (_tokens.tokens_told_to_clients, _oauth.test_A17_a_stranger_learns_nothing_of_a_token),
    (_proofs.keys_fetched_each_time, _oauth.test_A18_unknown_kids_do_not_make_the_server_fetch),
    (_tokens.xml_with_doctype, _writes.test_a19_xml_fetches_nothing_and_unfolds_nothing),
    (_tokens.scripts_of_anywhere, _oauth.test_A20_scripts_of_registered_origins_only),
    (_tokens.scripts_by_the_beginning, _oauth.test_A20_scripts_of_registered_origins_only),
    (_tokens.introspection_says_more, _oauth.test_L41_neither_token_nor_introspection_names_what_is_hidden),
    (_tokens.patients_are_holders, _oauth.test_L62_a_token_of_one_patient_reads_no_other),
    (_tokens.patient_scopes_without_patient, _oauth.test_L63_a_patient_scope_without_a_patient_is_refused),
    (_tokens.letters_merged, _oauth.test_L64_each_letter_is_its_own_right),
    (_tokens.reading_is_writing, _oauth.test_L64_each_letter_is_its_own_right),
    (mutants.scopes_forgotten, _oauth.test_L65_a_granular_scope_narrows_what_is_included),
    (_tokens.criteria_forgotten, _oauth.test_L65_a_granular_scope_narrows_what_is_included),
    (_tokens.headers_believed, _oauth.test_L66_headers_say_nothing_of_who_is_asking),
    (_tokens.refresh_widens, _oauth.test_L67_a_refresh_never_widens_and_dies_with_its_grant),
    (_tokens.families_live_on, _oauth.test_L67_a_refresh_never_widens_and_dies_with_its_grant),
    (_tokens.any_structure, _oauth.test_L68_software_of_one_structure_does_not_speak_for_another),
]


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """The scenes that the tests are played in, one of each, by the module of the tests. Wrong secrets, of which the
    tests have more together than each alone, slow nobody down."""
    with ExitStack() as stack, pytest.MonkeyPatch.context() as patch:
        patch.setattr(lockout, "wait", lambda failures: 0)
        yield {name: stack.enter_context(made(tmp_path_factory.mktemp("mutants"))) for name, made in SCENES.items()}


@pytest.mark.parametrize(
    ("breaking", "check"), CAUGHT, ids=[f"{each.__name__}-{check.__name__[5:40]}" for each, check in CAUGHT]
)
def test_a_fault_is_caught(scenes: dict[str, Any], breaking: mutants.Breaking, check: Check) -> None:
    """The test passes without the fault, and fails with it in one of its runs."""
    scene = scenes[SAME.get(check.__module__, check.__module__)]
    runs = [given | _fixtures(check, scene) for given in calls(check)]
    with mutants.broken(breaking):
        failed = next((given for given in runs if _fails(check, scene, given)), None)
    assert failed is not None, f"{check.__name__} does not notice: {breaking.__doc__}"
    check(scene, **failed)


def _fixtures(check: Check, scene: Any) -> dict[str, Any]:
    """What a test asks for beside its scene."""
    return {"addresses": scene.known["addresses"]} if "addresses" in signature(check).parameters else {}


def _fails(check: Check, scene: Any, given: dict[str, Any]) -> bool:
    try:
        check(scene, **given)
    except (AssertionError, LookupError, ValueError, TypeError):
        return True
    return False
