"""A reset's plan for a person: a line per kind of thing, and all of it as a page of Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Final

from tfpilot.core.reset_plan import ArchiveCase, PlannedState, ResetPlan, StateMode, count_cases, people_of
from tfpilot.core.reset_plan_document import digest_of
from tfpilot.core.terraform_state import StateResource, count_types

ORPHANS: Final = (
    "A reset destroys none of these. After it, no state knows them: they go on costing money, and a new apply can fail "
    "because they exist."
)
_LOGIN_UNKNOWN: Final = "nobody named"


@dataclass(frozen=True, slots=True)
class PlanLine:
    """What becomes of one kind of thing. `happens` is Markdown. `size_bytes` None: it is left as it is."""

    what: str
    count: int
    noun: str
    size_bytes: int | None
    happens: str


def plan_lines(plan: ResetPlan) -> tuple[PlanLine, ...]:
    """A line per kind of thing, in the order in which a reset comes to them."""
    states = [state.state for state in plan.states if state.state is not None]
    digests = [state.digest for state in plan.states if state.digest is not None]
    documents = [request.document for request in plan.requests]
    entries = [each.entry for each in plan.entries]
    lines = [
        PlanLine("Terraform state", len(states), "object", sum(each.size_bytes for each in states), _states(plan)),
        PlanLine("Digest item", len(digests), "item", sum(len(each) for each in digests), _digests(plan)),
        PlanLine("Requests", len(documents), "object", sum(each.size_bytes for each in documents), _requests(plan)),
        PlanLine("Run-index entries", len(entries), "object", sum(each.size_bytes for each in entries), _KEPT_ENTRIES)
        if plan.with_index
        else PlanLine("Run-index entries", 0, "object", None, "left as they are"),
    ]
    return tuple(line for line in lines if line.what != "Digest item" or plan.target.lock_mode.has_table)


_KEPT_ENTRIES: Final = "removed; backup under `ops/`"


def total_of(lines: Iterable[PlanLine]) -> tuple[int, int]:
    """How many things leave their place, and their bytes."""
    listed = tuple(lines)
    return sum(line.count for line in listed), sum(line.size_bytes or 0 for line in listed)


def resources_of(plan: ResetPlan) -> tuple[StateResource, ...]:
    """The resources of all its states, in the order of the states."""
    return tuple(chain.from_iterable(state.summary.resources for state in plan.states if state.summary is not None))


def size_text(size_bytes: int) -> str:
    """`32 B`, `184 KiB`, `1.4 MiB`."""
    size = float(size_bytes)
    if size < 1024:
        return f"{size_bytes} B"
    for unit in ("KiB", "MiB"):
        size /= 1024
        if size < 1024:
            return f"{size:.0f} {unit}" if size >= 10 else f"{size:.1f} {unit}"
    return f"{size / 1024:.1f} GiB"


def plan_markdown(plan: ResetPlan) -> str:
    """The whole plan for a person; values of attributes are in no part of it."""
    lines = plan_lines(plan)
    count, size = total_of(lines)
    target = plan.target
    facts = [
        ("Target", cell(target.name)),
        ("Environment", cell(target.environment)),
        ("Repository", cell(str(target.repo))),
        ("State bucket", f"`{target.bucket}`"),
        ("Lock mode", target.lock_mode.value),
        ("Digest", f"`{digest_of(plan)}`"),
        ("Made at", f"{plan.planned_at:%Y-%m-%d %H:%M:%S} UTC, from what was there then"),
    ]
    rows = [(line.what, f"{line.count:,}", _size_cell(line), line.happens) for line in lines]
    parts = [
        f"# Plan of a reset of {target.name}",
        "",
        "Nothing has been changed yet. Before anything is removed, all of it is read again and the digest compared.",
        "",
        *table(("What", "Value"), facts),
        "",
        *table(("What", "Count", "Size", "What happens"), [*rows, ("Total", f"{count:,}", size_text(size), "")]),
        *chain.from_iterable(_state_section(state) for state in plan.states),
        *_resource_section(plan),
        *_request_sections(plan),
    ]
    return "\n".join(parts) + "\n"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """A table in Markdown; cells are Markdown."""
    return [_row(header), _row(["---"] * len(header)), *(_row(row) for row in rows)]


def cell(text: str) -> str:
    """Data as itself in a cell or a line of a list."""
    flat = " ".join(text.split())
    return "".join(f"\\{char}" if char in "\\`*[]<>|" else char for char in flat)


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _size_cell(line: PlanLine) -> str:
    return "" if line.size_bytes is None else size_text(line.size_bytes)


def _states(plan: ResetPlan) -> str:
    missing = sum(state.state is None for state in plan.states)
    if missing == len(plan.states):
        return "there is none"
    change = (
        "removed" if plan.state_mode is StateMode.REMOVE else "replaced by an empty one: same lineage, the next serial"
    )
    without = f"; {missing} of {len(plan.states)} keys have no state" if missing else ""
    return f"{change}; backup in the state bucket{without}"


def _digests(plan: ResetPlan) -> str:
    wrong = sum(state.digest_is_wrong for state in plan.states)
    follows = "; that of the empty state follows" if plan.state_mode is StateMode.EMPTY else ""
    told = f"; {wrong} does not fit its state already now" if wrong else ""
    return f"removed before the state; value kept in the journal{follows}{told}"


def _requests(plan: ResetPlan) -> str:
    cases = count_cases(plan)
    older, newer = cases[ArchiveCase.OLDER], cases[ArchiveCase.KEPT]
    more = [
        f"{older:,} older {'copy' if older == 1 else 'copies'} there kept aside" if older else "",
        f"{newer:,} newer {'copy stays' if newer == 1 else 'copies stay'} there" if newer else "",
    ]
    return "; ".join(["moved to `history/`", *(each for each in more if each)])


def _state_section(state: PlannedState) -> list[str]:
    summary, read = state.summary, state.state
    if read is None or summary is None:
        return ["", f"## State `{state.object_key}`", "", "There is none."]
    rows = [
        ("Version", f"`{read.version_id}`" if read.version_id else "the bucket keeps none"),
        ("SHA-256", f"`{read.sha256}`"),
        ("MD5", f"`{state.md5}`"),
        ("Digest item", f"`{state.digest}`" if state.digest else "none"),
        ("Serial", str(summary.serial) if summary.serial is not None else "not said"),
        ("Lineage", cell(summary.lineage) or "not said"),
    ]
    problem = ["", cell(summary.problem)] if summary.problem else []
    return ["", f"## State `{state.object_key}`", "", *table(("What", "Value"), rows), *problem]


def _resource_section(plan: ResetPlan) -> list[str]:
    counts = count_types(resources_of(plan))
    if not counts:
        return []
    rows = [
        (cell(each.type), cell(each.mode), f"{each.count:,}", ", ".join(cell(address) for address in each.addresses))
        for each in counts
    ]
    heading = f"## Resources that lose their state: {plan.resource_count:,}"
    return ["", heading, "", ORPHANS, "", *table(("Type", "Mode", "Count", "Addresses"), rows)]


def _request_sections(plan: ResetPlan) -> list[str]:
    people = [
        (
            cell(person.login) or _LOGIN_UNKNOWN,
            f"{person.request_count:,}",
            f"{person.last_activity:%Y-%m-%d %H:%M} UTC" if person.last_activity else "not known",
        )
        for person in people_of(plan)
    ]
    requests = [f"- {cell(each.request_id)}: {each.case}" for each in plan.requests]
    undecided = [f"- {cell(each.request_id)}: {cell(each.reason)}" for each in plan.undecided]
    return [
        *(["", f"## People concerned: {len(people)}", "", *table(("Created by", "Requests", "Last activity"), people)]
          if people else []),
        *(["", f"## Requests: {len(requests):,}", "", *requests] if requests else []),
        *(["", f"## Left, cannot be decided: {len(undecided):,}", "", *undecided] if undecided else []),
    ]  # fmt: skip
