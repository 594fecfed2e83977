"""Who approves: one voice per reviewer, the web app's own approvals beside them (SPEC §4)."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.core.saying import before
from tfpilot.core.approval import weigh
from tfpilot.core.model import Approval, Review

BEGAN = before(hours=1)


def said(*reviews: tuple[str, str]) -> list[Review]:
    """Reviews in the order in which they were written, a minute apart."""
    return [Review(login, state, BEGAN + timedelta(minutes=n)) for n, (login, state) in enumerate(reviews)]


def stored(*approvers: str, approved: bool | None = None, reviews: list[Review] | None = None) -> Approval:
    flag = bool(approvers) if approved is None else approved
    return Approval(flag, approvers, {review.login: review for review in reviews or []})


def verdict(approval, *reviews, author=None, merged=False, since=None):
    return weigh(approval, said(*reviews), author=author, merged=merged, since=since)


def test_one_approval_and_no_objection_approves():
    assert not verdict(stored()).approved
    assert verdict(stored(), ("ada", "APPROVED")).approved
    assert verdict(stored(), ("ada", "APPROVED")).approvers == ("ada",)


def test_an_objection_outweighs_the_approval_of_somebody_else():
    assert not verdict(stored(), ("ada", "APPROVED"), ("bob", "CHANGES_REQUESTED")).approved
    assert not verdict(stored(), ("bob", "CHANGES_REQUESTED"), ("ada", "APPROVED")).approved


def test_of_each_reviewer_the_latest_word_counts():
    assert verdict(stored(), ("ada", "CHANGES_REQUESTED"), ("ada", "APPROVED")).approved
    assert not verdict(stored(), ("ada", "APPROVED"), ("ada", "CHANGES_REQUESTED")).approved


def test_the_order_of_the_list_does_not_matter():
    reviews = said(("ada", "APPROVED"), ("bob", "APPROVED"), ("ada", "CHANGES_REQUESTED"))
    expected = weigh(stored(), reviews, author=None, merged=False)
    assert weigh(stored(), reversed(reviews), author=None, merged=False) == expected
    assert not expected.approved


def test_a_dismissal_removes_that_voice():
    assert not verdict(stored(), ("ada", "APPROVED"), ("ada", "DISMISSED")).approved
    assert verdict(stored(), ("ada", "APPROVED"), ("bob", "CHANGES_REQUESTED"), ("bob", "DISMISSED")).approved


def test_a_dismissed_review_that_keeps_its_time_wins_over_what_was_stored_of_it():
    known = [Review("ada", "APPROVED", BEGAN)]
    assert not verdict(stored("ada", reviews=known), ("ada", "DISMISSED")).approved


@pytest.mark.parametrize("state", ["COMMENTED", "PENDING", "SHRUGGED"])
def test_comments_and_pending_reviews_change_nothing(state):
    assert verdict(stored(), ("ada", "APPROVED"), ("ada", state)).approved
    assert not verdict(stored(), ("ada", state)).approved
    assert verdict(stored("ada"), ("ada", state)).approved


def test_the_authors_own_review_does_not_count():
    assert not verdict(stored(), ("ada", "APPROVED"), author="ada").approved
    assert not verdict(stored(), ("Ada", "APPROVED"), author="aDA").approved
    assert verdict(stored(), ("bob", "APPROVED"), ("ada", "CHANGES_REQUESTED"), author="ada").approved


def test_logins_are_the_same_in_any_case():
    assert not verdict(stored(), ("Ada", "APPROVED"), ("ada", "CHANGES_REQUESTED")).approved
    assert not verdict(stored("ADA"), ("ada", "CHANGES_REQUESTED")).approved
    assert verdict(stored("ADA"), ("ada", "APPROVED")).approvers == ("ADA",)


def test_states_are_the_same_in_any_case():
    assert verdict(stored(), ("ada", "approved")).approved
    assert not verdict(stored("ada"), ("ada", "dismissed")).approved


def test_an_approval_given_in_the_web_app_needs_no_review():
    kept = verdict(stored("ada"))
    assert (kept.approved, kept.approvers) == (True, ("ada",))
    assert verdict(stored("ada"), ("bob", "APPROVED")).approvers == ("ada", "bob")


def test_an_objection_on_github_outweighs_an_approval_in_the_web_app_and_leaves_it_named():
    outcome = verdict(stored("ada"), ("bob", "CHANGES_REQUESTED"))
    assert (outcome.approved, outcome.approvers) == (False, ("ada",))
    assert verdict(stored("ada", approved=False), ("bob", "CHANGES_REQUESTED"), ("bob", "DISMISSED")).approved


@pytest.mark.parametrize("state", ["CHANGES_REQUESTED", "DISMISSED"])
def test_a_stored_approver_who_spoke_on_github_is_githubs_voice(state):
    outcome = verdict(stored("ada"), ("ada", state))
    assert (outcome.approved, outcome.approvers) == (False, ())


def test_an_approval_that_names_nobody_stands_until_a_reviewer_speaks():
    unnamed = stored(approved=True)
    assert verdict(unnamed).approved
    assert verdict(unnamed, ("bob", "COMMENTED")).approved
    for state in ("CHANGES_REQUESTED", "DISMISSED"):
        first = verdict(unnamed, ("bob", state))
        again = verdict(Approval(first.approved, first.approvers, first.reviews), ("bob", state))
        assert (first.approved, again.approved) == (False, False)


@pytest.mark.parametrize("state", ["CHANGES_REQUESTED", "DISMISSED"])
def test_after_the_merge_an_approval_is_not_withdrawn(state):
    kept = verdict(stored("ada"), ("ada", state), merged=True)
    assert (kept.approved, kept.approvers) == (True, ("ada",))


def test_after_the_merge_an_approval_can_still_be_learned():
    assert verdict(stored(), ("ada", "APPROVED"), merged=True).approved
    assert not verdict(stored(), ("ada", "CHANGES_REQUESTED"), merged=True).approved


def test_stored_reviews_from_before_the_revision_do_not_count():
    known = [Review("ada", "APPROVED", BEGAN)]
    approval = stored("ada", reviews=known)
    assert not verdict(approval, since=BEGAN + timedelta(seconds=1)).approved
    assert verdict(approval, since=BEGAN).approved
    assert verdict(approval, ("ada", "APPROVED"), since=BEGAN).approved


def test_the_reason_counts_voices_and_names_who_objects():
    reason = verdict(stored("web"), ("ada", "APPROVED"), ("bob", "CHANGES_REQUESTED")).reason
    assert reason == "2 approving, bob requesting changes"
