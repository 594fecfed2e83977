"""What the audit of the run index finds, each code both where it holds and where it just does not."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders import NOW, ago, request, run, with_run
from tfpilot.core.document import format_time
from tfpilot.core.index_audit import SEVERITIES, IndexCode, IndexFinding, audit
from tfpilot.core.index_fixes import FixKind, MustHold
from tfpilot.core.index_listing import EntryVersion, IndexObject
from tfpilot.core.listing import summarise, unreadable_row
from tfpilot.core.model import (
    DispatchRecord,
    DispatchState,
    JsonObject,
    RepoRef,
    RequestRow,
    Severity,
    Thresholds,
    WorkflowKind,
)
from tfpilot.core.request import parse_request
from tfpilot.core.run_index import PREFIX, entry_key, new_entry, parse_entry, render_entry

PLAN, APPLY = WorkflowKind.PLAN, WorkflowKind.APPLY


def row(document: JsonObject, *, archived: bool = False) -> RequestRow:
    return summarise(parse_request(document), thresholds=Thresholds(), archived=archived)


def tracking(request_id: str, run_id: int, kind: str = "plan", **fields: Any) -> dict[str, Any]:
    """A request whose run of that kind, an hour old, succeeded."""
    return with_run(request(request_id), kind, **run(run_id, **{"createdAt": ago(hours=1), **fields}))


def stored(key: str, content: bytes) -> IndexObject:
    return IndexObject(key, hashlib.md5(content).hexdigest(), content)


def entry(
    request_id: str, run_id: int, kind: WorkflowKind = PLAN, *, age: timedelta = timedelta(hours=1)
) -> IndexObject:
    made = new_entry(kind, run_id, request_id, created_at=NOW - age)
    return stored(entry_key(kind, run_id), render_entry(made))


def expiring(request_id: str, run_id: int, *, created_at: datetime, expires_at: datetime) -> IndexObject:
    text = f'{{"kind":"plan","runId":{run_id},"requestId":"{request_id}","createdAt":"{format_time(created_at)}"'
    return stored(entry_key(PLAN, run_id), f'{text},"expiresAt":"{format_time(expires_at)}"}}'.encode())


def record(request_id: str, run_id: int, *, state: DispatchState = DispatchState.STARTED) -> DispatchRecord:
    return DispatchRecord(
        request_id=request_id, nonce="n", kind=PLAN, repo=RepoRef("acme", "infra"), workflow_file="plan.yml",
        ref="main", inputs={}, operator="maya-k", triggered_at=NOW - timedelta(hours=1),
        posted_at=NOW - timedelta(minutes=59), run_id=run_id, state=state,
    )  # fmt: skip


def findings(objects: Sequence[IndexObject], *rows: RequestRow, **sources: Any) -> tuple[IndexFinding, ...]:
    return audit(objects, rows, now=NOW, **sources).findings


def codes(objects: Sequence[IndexObject], *rows: RequestRow, **sources: Any) -> list[str]:
    return [finding.code.value for finding in findings(objects, *rows, **sources)]


def only(objects: Sequence[IndexObject], *rows: RequestRow, **sources: Any) -> IndexFinding:
    [finding] = findings(objects, *rows, **sources)
    return finding


# Nothing is wrong


def test_an_index_that_agrees_with_its_requests_has_no_findings():
    assert codes([entry("req_a", 1)], row(tracking("req_a", 1))) == []


def test_nothing_at_all_has_no_findings():
    result = audit([], [], now=NOW)
    assert (result.findings, result.objects, result.requests) == ((), 0, 0)


def test_the_empty_objects_that_a_console_makes_of_folders_are_no_findings():
    assert codes([stored(PREFIX, b""), stored(f"{PREFIX}plan/", b"")]) == []


def test_the_severities_are_those_of_the_contract():
    critical = {code for code, severity in SEVERITIES.items() if severity is Severity.CRITICAL}
    info = {code for code, severity in SEVERITIES.items() if severity is Severity.INFO}
    assert critical == {IndexCode.CROSSED, IndexCode.DOUBLE_TRACKED, IndexCode.OVERWRITTEN}
    assert info == {IndexCode.SUPERSEDED, IndexCode.ARCHIVED_ONLY, IndexCode.EXPIRED}
    assert set(SEVERITIES) == set(IndexCode)


# Keys and bodies


@pytest.mark.parametrize("name", ["plan/1.json", "plan/run-x.json", "plan/run-01.json", "run-1.json", "plan/run-1.txt"])
def test_a_key_that_is_no_entrys_is_a_stray_one_and_nothing_is_done_about_it(name: str):
    finding = only([stored(PREFIX + name, b"{}")])
    assert (finding.code, finding.kind, finding.fix) == (IndexCode.STRAY_KEY, None, None)


def test_a_kind_that_does_not_exist_is_named():
    finding = only([stored(f"{PREFIX}deploy/run-1.json", b"{}")])
    assert (finding.code, finding.fix) == (IndexCode.UNKNOWN_KIND, None)
    assert "'deploy' is no kind" in finding.evidence[0]


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[]", b"{}", b'{"kind":"plan","runId":"1"}'])
def test_a_body_that_is_no_entry_is_malformed_and_can_be_removed(content: bytes):
    held = stored(entry_key(PLAN, 1), content)
    finding = only([held])
    assert finding.code is IndexCode.MALFORMED
    assert finding.fix is not None
    assert (finding.fix.kind, finding.fix.etag) == (FixKind.REMOVE, held.etag)


def test_a_malformed_entry_names_the_requests_that_track_its_run_and_their_environments_and_is_not_missing_too():
    finding = only([stored(entry_key(PLAN, 1), b"{")], row({**tracking("req_a", 1), "environment": "prod"}))
    assert finding.requests == ("req_a",)
    assert finding.fix is not None
    assert finding.fix.environments == ("prod",)


@pytest.mark.parametrize("refused", ["", "AccessDenied"])
def test_what_was_not_read_is_told_and_not_removed(refused: str):
    finding = only([IndexObject(entry_key(PLAN, 1), "e", None, refused)])
    assert (finding.code, finding.fix) == (IndexCode.MALFORMED, None)


@pytest.mark.parametrize("held", [entry("req_a", 2), entry("req_a", 1, APPLY)], ids=["another run", "another kind"])
def test_a_body_of_another_place_is_told_with_what_it_says(held: IndexObject):
    finding = only([IndexObject(entry_key(PLAN, 1), held.etag, held.content)])
    assert (finding.code, finding.fix, finding.requests) == (IndexCode.KEY_BODY_MISMATCH, None, ("req_a",))


# Entries against requests


def test_an_entry_of_a_request_that_is_nowhere_is_an_orphan_once_it_is_a_day_old():
    day = timedelta(hours=24)
    assert codes([entry("req_gone", 1, age=day)]) == []
    finding = only([entry("req_gone", 1, age=day + timedelta(seconds=1))])
    assert finding.code is IndexCode.ORPHAN
    assert finding.fix is not None
    assert (finding.fix.must_hold, finding.fix.request_id) == (MustHold.NO_SUCH_REQUEST, "req_gone")


def test_an_entry_of_a_request_that_cannot_be_read_is_no_orphan():
    assert codes([entry("req_a", 1, age=timedelta(days=2))], unreadable_row("req_a", "x", updated_at=NOW)) == []


def test_an_entry_of_an_archived_request_is_told_as_information():
    finding = only([entry("req_a", 1)], row(tracking("req_a", 1), archived=True))
    assert (finding.code, finding.severity, finding.fix) == (IndexCode.ARCHIVED_ONLY, Severity.INFO, None)


def test_a_run_that_one_request_tracks_and_the_entry_gives_to_another_is_crossed_and_never_fixed_by_itself():
    finding = only([entry("req_b", 1)], row(tracking("req_a", 1)), row(request("req_b")))
    assert (finding.code, finding.severity, finding.fix) == (IndexCode.CROSSED, Severity.CRITICAL, None)
    assert finding.requests == ("req_b", "req_a")


def test_a_run_is_crossed_also_where_the_other_request_tracks_it_under_another_kind():
    assert codes([entry("req_b", 1, APPLY)], row(tracking("req_a", 1)), row(request("req_b"))) == ["CROSSED", "MISSING"]


def test_a_foreign_run_id_beside_the_one_that_counts_is_crossed_too():
    document = {**tracking("req_a", 2), "planRun": run(1, createdAt=ago(hours=2))}
    finding = only([entry("req_b", 1), entry("req_a", 2)], row(document), row(request("req_b")))
    assert finding.code is IndexCode.CROSSED
    assert "beside the run that counts" in finding.evidence[1]


def test_two_requests_that_track_one_run_are_told_and_no_entry_is_offered():
    [double, missing] = findings([], row(tracking("req_a", 1)), row(tracking("req_b", 1)))
    assert (double.code, double.requests) == (IndexCode.DOUBLE_TRACKED, ("req_a", "req_b"))
    assert (missing.code, missing.fix) == (IndexCode.MISSING, None)


def test_one_request_that_names_a_run_twice_is_not_double():
    document = {**tracking("req_a", 1), "planRun": run(1, createdAt=ago(hours=1))}
    assert codes([entry("req_a", 1)], row(document)) == []


def test_an_earlier_run_of_the_request_is_superseded():
    finding = only([entry("req_a", 1), entry("req_a", 2)], row(tracking("req_a", 2)))
    assert (finding.code, finding.run_id, finding.fix) == (IndexCode.SUPERSEDED, 1, None)


def test_an_entry_of_a_kind_that_the_request_does_not_track_is_no_finding():
    assert codes([entry("req_a", 1, WorkflowKind.CLEANUP)], row(request("req_a"))) == []


# Requests against entries


def test_a_tracked_run_without_an_entry_is_missing_and_gets_one_of_the_runs_own_time():
    finding = only([], row(tracking("req_a", 1, createdAt=ago(days=10))))
    assert finding.code is IndexCode.MISSING
    assert finding.fix is not None
    assert (finding.fix.kind, finding.fix.etag) == (FixKind.BACKFILL, "")
    written = parse_entry(finding.fix.content or b"", key=finding.key)
    assert written.created_at == NOW - timedelta(days=10)
    assert written.expires_at == NOW + timedelta(days=80)


@pytest.mark.parametrize(("days", "expected"), [(90, ["MISSING"]), (90.001, [])])
def test_a_run_whose_entry_would_be_expired_is_not_missing(days: float, expected: list[str]):
    assert codes([], row(tracking("req_a", 1, createdAt=ago(days=days)))) == expected


def test_a_run_of_unknown_age_is_missing_while_its_request_is_young_and_gets_no_entry():
    finding = only([], row(tracking("req_a", 1, createdAt=None)))
    assert (finding.code, finding.fix) == (IndexCode.MISSING, None)
    old = {**tracking("req_a", 1, createdAt=None), "updatedAt": ago(days=91)}
    assert codes([], row(old)) == []


def test_the_runs_of_an_archived_request_are_not_missing():
    assert codes([], row(tracking("req_a", 1), archived=True)) == []


def test_an_entry_under_another_kind_does_not_stand_for_a_missing_one():
    assert codes([entry("req_a", 1, APPLY)], row(tracking("req_a", 1))) == ["MISSING"]


# Times


def test_an_entry_is_expired_strictly_after_its_time_and_can_be_removed():
    assert codes([entry("req_a", 1, age=timedelta(days=90))], row(request("req_a"))) == []
    finding = only([entry("req_a", 1, age=timedelta(days=90, milliseconds=1))], row(request("req_a")))
    assert (finding.code, finding.severity) == (IndexCode.EXPIRED, Severity.INFO)
    assert finding.fix is not None
    assert finding.fix.must_hold is MustHold.NOBODY_WAITS


@pytest.mark.parametrize(
    "waiting",
    [
        tracking("req_a", 1, status="in_progress", conclusion=None, createdAt=ago(days=91)),
        request("req_a", github={"planTriggeredAt": ago(minutes=1)}),
    ],
    ids=["for this run", "for a run whose id it does not know"],
)
def test_an_expired_entry_stays_while_its_request_waits(waiting: JsonObject):
    finding = only([entry("req_a", 1, age=timedelta(days=91))], row(waiting))
    assert (finding.code, finding.fix) == (IndexCode.EXPIRED, None)
    assert "still waits" in finding.next_action


def test_an_expired_entry_stays_while_its_request_cannot_be_read():
    finding = only([entry("req_a", 1, age=timedelta(days=91))], unreadable_row("req_a", "not JSON", updated_at=NOW))
    assert (finding.code, finding.fix) == (IndexCode.EXPIRED, None)


def test_an_entry_that_claims_too_early_an_end_is_not_removed_for_it():
    held = expiring("req_a", 1, created_at=NOW - timedelta(days=2), expires_at=NOW - timedelta(days=1))
    found = {finding.code: finding for finding in findings([held], row(request("req_a")))}
    assert set(found) == {IndexCode.BAD_EXPIRY, IndexCode.EXPIRED}
    assert found[IndexCode.EXPIRED].fix is None


@pytest.mark.parametrize(("seconds", "expected"), [(60, []), (-60, []), (61, ["BAD_EXPIRY"]), (-61, ["BAD_EXPIRY"])])
def test_an_expiry_may_be_a_minute_off(seconds: int, expected: list[str]):
    created_at = NOW - timedelta(hours=1)
    held = expiring("req_a", 1, created_at=created_at, expires_at=created_at + timedelta(days=90, seconds=seconds))
    assert codes([held], row(request("req_a"))) == expected


@pytest.mark.parametrize(("minutes", "expected"), [(5, []), (5.01, ["FUTURE"])])
def test_a_clock_may_be_five_minutes_ahead(minutes: float, expected: list[str]):
    assert codes([entry("req_a", 1, age=-timedelta(minutes=minutes))], row(request("req_a"))) == expected


# What was overwritten


def test_our_record_of_a_dispatch_shows_that_its_entry_was_overwritten_and_what_to_write_again():
    held = entry("req_b", 1)
    rows = row(tracking("req_b", 1)), row(request("req_a"))
    finding = only([held], *rows, records=[record("req_a", 1)])
    assert (finding.code, finding.severity) == (IndexCode.OVERWRITTEN, Severity.CRITICAL)
    assert finding.requests == ("req_b", "req_a")
    assert finding.fix is not None
    assert (finding.fix.kind, finding.fix.etag) == (FixKind.RESTORE, held.etag)
    written = parse_entry(finding.fix.content or b"", key=held.key)
    assert (written.request_id, written.created_at) == ("req_a", NOW - timedelta(minutes=59))


def test_the_entry_that_is_written_again_takes_the_runs_own_time_where_the_request_knows_it():
    rows = row(tracking("req_a", 1, createdAt=ago(minutes=58))), row(request("req_b"))
    [crossed, overwritten] = findings([entry("req_b", 1)], *rows, records=[record("req_a", 1)])
    assert crossed.code is IndexCode.CROSSED
    assert overwritten.fix is not None
    assert parse_entry(overwritten.fix.content or b"", key="").created_at == NOW - timedelta(minutes=58)


@pytest.mark.parametrize("state", [DispatchState.OPEN, DispatchState.REFUSED, DispatchState.CLOSED])
def test_a_dispatch_that_started_nothing_shows_nothing(state: DispatchState):
    rows = row(tracking("req_b", 1)), row(request("req_a"))
    assert codes([entry("req_b", 1)], *rows, records=[record("req_a", 1, state=state)]) == []


def test_an_earlier_version_that_named_another_request_is_what_to_write_again():
    before, held = entry("req_a", 1), entry("req_b", 1)
    versions = {held.key: (EntryVersion("v1", NOW, False, before.content), EntryVersion("v2", NOW, True, None))}
    finding = only([held], row(tracking("req_b", 1)), row(request("req_a")), versions=versions)
    assert finding.code is IndexCode.OVERWRITTEN
    assert finding.fix is not None
    assert finding.fix.content == before.content


def test_earlier_versions_that_named_the_same_request_or_nothing_show_nothing():
    held = entry("req_a", 1)
    same = EntryVersion("v1", NOW, False, entry("req_a", 1, age=timedelta(hours=2)).content)
    versions = {held.key: (same, EntryVersion("v2", NOW, False, b"{"), EntryVersion("v3", NOW, True, None))}
    assert codes([held], row(tracking("req_a", 1)), versions=versions) == []


def test_where_records_and_versions_name_different_requests_a_person_decides():
    held = entry("req_b", 1)
    versions = {held.key: (EntryVersion("v1", NOW, False, entry("req_c", 1).content),)}
    rows = [row(tracking("req_b", 1)), row(request("req_a")), row(request("req_c"))]
    finding = only([held], *rows, records=[record("req_a", 1)], versions=versions)
    assert (finding.code, finding.fix) == (IndexCode.OVERWRITTEN, None)
    assert finding.requests == ("req_b", "req_a", "req_c")


def test_nothing_is_written_again_for_a_request_that_is_gone():
    finding = only([entry("req_b", 1)], row(tracking("req_b", 1)), records=[record("req_a", 1)])
    assert (finding.code, finding.fix) == (IndexCode.OVERWRITTEN, None)


# The whole


def test_the_worst_comes_first():
    objects = [entry("req_a", 1, age=timedelta(days=91)), stored(f"{PREFIX}x", b""), entry("req_b", 7)]
    rows = [row(tracking("req_a", 7)), row(request("req_b"))]
    assert codes(objects, *rows) == ["CROSSED", "STRAY_KEY", "SUPERSEDED", "EXPIRED"]


def test_the_entries_are_counted_by_their_own_age():
    result = audit([entry("req_a", 1, age=timedelta(days=15)), entry("req_a", 2, age=timedelta(days=95))], [], now=NOW)
    assert {number: count for number, count in enumerate(result.ages[PLAN]) if count} == {1: 1, 9: 1}


_owners = st.sampled_from(["req_a", "req_b", "req_c"])


@given(
    entries=st.dictionaries(st.integers(1, 6), _owners),
    tracked=st.dictionaries(_owners, st.integers(1, 6)),
    archived=st.sets(_owners),
)
def test_whatever_is_stored_no_finding_is_told_twice_and_fixes_are_safe(
    entries: dict[int, str], tracked: dict[str, int], archived: set[str]
):
    objects = [entry(owner, run_id) for run_id, owner in entries.items()]
    rows = [row(tracking(owner, run_id), archived=owner in archived) for owner, run_id in tracked.items()]
    found = findings(objects, *rows)
    assert len({(finding.code, finding.key) for finding in found}) == len(found)
    crossed = {run_id for owner, run_id in tracked.items() if entries.get(run_id, owner) != owner}
    assert {finding.run_id for finding in found if finding.code is IndexCode.CROSSED} == crossed
    for finding in found:
        if finding.fix is not None and finding.fix.kind is FixKind.BACKFILL:
            assert finding.run_id not in entries
            assert len([owner for owner, run_id in tracked.items() if run_id == finding.run_id]) == 1
