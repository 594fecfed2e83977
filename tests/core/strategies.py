"""Requests and answers of GitHub as hypothesis makes them up: the usual, the odd, and the impossible."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from hypothesis import strategies as st

from tests.builders import NOW, REQUEST_ID
from tests.core.saying import REPO
from tfpilot.core.document import apply_changes, format_time
from tfpilot.core.model import (
    ACTIVE_RUN_STATUSES,
    FAILED_CONCLUSIONS,
    Answer,
    FactOutcome,
    FieldChange,
    GitHubFacts,
    PullFact,
    Review,
    RunFact,
    WorkflowKind,
    WorkflowRun,
)

TEXT = st.text(max_size=8) | st.just("\ud800")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)

MOMENTS = st.sampled_from(
    [NOW - timedelta(minutes=minutes, seconds=s) for minutes in (0, 10, 15, 30, 60, 61, 90) for s in (0, 5)]
)
TIMES = MOMENTS.map(format_time)
STATUSES = st.sampled_from([*sorted(ACTIVE_RUN_STATUSES), "completed", "meditating"])
CONCLUSIONS = st.sampled_from([*sorted(FAILED_CONCLUSIONS), "success", "skipped", "levitated"])
RUN_IDS = st.sampled_from([101, 102, 103])
NUMBERS = st.sampled_from([6, 7])
LOGINS = st.sampled_from(["ada", "Ada", "bob", "maya-k"])
STATES = st.sampled_from(["APPROVED", "CHANGES_REQUESTED", "DISMISSED", "COMMENTED", "PENDING"])


def maybe(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | values


def some(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """An object with any of the fields."""
    return st.fixed_dictionaries({}, optional=fields)


STORED_RUNS = some(
    runId=RUN_IDS,
    attempt=st.sampled_from([1, 2]),
    status=STATUSES,
    conclusion=maybe(CONCLUSIONS),
    createdAt=TIMES,
    runStartedAt=TIMES,
    updatedAt=TIMES,
    url=st.just("https://a"),
)
STORED_PULLS = some(
    number=NUMBERS, open=st.booleans(), merged=st.booleans(), mergedAt=TIMES, createdAt=TIMES, updatedAt=TIMES
)
STORED_REVIEWS = st.dictionaries(LOGINS, some(state=STATES, submittedAt=TIMES), max_size=2)

USUAL: Mapping[str, st.SearchStrategy[Any]] = {
    "github.workflows.plan": STORED_RUNS,
    "github.workflows.apply": STORED_RUNS,
    "github.workflows.destroy": STORED_RUNS,
    "github.workflows.cleanup": STORED_RUNS,
    "github.workflows.drift_plan": STORED_RUNS,
    "planRun": STORED_RUNS,
    "applyRun": STORED_RUNS,
    "destroyRun": STORED_RUNS,
    "github.planTriggeredAt": TIMES,
    "github.applyTriggeredAt": TIMES,
    "applyTriggeredAt": TIMES,
    "github.destroyTriggeredAt": TIMES | st.just("soon"),
    "github.pr": STORED_PULLS,
    "pr": STORED_PULLS,
    "pullRequest": STORED_PULLS,
    "activePrNumber": NUMBERS,
    "prNumber": NUMBERS,
    "prUrl": st.just("https://github.com/acme/infra/pull/7"),
    "previousPrs": st.sampled_from([[], [6]]),
    "mergedSha": st.just("5ea1"),
    "branchName": st.just(f"request/{REQUEST_ID}"),
    "targetOwner": st.just("acme"),
    "targetRepo": st.just("infra"),
    "environment": st.sampled_from(["dev", "prod"]),
    "status": st.sampled_from(["created", "planning", "applied", "failed"]),
    "version": st.integers(0, 9),
    "updatedAt": TIMES,
    "receivedAt": TIMES,
    "approval": some(approved=st.booleans(), approvers=st.lists(LOGINS, max_size=2), reviews=STORED_REVIEWS),
    "cleanupPr": STORED_PULLS,
    "timeline": st.lists(some(step=st.just("Cleanup PR opened"), message=st.just("https://x/pull/9")), max_size=2),
    "lock": some(holder=st.just("maya-k"), operation=st.just("plan"), expiresAt=TIMES),
    "github.unresolved": st.dictionaries(st.sampled_from(["plan", "apply"]), some(runId=RUN_IDS), max_size=2),
    "github.cleanupDispatchStatus": st.sampled_from(["pending", "dispatched", "error"]),
    "config.tags": some(**{"tfpilot:created_by": st.just("maya-k")}),
}
"""Every place that is read, with what usually stands there."""


@st.composite
def documents(draw: st.DrawFn, *, oddly: bool = False) -> dict[str, Any]:
    """A request document with some of the usual fields; `oddly`, any JSON value may stand in the place of any."""
    places = draw(st.lists(st.sampled_from(sorted(USUAL)), unique=True, max_size=14))
    parents = [path for path in ("github", "github.workflows", "approval.reviews", "config") if oddly]
    changes = [
        FieldChange(tuple(path.split(".")), None, draw(JSON if path not in USUAL else _place(path, oddly=oddly)), "")
        for path in [*draw(st.lists(st.sampled_from(parents), unique=True) if parents else st.just([])), *places]
    ]
    return apply_changes({"id": REQUEST_ID}, changes)


def _place(path: str, *, oddly: bool) -> st.SearchStrategy[Any]:
    return USUAL[path] | JSON if oddly else USUAL[path]


@st.composite
def run_facts(draw: st.DrawFn, run_id: int | None = None) -> RunFact:
    """A run as GitHub tells it: concluded if and only if it is completed."""
    status, attempt = draw(STATUSES), draw(st.sampled_from([1, 2, 3]))
    return RunFact(
        run_id=run_id or draw(RUN_IDS),
        attempt=attempt,
        status=status,
        conclusion=draw(CONCLUSIONS) if status == "completed" else None,
        head_sha="c0de",
        created_at=NOW - timedelta(minutes=80),
        run_started_at=NOW - timedelta(minutes=80 - attempt),
        updated_at=draw(maybe(MOMENTS)),
        html_url="https://run",
    )


@st.composite
def pull_facts(draw: st.DrawFn, number: int | None = None) -> PullFact:
    """A pull request as GitHub tells it: merged ones are closed and have a time and a commit."""
    merged = draw(st.booleans())
    return PullFact(
        number=number or draw(NUMBERS),
        url="https://github.com/acme/infra/pull/7",
        open=not merged and draw(st.booleans()),
        merged=merged,
        merged_at=NOW if merged else None,
        merge_commit_sha="5ea1" if merged else None,
        head_branch=f"request/{REQUEST_ID}",
        author=draw(maybe(LOGINS)),
        created_at=draw(maybe(MOMENTS)),
    )


REVIEWS = st.lists(st.builds(Review, LOGINS, STATES, maybe(MOMENTS)), max_size=4).map(tuple)


def answers(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Answer[Any]]:
    """A fact, or that there is none, or that it could not be learned."""
    silence = [FactOutcome.NOT_ASKED, FactOutcome.NOT_FOUND, FactOutcome.FORBIDDEN, FactOutcome.TIMEOUT]
    told = values.map(lambda value: Answer(FactOutcome.OK, value))
    return told | told | st.sampled_from(silence).map(Answer)


def github_facts() -> st.SearchStrategy[GitHubFacts]:
    runs = answers(run_facts().map(lambda fact: WorkflowRun(fact, REPO)))
    return st.builds(
        GitHubFacts,
        pull=answers(pull_facts()),
        reviews=answers(REVIEWS),
        cleanup_pull=answers(pull_facts(number=9)),
        runs=st.dictionaries(st.sampled_from(list(WorkflowKind)), runs, max_size=5),
    )
