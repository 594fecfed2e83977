"""A plan that was made, with everything that its review shows: counted once, however often a page is drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tfpilot.core.reset_plan import ArchiveCase, Person, ResetPlan, count_cases, people_of
from tfpilot.core.reset_plan_document import digest_of
from tfpilot.core.reset_plan_report import PlanLine, plan_lines, resources_of, total_of
from tfpilot.core.terraform_state import TypeCount, count_types
from tfpilot.operations.reset_views import Choices
from tfpilot.ui.spreadsheet import to_csv


@dataclass(frozen=True, slots=True)
class MadePlan:
    """The plan, what was chosen and why, and its numbers."""

    plan: ResetPlan
    choices: Choices
    reason: str
    digest: str
    lines: Sequence[PlanLine]
    total: tuple[int, int]
    people: Sequence[Person]
    types: Sequence[TypeCount]
    cases: Mapping[ArchiveCase, int]

    @property
    def target(self) -> str:
        return self.plan.target.name

    def count(self, what: str) -> int:
        """How many things the line of that name has; 0 where there is no such line."""
        return next((line.count for line in self.lines if line.what == what), 0)


def made_of(plan: ResetPlan, choices: Choices, *, reason: str) -> MadePlan:
    """The plan with its numbers. Walks over all of it."""
    lines = plan_lines(plan)
    return MadePlan(
        plan=plan,
        choices=choices,
        reason=reason,
        digest=digest_of(plan),
        lines=lines,
        total=total_of(lines),
        people=people_of(plan),
        types=count_types(resources_of(plan)),
        cases=count_cases(plan),
    )


def resources_csv(plan: ResetPlan) -> str:
    """Every resource that loses its state."""
    rows = (
        (state.object_key, each.address, each.mode, each.type, each.provider, each.count)
        for state in plan.states
        if state.summary is not None
        for each in state.summary.resources
    )
    return to_csv(("state", "address", "mode", "type", "provider", "count"), rows)


def requests_csv(plan: ResetPlan) -> str:
    """Every request of the plan, and those that are left because it cannot be decided."""
    planned = (
        (
            each.request_id,
            each.case.value,
            each.created_by,
            each.last_activity.isoformat() if each.last_activity else "",
        )
        for each in plan.requests
    )
    left = ((each.request_id, f"left: {each.reason}", "", "") for each in plan.undecided)
    return to_csv(("request", "what happens", "created by", "last activity"), (*planned, *left))
