"""The journals of resets: what is written comes back, and nothing is written twice."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.adapters.conftest import Store
from tests.builders import NOW
from tests.core.reset_world import dev_world, read_plan, record
from tfpilot.adapters.reset_journal import S3ResetJournal
from tfpilot.core.reset_confirm import Approval, ApprovalRequest
from tfpilot.core.reset_journal import Direction, JournalEntry, StepResult, StopRequest
from tfpilot.core.reset_plan import StateMode
from tfpilot.core.reset_steps import Outcome
from tfpilot.errors import ConflictError, DocumentError, MalformedIdError, NotFoundError

PLAN = read_plan(dev_world())
RECORD = record(PLAN)
DIGEST = "3fa91c" + "0" * 58


def entry(number: int) -> JournalEntry:
    result = StepResult("lock:a", Outcome.LEFT, "somebody else's", "e1", "v1")
    return JournalEntry(number, NOW, "ops-lead", Direction.APPLY, ("lock:a",), (result,))


@pytest.fixture
def journal(store: Store) -> S3ResetJournal:
    return S3ResetJournal(store.bucket, store.bulk)


def test_a_reset_comes_back_as_it_was_begun_and_written(journal: S3ResetJournal):
    journal.begin(RECORD, PLAN)
    for number in (1, 2, 3):
        journal.add(RECORD.reset_id, entry(number))
    stored = journal.get(RECORD.reset_id)
    assert (stored.record, stored.plan, stored.entries) == (RECORD, PLAN, (entry(1), entry(2), entry(3)))
    assert journal.entries(RECORD.reset_id, after=2) == [entry(3)]
    assert journal.list() == [RECORD]


def test_a_number_that_is_taken_and_a_reset_that_began_are_conflicts(journal: S3ResetJournal):
    journal.begin(RECORD, PLAN)
    journal.add(RECORD.reset_id, entry(1))
    with pytest.raises(ConflictError):
        journal.add(RECORD.reset_id, entry(1))
    with pytest.raises(ConflictError):
        journal.begin(RECORD, PLAN)


def test_a_reset_that_is_not_there_and_ids_that_lead_elsewhere_are_said(journal: S3ResetJournal):
    with pytest.raises(NotFoundError, match="There is no reset rst_1"):
        journal.get("rst_1")
    for odd in ("", "../x", "rst_A", "rst_a/b"):
        with pytest.raises(MalformedIdError):
            journal.get(odd)
    with pytest.raises(MalformedIdError):
        journal.find_approval("../../x")


@pytest.mark.parametrize("name", ["plan.json", "record.json", "journal/000001.json"])
def test_a_journal_that_cannot_be_read_whole_decides_nothing(journal: S3ResetJournal, store: Store, name: str):
    journal.begin(RECORD, PLAN)
    journal.add(RECORD.reset_id, entry(1))
    store.write(f"ops/resets/{RECORD.reset_id}/{name}", b'{"number": 1')
    with pytest.raises(DocumentError):
        journal.get(RECORD.reset_id)


def test_a_reset_has_a_receipt_only_while_nothing_came_after_it(journal: S3ResetJournal):
    journal.begin(RECORD, PLAN)
    assert journal.has_receipt(RECORD.reset_id) is False
    journal.add(RECORD.reset_id, entry(1))
    journal.put_receipt(RECORD.reset_id, 1, as_json=b"{}", as_markdown="# receipt")
    assert journal.has_receipt(RECORD.reset_id) is True
    journal.put_receipt(RECORD.reset_id, 1, as_json=b"{ }", as_markdown="# another")
    journal.add(RECORD.reset_id, entry(2))
    assert journal.has_receipt(RECORD.reset_id) is False


def test_of_two_wishes_to_stop_the_later_counts(journal: S3ResetJournal):
    assert journal.find_stop("rst_1") is None
    later = StopRequest("lena", NOW + timedelta(seconds=1))
    journal.ask_to_stop("rst_1", later)
    journal.ask_to_stop("rst_1", StopRequest("maya-k", NOW))
    assert journal.find_stop("rst_1") == later


def test_the_first_question_and_the_first_approval_of_a_digest_count(journal: S3ResetJournal):
    assert (journal.find_request(DIGEST), journal.find_approval(DIGEST)) == (None, None)
    asked = ApprovalRequest(DIGEST, "payments-dev", StateMode.EMPTY, True, "ops-lead", "broken", NOW)
    journal.ask_for_approval(asked)
    journal.ask_for_approval(ApprovalRequest(DIGEST, "other", StateMode.REMOVE, False, "lena", "", NOW))
    assert journal.find_request(DIGEST) == asked
    journal.approve(Approval(DIGEST, "release-bot", NOW))
    journal.approve(Approval(DIGEST, "lena", NOW))
    assert journal.find_approval(DIGEST) == Approval(DIGEST, "release-bot", NOW)
    assert journal.list() == []
