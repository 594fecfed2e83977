"""Which fields of a document a fact from GitHub changes: the canonical place, and the legacy mirror (SPEC §1, §4)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Final

from tfpilot.core.approval import Verdict, weigh
from tfpilot.core.document import field_at, format_time, number_of, object_of, parse_time
from tfpilot.core.facts import TRIGGER_TOLERANCE, join_pulls, newest_run
from tfpilot.core.lifecycle import latest_start
from tfpilot.core.model import (
    ABSENT,
    FieldChange,
    JsonObject,
    PullFact,
    Request,
    Review,
    RunFact,
    WorkflowKind,
)
from tfpilot.core.request import LEGACY_RUNS, canonical_run, is_of_older_revision, revision_began

RUN_FIELDS: Final = {
    "run_id": "runId",
    "attempt": "attempt",
    "status": "status",
    "conclusion": "conclusion",
    "head_sha": "headSha",
    "created_at": "createdAt",
    "run_started_at": "runStartedAt",
    "updated_at": "updatedAt",
    "url": "url",
    "html_url": "htmlUrl",
}
_PULL_FIELDS: Final = {
    "number": "number",
    "url": "url",
    "open": "open",
    "merged": "merged",
    "merged_at": "mergedAt",
    "merge_commit_sha": "mergeCommitSha",
    "head_sha": "headSha",
}
_OF_ONE_PULL: Final = ("mergedAt", "mergeCommitSha", "headSha", "createdAt", "updatedAt")
_CLEANUP_FIELDS: Final = {"number": "number", "url": "url", "merged": "merged", "head_branch": "headBranch"}


def run_changes(
    request: Request, kind: WorkflowKind, learned: RunFact, *, replacing: bool = False
) -> Iterator[FieldChange]:
    """The changes by what GitHub says of the run that the document tracks; none where it is about another run.

    `replacing`: the guard of SPEC §6 has found a newer run that takes the place of the tracked one.
    """
    if not replacing and not _is_about_tracked_run(request, kind, learned):
        return
    fact = newest_run(request.runs.get(kind), replace(learned, url=learned.html_url or learned.url))
    values = {name: _json_value(getattr(fact, attribute)) for attribute, name in RUN_FIELDS.items()}
    source = f"run {fact.run_id}, attempt {fact.attempt or 1}"
    yield from _field_changes(request.raw, canonical_run(kind), values, source)
    legacy = LEGACY_RUNS.get(kind)
    if legacy is not None:
        yield from _field_changes(request.raw, (legacy,), values, f"mirror of the {kind.value} fact")
    if kind is WorkflowKind.CLEANUP:
        yield from _cleanup_found_changes(request, fact)
    if kind in request.unresolved:
        path = ("github", "unresolved", kind.value)
        yield from field_change(request.raw, path, ABSENT, "GitHub answers for the run again")


def _cleanup_found_changes(request: Request, fact: RunFact) -> Iterator[FieldChange]:
    """A cleanup run since the destroy settles a dispatch that was pending, or had failed."""
    status, destroyed_at = ("github", "cleanupDispatchStatus"), latest_start(request, WorkflowKind.DESTROY)
    is_open = field_at(request.raw, status) in ("pending", "error")
    if is_open and fact.created_at is not None and (destroyed_at is None or fact.created_at >= destroyed_at):
        yield from field_change(request.raw, status, "dispatched", f"cleanup run {fact.run_id} exists")
        yield from field_change(request.raw, ("github", "cleanupDispatchLastError"), ABSENT, "no longer true")


def unresolved_changes(request: Request, kind: WorkflowKind, now: datetime) -> Iterator[FieldChange]:
    """Remembers, once, that GitHub no longer has the tracked run."""
    run = request.runs.get(kind)
    if run is None or run.run_id is None or request.unresolved.get(kind) == run.run_id:
        return
    memo = {"runId": run.run_id, "at": format_time(now)}
    yield from field_change(request.raw, ("github", "unresolved", kind.value), memo, f"GitHub has no run {run.run_id}")


def pull_changes(request: Request, learned: PullFact) -> Iterator[FieldChange]:
    """The changes by what GitHub says of the request's pull request; none where it is about another one, or older than
    what is stored. What changes anything also says when, so that an older event that comes later is known as such."""
    if learned.number is None or request.pr_number not in (None, learned.number):
        return
    stored = join_pulls(fact for fact in request.stored_pulls.values() if fact.number in (None, learned.number))
    if is_outdated_pull(stored, learned):
        return
    pull = _newest_pull(stored, learned)
    order = {"updatedAt": _json_value(pull.updated_at)} if any(_pull_changes(request, pull, {})) else {}
    yield from _pull_changes(request, pull, order)


def is_outdated_pull(stored: PullFact | None, learned: PullFact) -> bool:
    """Whether GitHub said it before what is stored. A merge that is not stored yet is news, however old."""
    if stored is None or stored.updated_at is None or learned.updated_at is None:
        return False
    return learned.updated_at < stored.updated_at and not (learned.merged and not stored.merged)


def _pull_changes(request: Request, pull: PullFact, order: Mapping[str, object]) -> Iterator[FieldChange]:
    source = f"pull request #{pull.number}"
    values = {name: _json_value(getattr(pull, attribute)) for attribute, name in _PULL_FIELDS.items()}
    canonical = {**values, "createdAt": _json_value(pull.created_at), **order}
    yield from _place_changes(request.raw, ("github", "pr"), canonical, source)
    yield from _place_changes(request.raw, ("pr",), values, "mirror of the PR fact")
    if isinstance(request.raw.get("pullRequest"), dict):
        mirrored = {name: values[name] for name in ("number", "open", "merged")}
        yield from _place_changes(request.raw, ("pullRequest",), mirrored, "mirror of the PR fact")
    if request.pr_number is None:
        found = f"found by branch {pull.head_branch}"
        yield from _field_changes(request.raw, (), {"prNumber": pull.number, "prUrl": pull.url}, found)
    if pull.merged and pull.merge_commit_sha is not None:
        yield from field_change(request.raw, ("mergedSha",), pull.merge_commit_sha, f"merge of #{pull.number}")


def approval_changes(request: Request, reviews: Iterable[Review], pull: PullFact | None) -> Iterator[FieldChange]:
    """The changes by the reviews of the request's pull request. `pull`: that one as GitHub gave it, if it did."""
    merged = bool(request.pull and request.pull.merged) or bool(pull and pull.merged)
    current = pull or request.pull
    since = current.created_at if current and request.has_previous_pulls else None
    author = pull.author if pull else None
    verdict = weigh(request.approval, reviews, author=author, merged=merged, since=since)
    for login, review in sorted(verdict.reviews.items()):
        name = next((known for known in request.approval.reviews if known.casefold() == login.casefold()), login)
        values = {"state": review.state.upper(), "submittedAt": _json_value(review.submitted_at)}
        yield from _field_changes(request.raw, ("approval", "reviews", name), values, f"review by {login}")
    if verdict.approved != request.approval.approved:
        yield from field_change(request.raw, ("approval", "approved"), verdict.approved, verdict.reason)
    if verdict.approvers != request.approval.approvers:
        yield from field_change(
            request.raw, ("approval", "approvers"), _approvers(request.raw, verdict), verdict.reason
        )


def _approvers(document: JsonObject, verdict: Verdict) -> list[object]:
    """Everybody who approves, and what else stands in the list: it is not ours to remove."""
    stored = field_at(document, ("approval", "approvers"))
    strange = [entry for entry in stored if not isinstance(entry, str)] if isinstance(stored, list) else []
    return [*verdict.approvers, *strange]


def cleanup_pull_changes(request: Request, learned: PullFact, now: datetime) -> Iterator[FieldChange]:
    """The changes by the cleanup pull request, with its timeline steps, each once."""
    if learned.number is None:
        return
    stored = request.cleanup_pull
    same = stored is not None and stored.number in (None, learned.number)
    if same and is_outdated_pull(stored, learned):
        return
    pull = _newest_pull(stored if same else None, learned)
    source = f"cleanup pull request #{pull.number}"
    values = {name: _json_value(getattr(pull, attribute)) for attribute, name in _CLEANUP_FIELDS.items()}
    values |= {"merged": bool(pull.merged), "status": "open" if pull.is_open else "closed"}
    is_news = any(_place_changes(request.raw, ("cleanupPr",), values, source))
    order = {"updatedAt": _json_value(pull.updated_at)} if is_news else {}
    yield from _place_changes(request.raw, ("cleanupPr",), {**values, **order}, source)
    merged_step = [("Cleanup PR merged", pull.merged_at)] if pull.merged else []
    steps = [("Cleanup PR opened", pull.created_at), *merged_step]
    yield from _timeline_changes(request.raw, steps, pull.url or "", now, source)


def _is_about_tracked_run(request: Request, kind: WorkflowKind, learned: RunFact) -> bool:
    """Whether the answer is about the run that the document tracks now: it may have changed since GitHub was asked."""
    stored, trigger = request.runs.get(kind), request.triggers.get(kind)
    if stored is not None and stored.run_id is not None:
        return learned.run_id == stored.run_id
    if is_of_older_revision(kind, learned.created_at, revision_began(request)):
        return False
    if trigger is None or trigger.at is None or learned.created_at is None:
        return True
    return learned.created_at >= trigger.at - TRIGGER_TOLERANCE


def _newest_pull(stored: PullFact | None, learned: PullFact) -> PullFact:
    """What GitHub says, and for what it leaves out what is stored. A merge is never taken back: an answer without it
    is an older one."""
    if stored is None:
        return learned
    filled = replace(
        learned,
        url=learned.url or stored.url,
        open=stored.open if learned.open is None else learned.open,
        merged=stored.merged if learned.merged is None else learned.merged,
        merged_at=learned.merged_at or stored.merged_at,
        merge_commit_sha=learned.merge_commit_sha or stored.merge_commit_sha,
        head_sha=learned.head_sha or stored.head_sha,
        head_branch=learned.head_branch or stored.head_branch,
        created_at=learned.created_at or stored.created_at,
        updated_at=max(filter(None, (learned.updated_at, stored.updated_at)), default=None),
    )
    return replace(filled, merged=True, open=False) if stored.merged and not learned.merged else filled


def _place_changes(
    document: JsonObject, path: tuple[str, ...], values: Mapping[str, object], source: str
) -> Iterator[FieldChange]:
    """The changes of one place that holds a pull request. What it holds of another one is taken out first: a merge time
    left behind would make the new one look merged."""
    stored = object_of(field_at(document, path))
    is_another = number_of(stored.get("number")) not in (None, values["number"])
    left_behind = {name: None for name in _OF_ONE_PULL if is_another and name in stored}
    yield from _field_changes(document, path, {**left_behind, **values}, source)


def _timeline_changes(
    document: JsonObject, steps: Iterable[tuple[str, datetime | None]], link: str, now: datetime, source: str
) -> Iterator[FieldChange]:
    """Adds each step that the timeline does not hold yet for the pull request behind `link`; something that is no
    timeline stays as it is."""
    timeline = document.get("timeline")
    if timeline and not isinstance(timeline, list):
        return
    known = list(timeline) if isinstance(timeline, list) else []
    seen = {(str(entry.get("step")), _number_in(entry.get("message"))) for entry in known if isinstance(entry, Mapping)}
    added = [
        {"step": step, "status": "Complete", "message": link, "at": format_time(at or now)}
        for step, at in steps
        if (step, _number_in(link)) not in seen
    ]
    if added:
        yield from field_change(document, ("timeline",), [*known, *added], source)


def _number_in(link: object) -> str:
    """The last part of a link: the pull request's number, which stays when a repository is renamed."""
    return str(link).rpartition("/")[2]


def _field_changes(
    document: JsonObject, path: tuple[str, ...], values: Mapping[str, object], source: str
) -> Iterator[FieldChange]:
    for name, value in values.items():
        yield from field_change(document, (*path, name), value, source)


def field_change(document: JsonObject, path: tuple[str, ...], after: object, source: str) -> Iterator[FieldChange]:
    """The change, unless the field says the same already. What is not known is not written over nothing."""
    before = field_at(document, path)
    nothing_known = after is None and (before is ABSENT or before == "")
    if not nothing_known and not _is_same(before, after):
        yield FieldChange(path, before, after, source)


def find_obstacle(document: JsonObject, change: FieldChange) -> str | None:
    """What stands where the field would go and would be lost by writing it, for a person; None where nothing does.

    Something else than an object on the way to the field, or an object or list in the place of a plain value.
    """
    for length in range(1, len(change.path)):
        holder = field_at(document, change.path[:length])
        if not isinstance(holder, Mapping) and holder not in (ABSENT, None, "", []):
            return f"{'.'.join(change.path[:length])} is no object, so {change.path[length]} has no place in it"
    is_structure = isinstance(change.before, Mapping | list) and bool(change.before)
    if is_structure and not isinstance(change.after, type(change.before)) and change.after is not ABSENT:
        return f"{change.dotted} holds more than a plain value"
    return None


def _is_same(before: object, after: object) -> bool:
    if before is ABSENT or after is ABSENT:
        return before is after
    if type(before) is not type(after):
        return False
    at = parse_time(before)
    return before == after or (at is not None and at == parse_time(after))


def _json_value(value: object) -> object:
    return format_time(value) if isinstance(value, datetime) else value
