"""One request is brought to what GitHub says of it: when it asks, what it writes, and what it tells (SPEC §4)."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta

import pytest

from tests.builders import NOW, REQUEST_ID, ago, request, run, stuck_planning, with_pull, with_run
from tests.core.saying import (
    FORBIDDEN,
    NOT_FOUND,
    RATE_LIMITED,
    REPO,
    TIMEOUT,
    answer_pull,
    answer_reviews,
    answer_run,
    merged_pull,
)
from tests.fakes import OUTAGE, InMemory
from tfpilot.core.document import render_document
from tfpilot.core.model import (
    Checked,
    FactOutcome,
    GitHubFacts,
    JobsFact,
    LifecycleStatus,
    Operator,
    Role,
    SyncMode,
    WorkflowKind,
)
from tfpilot.edges import Rights
from tfpilot.errors import (
    ArchivedError,
    ConflictError,
    DocumentError,
    GitHubError,
    MalformedIdError,
    MissingRightError,
    NotFoundError,
    RateLimitedError,
    RefusedError,
    StorageError,
)
from tfpilot.operations.gathering import DEADLINE
from tfpilot.operations.rewrite import MAX_TRIES
from tfpilot.operations.sync import sync

MAYA = Operator("maya-k", Role.DEVELOPER)
TOM = Operator("tom-r", Role.APPROVER)
LEAD = Operator("ops-lead", Role.ADMIN)
NOBODY = Operator("", Role.VIEWER)
PORTAL = Operator("system", Role.SYSTEM)
AUTO, REPAIR = SyncMode.AUTO, SyncMode.REPAIR
PLAN_ENDED = GitHubFacts(pull=answer_pull(), runs={WorkflowKind.PLAN: answer_run(101)}, calls=2)
ACTIVE = f"requests/{REQUEST_ID}.json"
HISTORY = f"history/{REQUEST_ID}.json"
CHECKED = f"ops/checked/{REQUEST_ID}.json"
BACKOFF = "webhooks/github/ratelimit/acme_infra.json"


def stuck(memory: InMemory, facts: GitHubFacts = PLAN_ENDED) -> InMemory:
    """A stored request that is stuck planning, and what GitHub says of it."""
    memory.store(stuck_planning())
    memory.github.answers[REQUEST_ID] = facts
    return memory


def healthy(memory: InMemory) -> InMemory:
    planned = with_run(with_pull(request()), "plan", **run(101))
    memory.store(with_run(planned, "apply", **run(102)))
    return memory


def run_sync(
    memory: InMemory, mode: SyncMode = REPAIR, operator: Operator = MAYA, request_id: str = REQUEST_ID, **options
):
    return sync(memory.edges, request_id, mode=mode, operator=operator, **options)


def events(memory: InMemory):
    return memory.edges.events.list(REQUEST_ID, limit=50)


# --- a repair


def test_a_repair_writes_what_github_says_and_tells_where_the_request_stands(memory):
    result = run_sync(stuck(memory))
    stored = memory.stored(REQUEST_ID)
    assert stored["github"]["workflows"]["plan"]["conclusion"] == stored["planRun"]["conclusion"] == "success"
    assert (stored["version"], stored["updatedAt"]) == (2, ago(minutes=0))
    assert (result.written, result.asked, result.degraded, result.notices) == (True, True, False, ())
    assert result.explanation.status is LifecycleStatus.PLAN_READY
    assert result.request.raw == stored


def test_a_repair_asks_even_a_healthy_request(memory):
    healthy(memory).github.answers[REQUEST_ID] = PLAN_ENDED
    assert run_sync(memory).asked
    assert len(memory.github.queries) == 1


def test_a_second_repair_writes_no_new_version(memory):
    run_sync(stuck(memory))
    memory.bucket.writes.clear()
    result = run_sync(memory)
    assert (result.written, result.plan.changes) == (False, ())
    assert ACTIVE not in memory.bucket.writes
    assert len(events(memory)) == 1


def test_a_repair_leaves_one_line_in_the_history_of_the_request(memory):
    run_sync(stuck(memory))
    (event,) = events(memory)
    assert (event.event, event.actor, event.source, event.at) == ("request_repaired", "maya-k", "ops-portal", NOW)
    assert (event.data["statusBefore"], event.data["statusAfter"]) == ("planning", "plan_ready")
    assert "github.workflows.plan.conclusion" in event.data["fields"]


def test_the_list_shows_a_repair_without_reading_everything_again(memory):
    stuck(memory).snapshots.refresh()
    run_sync(memory)
    (row,) = memory.snapshots.current().rows
    assert row.status_at(NOW) is LifecycleStatus.PLAN_READY


def test_all_questions_to_github_share_one_deadline(memory):
    run_sync(stuck(memory))
    assert memory.github.deadlines == [DEADLINE] == [timedelta(seconds=15)]


def test_partial_answers_are_kept_and_the_rest_is_said(memory):
    facts = GitHubFacts(pull=FORBIDDEN, reviews=TIMEOUT, runs={WorkflowKind.PLAN: answer_run(101)}, calls=3)
    result = run_sync(stuck(memory, facts))
    assert (result.written, result.degraded) == (True, True)
    assert result.facts.answers()["pull"].outcome is FactOutcome.FORBIDDEN
    assert memory.stored(REQUEST_ID)["planRun"]["conclusion"] == "success"


# --- a dry run


@pytest.mark.parametrize("mode", list(SyncMode))
@pytest.mark.parametrize(
    "facts",
    [
        PLAN_ENDED,
        replace(PLAN_ENDED, reviews=RATE_LIMITED),
        GitHubFacts(pull=merged_pull(), reviews=answer_reviews(("ada", "APPROVED")), calls=2),
    ],
)
def test_a_dry_run_shows_the_plan_and_writes_nothing_at_all(memory, mode, facts):
    before = stuck(memory, facts).bucket.contents()
    result = run_sync(memory, mode=mode, dry_run=True)
    assert result.plan.changes
    assert (result.dry_run, result.written) == (True, False)
    assert memory.bucket.contents() == before
    assert memory.bucket.writes == []


def test_a_dry_run_that_learned_nothing_remembers_no_back_off(memory):
    facts = GitHubFacts(pull=RATE_LIMITED, calls=1)
    before = stuck(memory, facts).bucket.contents()
    with pytest.raises(RateLimitedError):
        run_sync(memory, dry_run=True)
    assert memory.bucket.contents() == before


def test_a_dry_run_plans_what_the_repair_then_does(memory):
    preview = run_sync(stuck(memory), dry_run=True)
    done = run_sync(memory)
    assert preview.plan == done.plan
    assert preview.plan.status_after is done.explanation.status
    assert preview.explanation.status is LifecycleStatus.PLANNING


def test_a_dry_run_shows_that_the_final_copy_is_missing_and_does_not_write_it(memory):
    memory.store(with_run(request(), "destroy", **run(5, "in_progress")))
    memory.github.answers[REQUEST_ID] = GitHubFacts(runs={WorkflowKind.DESTROY: answer_run(5)})
    assert run_sync(memory, dry_run=True).plan.steps
    assert HISTORY not in memory.bucket.contents()


def test_jobs_that_github_does_not_tell_are_reported_and_what_was_known_of_them_stays(memory):
    memory.store(with_run(request(), "apply", **run(5, conclusion="cancelled")))
    known = JobsFact(5, 1, started=True)
    memory.edges.checked.put(REQUEST_ID, Checked(at=NOW - timedelta(hours=1), jobs={WorkflowKind.APPLY: known}))
    limited = replace(RATE_LIMITED, retry_after=timedelta(minutes=3))
    memory.github.answers[REQUEST_ID] = GitHubFacts(
        pull=answer_pull(), runs={WorkflowKind.APPLY: answer_run(5)}, jobs={WorkflowKind.APPLY: limited}, calls=3
    )
    result = run_sync(memory)
    assert (result.degraded, result.retry_after) == (True, timedelta(minutes=3))
    assert result.facts.answers()["apply_jobs"].outcome is FactOutcome.RATE_LIMITED
    assert memory.edges.checked.find(REQUEST_ID).jobs == {WorkflowKind.APPLY: known}


# --- AUTO


def test_auto_repairs_a_request_that_cannot_be_right(memory):
    result = run_sync(stuck(memory), mode=AUTO, operator=PORTAL)
    assert (result.asked, result.written) == (True, True)
    assert events(memory)[0].event == "request_synced"


def test_auto_leaves_github_alone_where_nothing_needs_repair(memory):
    before = healthy(memory).bucket.contents()
    result = run_sync(memory, mode=AUTO)
    assert (result.asked, result.written, result.reason) == (False, False, "nothing needs repair")
    assert result.plan.changes == result.plan.steps == ()
    assert memory.github.queries == []
    assert memory.bucket.contents() == before


def test_auto_leaves_github_alone_where_no_repository_is_known(memory):
    memory.store(request(targetRepo=None))
    assert run_sync(memory, mode=AUTO).reason == "no target repository is known"
    assert memory.github.queries == []


@pytest.mark.parametrize(("minutes", "asked"), [(4.99, False), (5, True)])
def test_auto_asks_about_a_stuck_request_every_five_minutes(memory, minutes, asked):
    stuck(memory).edges.checked.put(REQUEST_ID, Checked(at=NOW - timedelta(minutes=minutes)))
    result = run_sync(memory, mode=AUTO)
    assert result.asked is asked
    assert asked or result.reason == "GitHub was asked a moment ago"


@pytest.mark.parametrize(("minutes", "asked"), [(29.99, False), (30, True)])
def test_auto_asks_about_a_run_that_waits_for_a_person_every_thirty_minutes(memory, minutes, asked):
    memory.store(with_run(stuck_planning(), "plan", **run(101, "waiting", createdAt=ago(hours=9))))
    memory.github.answers[REQUEST_ID] = PLAN_ENDED
    memory.edges.checked.put(REQUEST_ID, Checked(at=NOW - timedelta(minutes=minutes)))
    assert run_sync(memory, mode=AUTO).asked is asked


@pytest.mark.parametrize(("minutes", "asked"), [(30, False), (30.01, True)])
def test_auto_asks_about_an_open_request_when_the_last_answer_is_old(memory, minutes, asked):
    memory.store(with_run(with_pull(request()), "plan", **run(101)))
    memory.github.answers[REQUEST_ID] = GitHubFacts(pull=merged_pull(), calls=1)
    memory.edges.checked.put(REQUEST_ID, Checked(at=NOW - timedelta(minutes=minutes)))
    result = run_sync(memory, mode=AUTO)
    assert (result.asked, result.written) == (asked, asked)


def test_an_answer_is_remembered_and_the_next_auto_waits_for_it(memory):
    run_sync(stuck(memory, replace(PLAN_ENDED, runs={WorkflowKind.PLAN: answer_run(101, "in_progress")})), mode=AUTO)
    assert memory.edges.checked.find(REQUEST_ID).facts["plan"] == "ok"
    assert not run_sync(memory, mode=AUTO).asked
    memory.clock.advance(minutes=5)
    assert run_sync(memory, mode=AUTO).asked


def test_auto_that_learned_nothing_says_so_and_changes_nothing(memory):
    result = run_sync(stuck(memory, GitHubFacts(pull=TIMEOUT, runs={WorkflowKind.PLAN: TIMEOUT}, calls=2)), mode=AUTO)
    assert (result.asked, result.written, result.degraded) == (True, False, True)
    assert memory.stored(REQUEST_ID) == stuck_planning()


# --- GitHub does not answer


def test_while_github_is_down_auto_does_not_ask_at_every_look(memory):
    memory.edges.checked.put(REQUEST_ID, Checked(at=NOW - timedelta(hours=1), facts={"pull": "ok"}))
    assert run_sync(stuck(memory, GitHubFacts(pull=TIMEOUT, calls=1)), mode=AUTO).asked
    memo = memory.edges.checked.find(REQUEST_ID)
    assert (memo.at, memo.tried_at, memo.facts) == (NOW - timedelta(hours=1), NOW, {"pull": "ok"})
    assert not run_sync(memory, mode=AUTO).asked
    memory.clock.advance(minutes=5)
    assert run_sync(memory, mode=AUTO).asked


def test_a_repair_that_learned_nothing_fails_and_names_every_outcome(memory):
    facts = GitHubFacts(pull=TIMEOUT, reviews=FORBIDDEN, runs={WorkflowKind.PLAN: TIMEOUT}, calls=3)
    with pytest.raises(GitHubError) as failed:
        run_sync(stuck(memory, facts))
    assert "pull: timeout, reviews: forbidden, plan: timeout" in failed.value.message
    assert memory.stored(REQUEST_ID) == stuck_planning()
    assert memory.bucket.writes == [CHECKED]


def test_a_repair_that_github_refuses_for_now_tells_how_long_to_wait_and_remembers_it(memory):
    with pytest.raises(RateLimitedError) as limited:
        run_sync(stuck(memory, GitHubFacts(pull=RATE_LIMITED, calls=1)))
    assert limited.value.retry_after == timedelta(minutes=7)
    stored = json.loads(memory.bucket.contents()[BACKOFF])
    assert stored["until"] == ago(minutes=-7)


def test_while_github_asked_us_to_wait_it_is_not_called(memory):
    stuck(memory).edges.backoffs.put(REPO, until=NOW + timedelta(minutes=3), now=NOW, reason="limit")
    with pytest.raises(RateLimitedError) as limited:
        run_sync(memory)
    assert limited.value.retry_after == timedelta(minutes=3)
    assert memory.github.queries == []
    result = run_sync(memory, mode=AUTO)
    assert (result.degraded, result.retry_after, result.written) == (True, timedelta(minutes=3), False)
    memory.clock.advance(minutes=3)
    assert run_sync(memory).written


def test_a_back_off_is_not_prolonged_by_asking_again(memory):
    facts = replace(PLAN_ENDED, reviews=RATE_LIMITED)
    result = run_sync(stuck(memory, facts))
    assert (result.written, result.degraded, result.retry_after) == (True, True, timedelta(minutes=7))
    remembered = memory.bucket.contents()[BACKOFF]
    memory.clock.advance(minutes=1)
    with pytest.raises(RateLimitedError):
        run_sync(memory)
    assert memory.bucket.contents()[BACKOFF] == remembered


# --- which request


def test_an_unknown_request_does_not_exist(memory):
    with pytest.raises(NotFoundError):
        run_sync(memory, request_id="req_unknown")
    assert memory.bucket.contents() == {}


@pytest.mark.parametrize("text", ["../x", "req_\x00", "req_A", "", "req_" + "a" * 10_000])
def test_what_cannot_be_an_id_is_refused_before_anything_is_read(memory, text):
    memory.bucket.outage = OUTAGE
    with pytest.raises(MalformedIdError):
        run_sync(memory, request_id=text)


@pytest.mark.parametrize("mode", list(SyncMode))
def test_an_archived_request_is_never_written_nor_brought_back(memory, mode):
    memory.archive(stuck_planning())
    before = memory.bucket.contents()
    with pytest.raises(ArchivedError) as refused:
        run_sync(memory, mode=mode)
    assert refused.value.hint
    assert memory.bucket.contents() == before


def test_of_twins_the_active_document_is_repaired(memory):
    stuck(memory).archive(request(updatedAt=ago(days=1)))
    archived = memory.bucket.contents()[HISTORY]
    assert run_sync(memory).written
    assert memory.bucket.contents()[HISTORY] == archived


def test_a_request_that_names_no_repository_cannot_be_repaired(memory):
    memory.store(request(targetOwner=None))
    with pytest.raises(RefusedError, match="no target repository"):
        run_sync(memory)


@pytest.mark.parametrize("content", [b"{", b"\xff", b"[]", b'{"id": "req_other"}'])
def test_an_unreadable_document_is_refused_and_left_as_it_is(memory, content):
    memory.bucket.write(ACTIVE, content)
    with pytest.raises(DocumentError):
        run_sync(memory)
    assert memory.bucket.contents() == {ACTIVE: content}


def test_an_unreachable_bucket_is_said(memory):
    stuck(memory).bucket.outage = OUTAGE
    with pytest.raises(StorageError):
        run_sync(memory)


# --- other writers


def test_what_somebody_else_wrote_meanwhile_is_kept(memory):
    stuck(memory).bucket.interfere = lambda: memory.store({**stuck_planning(), "version": 5, "note": "theirs"})
    result = run_sync(memory)
    stored = memory.stored(REQUEST_ID)
    assert (stored["note"], stored["version"], stored["planRun"]["conclusion"]) == ("theirs", 6, "success")
    assert (result.written, result.request.raw) == (True, stored)
    assert len(memory.github.queries) == 1


def test_when_somebody_else_stored_the_same_facts_meanwhile_nothing_is_left_to_write(memory):
    other = InMemory()
    run_sync(stuck(other))
    theirs = {**other.stored(REQUEST_ID), "version": 9}
    stuck(memory).bucket.interfere = lambda: memory.store(theirs)
    result = run_sync(memory)
    assert (result.written, result.plan.changes) == (False, ())
    assert memory.stored(REQUEST_ID) == theirs


def test_when_another_run_is_tracked_meanwhile_github_is_asked_again(memory):
    later = with_run(with_pull(request()), "plan", **run(202, "in_progress", createdAt=ago(minutes=1)))

    def told(query):
        (question,) = query.runs
        return GitHubFacts(runs={WorkflowKind.PLAN: answer_run(question.run_id, conclusion="failure")}, calls=1)

    stuck(memory).bucket.interfere = lambda: memory.store(later)
    memory.github.answers[REQUEST_ID] = told
    run_sync(memory)
    assert [query.runs[0].run_id for query in memory.github.queries] == [101, 202]
    assert memory.stored(REQUEST_ID)["planRun"]["runId"] == 202
    assert memory.github.deadlines[1] <= DEADLINE


def test_a_repair_that_learned_nothing_when_it_asked_again_fails_too(memory):
    later = with_run(with_pull(request()), "plan", **run(202, "in_progress"))
    answers = iter([PLAN_ENDED, GitHubFacts(pull=TIMEOUT, calls=1)])
    stuck(memory).bucket.interfere = lambda: memory.store(later)
    memory.github.answers[REQUEST_ID] = lambda query: next(answers)
    with pytest.raises(GitHubError):
        run_sync(memory)
    assert memory.stored(REQUEST_ID) == later


def test_a_request_that_was_archived_meanwhile_stays_archived(memory):
    def archive():
        memory.archive(stuck_planning())
        memory.bucket.delete(ACTIVE)

    stuck(memory).bucket.interfere = archive
    with pytest.raises(ArchivedError):
        run_sync(memory)
    assert ACTIVE not in memory.bucket.contents()


def test_a_repair_gives_up_when_others_win_every_race(memory):
    tries = []

    def win():
        tries.append(1)
        memory.store({**stuck_planning(), "version": 1 + len(tries)})
        memory.bucket.interfere = win

    stuck(memory).bucket.interfere = win
    with pytest.raises(ConflictError):
        run_sync(memory)
    assert len(tries) == MAX_TRIES
    assert "planRun" not in memory.stored(REQUEST_ID)


# --- beside the document


def test_a_history_line_that_cannot_be_written_is_a_notice_and_the_repair_counts(memory, monkeypatch):
    result = run_sync(_failing(stuck(memory), monkeypatch, "logs/"))
    assert result.written
    assert len(result.notices) == 1
    assert "history was not written" in result.notices[0]


def test_a_memo_that_cannot_be_written_is_a_notice_and_the_repair_counts(memory, monkeypatch):
    result = run_sync(_failing(stuck(memory), monkeypatch, "ops/checked/"))
    assert result.written
    assert len(result.notices) == 1
    assert "could not be remembered" in result.notices[0]


def _failing(memory: InMemory, monkeypatch: pytest.MonkeyPatch, prefix: str) -> InMemory:
    """The bucket refuses to write there, as it does when a permission is missing."""
    write = memory.bucket.put

    def put(key, content, *, if_match):
        if key.startswith(prefix):
            raise StorageError(f"Could not write {key}: access denied", "Check the permissions.")
        return write(key, content, if_match=if_match)

    monkeypatch.setattr(memory.bucket, "put", put)
    return memory


# --- the final copy of a destroyed request


DESTROY_ENDED = GitHubFacts(runs={WorkflowKind.DESTROY: answer_run(5)}, calls=1)


def destroying(memory: InMemory) -> InMemory:
    memory.store(with_run(request(), "destroy", **run(5, "in_progress", createdAt=ago(minutes=9))))
    memory.github.answers[REQUEST_ID] = DESTROY_ENDED
    return memory


def test_a_destroyed_request_gets_its_final_copy_and_stays_where_it_is(memory):
    result = run_sync(destroying(memory))
    contents = memory.bucket.contents()
    assert result.explanation.status is LifecycleStatus.DESTROYED
    assert contents[HISTORY] == contents[ACTIVE]


def test_an_older_copy_is_kept_before_it_is_replaced(memory):
    destroying(memory).archive({**request(), "note": "at dispatch"})
    older = memory.bucket.contents()[HISTORY]
    run_sync(memory)
    contents = memory.bucket.contents()
    assert contents[HISTORY] == contents[ACTIVE]
    kept = [content for key, content in contents.items() if key.startswith(f"ops/backups/history/{REQUEST_ID}/")]
    assert kept == [older]


def test_an_identical_copy_is_left_untouched(memory):
    run_sync(destroying(memory))
    memory.bucket.writes.clear()
    result = run_sync(memory)
    assert result.plan.steps == ()
    assert HISTORY not in memory.bucket.writes
    assert not any(key.startswith("ops/backups/") for key in memory.bucket.contents())


def test_a_copy_that_an_earlier_repair_could_not_write_is_written_by_the_next(memory):
    run_sync(destroying(memory))
    memory.bucket.delete(HISTORY)
    result = run_sync(memory)
    assert (result.written, memory.bucket.contents()[HISTORY]) == (False, memory.bucket.contents()[ACTIVE])
    assert result.archived
    assert events(memory)[0].data["archivedCopy"] is True


def test_a_copy_that_somebody_else_writes_meanwhile_is_kept_too(memory):
    run_sync(destroying(memory))
    theirs = {**request(), "note": "theirs"}
    memory.bucket.delete(HISTORY)
    memory.bucket.interfere = lambda: memory.archive(theirs)
    run_sync(memory)
    contents = memory.bucket.contents()
    assert contents[HISTORY] == contents[ACTIVE]
    assert render_document(theirs) in [contents[key] for key in contents if key.startswith("ops/backups/")]


def test_an_unreadable_copy_is_never_overwritten_and_does_not_stop_the_repair(memory):
    destroying(memory).bucket.write(HISTORY, b"not JSON")
    result = run_sync(memory)
    assert (result.written, result.explanation.status) == (True, LifecycleStatus.DESTROYED)
    assert memory.bucket.contents()[HISTORY] == b"not JSON"
    assert "final copy in history/ was not written" in result.notices[0]


def test_a_copy_that_cannot_be_written_is_a_notice_and_the_repair_counts(memory, monkeypatch):
    result = run_sync(_failing(destroying(memory), monkeypatch, "history/"))
    assert (result.written, HISTORY in memory.bucket.contents()) == (True, False)
    assert "final copy in history/ was not written" in result.notices[0]


# --- who may


def prod(memory: InMemory) -> InMemory:
    memory.store({**stuck_planning(), "environment": "prod"})
    memory.github.answers[REQUEST_ID] = PLAN_ENDED
    return memory


@pytest.mark.parametrize("operator", [MAYA, TOM, LEAD, PORTAL])
def test_developers_and_above_and_the_portal_itself_may_repair_dev(memory, operator):
    assert run_sync(stuck(memory), operator=operator).written


@pytest.mark.parametrize("operator", [TOM, LEAD, PORTAL])
def test_approvers_and_above_and_the_portal_itself_may_repair_prod(memory, operator):
    assert run_sync(prod(memory), operator=operator).written


@pytest.mark.parametrize("mode", list(SyncMode))
def test_a_viewer_may_only_look(memory, mode):
    before = stuck(memory).bucket.contents()
    with pytest.raises(MissingRightError):
        run_sync(memory, mode=mode, operator=NOBODY)
    assert memory.bucket.contents() == before
    assert memory.github.queries == []
    assert run_sync(memory, operator=NOBODY, dry_run=True).plan.changes


def test_a_developer_may_not_repair_prod(memory):
    before = prod(memory).bucket.contents()
    with pytest.raises(MissingRightError, match="counts as prod"):
        run_sync(memory, operator=MAYA)
    assert memory.bucket.contents() == before
    assert run_sync(memory, operator=MAYA, dry_run=True).plan.changes


@pytest.mark.parametrize("operator", [TOM, LEAD])
def test_a_list_of_people_for_prod_restricts_even_admins(memory, operator):
    memory.rights = Rights("ops-lead", "tom-r", frozenset({"dev"}), frozenset({"ada"}))
    with pytest.raises(MissingRightError, match="not among those"):
        run_sync(prod(memory), operator=operator)
    assert run_sync(memory, operator=PORTAL).written


def test_a_request_without_an_environment_counts_as_prod(memory):
    memory.store({**stuck_planning(), "environment": None})
    with pytest.raises(MissingRightError):
        run_sync(memory, operator=MAYA)


def test_a_run_that_is_gone_is_remembered_and_auto_stops_asking_for_it(memory):
    stuck(memory, GitHubFacts(pull=answer_pull(), runs={WorkflowKind.PLAN: NOT_FOUND}, calls=2))
    assert run_sync(memory, mode=AUTO).written
    memory.clock.advance(minutes=6)
    assert not run_sync(memory, mode=AUTO).asked
