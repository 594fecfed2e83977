"""Hostile input at every door: ids, documents and everything around them. A clear error, and the process lives."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.builders import REQUEST_ID, ago, request, run, stuck_planning, with_pull, with_run
from tests.doors.door_setup import TOKENS, Door, Reality, Tfpilot, all_good, json_lines, use
from tests.fakes import InMemory
from tfpilot.core.document import MAX_DOCUMENT_BYTES, render_document

KEY = f"requests/{REQUEST_ID}.json"
SHOW = f"/api/requests/{REQUEST_ID}"
REPAIR = f"{SHOW}/sync?repair=1"

# Ids

HOSTILE_IDS = {
    "up": "../x",
    "up, encoded": "%2e%2e%2f%2e%2e%2fetc%2fpasswd",
    "up after an id": "req_a/../../history/req_a",
    "null byte": "req_%00",
    "null byte within": "req_a%00.json",
    "line end": "req_dev_s3_abc123%0A",
    "carriage return": "req_dev_s3_abc123%0D",
    "line within": "req_dev_s3%0Aabc123",
    "line separator": "req_dev_s3_abc123%E2%80%A8",
    "upper case": "REQ_DEV_S3_ABC123",
    "dash": "req-dev-s3",
    "prefix alone": "req_",
    "no prefix": "dev_s3_abc123",
    "space": "req_dev_s3_abc123%20",
    "slash at the end": "req_dev_s3_abc123/",
    "suffix": "req_dev_s3_abc123.json",
    "full-width letters": "req_%EF%BD%84%EF%BD%85%EF%BD%96",
    "not UTF-8": "req_%ff%fe",
    "half a surrogate pair": "req_%ed%a0%80",
    "emoji": "req_%F0%9F%92%A5",
    "percent": "req_%25",
    "semicolon": "req_a;drop",
    "10 kB": "req_" + "a" * 10_000,
    "empty": "",
}


@pytest.mark.parametrize("name", HOSTILE_IDS)
@pytest.mark.parametrize("suffix", ["", "/sync", "/sync?repair=1"])
def test_what_cannot_be_an_id_is_400_by_http_and_nothing_is_looked_up(
    name: str, suffix: str, door: Door, memory: InMemory
):
    memory.store(stuck_planning())
    memory.bucket.outage = AssertionError("the bucket was asked")
    status, body = door.raw(f"/api/requests/{HOSTILE_IDS[name]}{suffix}")
    told = json.loads(body)
    assert status == 400
    assert told["success"] is False
    assert "is not a request id" in told["error"]
    assert told["hint"].startswith("A request id is")
    assert len(body) < 1000


@pytest.mark.server
def test_what_cannot_be_an_id_is_misuse_of_a_command(reality: Reality, tfpilot: Tfpilot):
    ids = ["../x", "req_\x00", "REQ_A", "", "req_a\n", "req_" + "a" * 10_000, "req_💥", "req_\udcff"]
    for request_id in ids:
        result = tfpilot("requests", "show", "--", request_id)
        assert result.exit_code == 2, request_id
        assert "is not a request id" in result.stderr
        assert len(result.stderr) < 400
        assert result.stderr.count("\n") == 2
    result = tfpilot("sync", "--json", "--", *ids)
    assert result.exit_code == 2
    assert ["is not a request id" in told["error"] for told in json_lines(result)] == [True] * len(ids)
    assert reality.keys() == []


# Documents

DEEP = b'{"id":"' + REQUEST_ID.encode() + b'","deep":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
HOSTILE_DOCUMENTS: Mapping[str, bytes] = {
    "empty": b"",
    "blank": b" \n",
    "not JSON": b"<html>504</html>",
    "cut off": render_document(stuck_planning())[:-40],
    "null": b"null",
    "true": b"true",
    "number": b"7",
    "text": b'"req_dev_s3_abc123"',
    "array": b"[]",
    "array of the document": json.dumps([stuck_planning()]).encode(),
    "object without an id": b"{}",
    "another request's": render_document(request("req_dev_other_1")),
    "id of another type": json.dumps({**request(), "id": [REQUEST_ID]}).encode(),
    "id with a line end": json.dumps({**request(), "id": f"{REQUEST_ID}\n"}).encode(),
    "NaN": json.dumps({**request(), "version": math.nan}).encode(),
    "Infinity": json.dumps({**request(), "x": -math.inf}).encode(),
    "a float beyond floats": json.dumps(request()).encode()[:-1] + b',"x":1e999}',
    "an integer of 5,000 digits": json.dumps(request()).encode()[:-1] + b',"x":' + b"9" * 5000 + b"}",
    "not UTF-8": json.dumps(request()).encode()[:-1] + b',"x":"\xff"}',
    "UTF-16": json.dumps(request()).encode("utf-16"),
    "with a byte order mark": b"\xef\xbb\xbf" + render_document(request()),
    "100,000 levels deep": DEEP,
    "100,000 levels deep, never closed": b"[" * 100_000,
    "101 levels deep": json.dumps({**request(), "x": json.loads("[" * 100 + "]" * 100)}).encode(),
    "too large": json.dumps({**request(), "x": "x" * MAX_DOCUMENT_BYTES}).encode(),
    "compressed": b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\xab\xae\x05\x00C\xbf\xa6\xa3\x02\x00\x00\x00",
}


@pytest.mark.parametrize("name", HOSTILE_DOCUMENTS)
def test_a_document_that_is_no_request_is_a_row_and_422_and_stays_as_it_is(name: str, door: Door, memory: InMemory):
    memory.bucket.write(KEY, HOSTILE_DOCUMENTS[name])
    memory.store(request("req_healthy"))
    memory.github.answers[REQUEST_ID] = all_good
    rows = {row["id"]: row for row in door.get("/api/requests").json()["requests"]}
    assert set(rows) == {REQUEST_ID, "req_healthy"}
    assert rows[REQUEST_ID]["error"]
    assert rows["req_healthy"]["error"] is None
    for path in (SHOW, f"{SHOW}/sync", REPAIR, f"{REPAIR}&dry_run=1"):
        answer = door.get(path)
        assert answer.status_code == 422, answer.text[:300]
        assert answer.json()["error"]
        assert answer.json()["hint"]
        assert len(answer.text) < 1000
    assert memory.bucket.contents()[KEY] == HOSTILE_DOCUMENTS[name]
    assert memory.github.queries == []


@pytest.mark.server
def test_a_document_of_50_megabytes_in_a_real_bucket_is_never_loaded(door: Door, reality: Reality, tfpilot: Tfpilot):
    reality.write(KEY, b'{"id": "' + REQUEST_ID.encode() + b'", "x": "' + b"x" * 50_000_000 + b'"}')
    reality.stuck_request("req_dev_stuck_1")
    reality.serve_portal()
    rows = {row["id"]: row for row in door.get("/api/requests").json()["requests"]}
    assert "50,000,0" in rows[REQUEST_ID]["error"]
    assert "limit" in rows[REQUEST_ID]["error"]
    assert door.get(SHOW).status_code == 422
    assert door.get(REPAIR).status_code == 422
    assert door.repair("req_dev_stuck_1").json()["request"]["status"] == "approved"
    shown = tfpilot("requests", "show", REQUEST_ID)
    assert (shown.exit_code, "limit" in shown.stderr) == (1, True)
    listed = tfpilot("requests", "list")
    assert (listed.exit_code, "unreadable" in listed.stdout) == (0, True)


@pytest.mark.server
def test_broken_objects_in_a_real_bucket_are_rows_and_the_rest_is_listed_and_repaired(
    door: Door, reality: Reality, tfpilot: Tfpilot
):
    for number, content in enumerate(HOSTILE_DOCUMENTS.values()):
        reality.write(f"requests/req_broken_{number}.json", content)
    reality.write("requests/no id at all.json", b"{}")
    reality.write("history/req_old_1.json", b"[")
    reality.stuck_request()
    reality.serve_portal()
    listed = door.get("/api/requests?limit=500").json()
    assert listed["total"] == len(HOSTILE_DOCUMENTS) + 2
    assert [row["id"] for row in listed["requests"] if not row["error"]] == [REQUEST_ID]
    assert door.repair().json()["sync"]["written"] is True
    result = tfpilot("requests", "list", "--limit", "500")
    assert result.exit_code == 0
    assert result.stdout.count("unreadable") == len(HOSTILE_DOCUMENTS) + 1


@pytest.mark.server
@pytest.mark.parametrize("name", ["requests/sub/req_a.json", "requests/\x1b[2J.json", "requests/a\nb.json"])
def test_an_object_with_a_name_that_no_file_could_have_is_a_row_and_the_rest_is_listed(
    name: str, door: Door, reality: Reality
):
    reality.write(name, b"{}")
    reality.stuck_request()
    reality.serve_portal()
    listed = door.get("/api/requests")
    assert listed.status_code == 200
    assert {row["id"] for row in listed.json()["requests"]} == {name, REQUEST_ID}


@pytest.mark.parametrize(
    "key",
    [f"ops/checked/{REQUEST_ID}.json", "webhooks/github/ratelimit/acme_infra.json", f"logs/{REQUEST_ID}/{ago()}.json"],
)
@pytest.mark.parametrize("content", [b"", b"[", b"7", b'{"at": 3, "facts": [], "jobs": 1}', b"[" * 100_000, b"\xff"])
def test_broken_records_beside_a_request_say_nothing_and_stop_nothing(
    key: str, content: bytes, door: Door, memory: InMemory
):
    memory.store(stuck_planning())
    memory.bucket.write(key, content)
    memory.github.answers[REQUEST_ID] = all_good
    assert door.get(SHOW).status_code == 200
    assert door.get(REPAIR).json()["sync"]["written"] is True


@pytest.mark.parametrize("content", [b"", b"[", b"{}", b"[" * 100_000])
def test_a_broken_archived_copy_does_not_keep_the_active_request_from_being_repaired(
    content: bytes, door: Door, memory: InMemory
):
    destroyed = with_run(stuck_planning(), "destroy", **run(300, "in_progress", createdAt=ago(minutes=5)))
    memory.store(destroyed)
    memory.bucket.write(f"history/{REQUEST_ID}.json", content)
    memory.github.answers[REQUEST_ID] = all_good
    told = door.get(REPAIR).json()
    assert told["request"]["status"] == "destroyed"
    assert told["sync"]["written"] is True
    assert memory.bucket.contents()[f"history/{REQUEST_ID}.json"] == content
    assert any("history/" in notice for notice in told["sync"]["notices"])


@pytest.mark.parametrize("text", ["\ud83d", "\u0000", "\u202e", "\x1b[31m", "a\nb", "<script>", "💥" * 500, "'; --"])
def test_texts_of_a_document_pass_through_whatever_they_hold(text: str, door: Door, memory: InMemory):
    document = {**stuck_planning(), "project": text, "environment": "dev", "module": text, text: {text: text}}
    memory.store(document)
    memory.github.answers[REQUEST_ID] = all_good
    assert door.get("/api/requests").json()["total"] == 1
    assert door.get(SHOW).json()["request"][text] == {text: text}
    assert door.get(REPAIR).json()["sync"]["written"] is True
    stored = memory.stored(REQUEST_ID)
    assert (stored[text], stored["project"]) == ({text: text}, text)


# Anything at all

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=12)
    | st.sampled_from(["", ago(minutes=20), "0001-01-01T00:00:00Z", "in_progress", "success", "failure", "req_x", 0]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def full() -> dict[str, Any]:
    """A request in which every field that we read holds something."""
    document = with_pull(request(), mergedAt=ago(minutes=50), createdAt=ago(hours=2), title="t", headSha="a" * 40)
    for number, kind in enumerate(("plan", "apply", "destroy", "cleanup", "drift_plan")):
        document = with_run(document, kind, **run(100 + number, "queued", createdAt=ago(hours=1), htmlUrl="https://x"))
    times = dict.fromkeys(("plan", "apply", "destroy", "cleanup", "driftPlan"), ago(hours=1))
    legacy = {f"{kind}Run": run(number + 100) for number, kind in enumerate(("plan", "apply", "destroy"))}
    github = {
        **document["github"],
        **{f"{name}TriggeredAt": at for name, at in times.items()},
        "unresolved": {"plan": {"runId": 100, "at": ago(hours=1)}},
        "cleanupDispatchStatus": "error",
        "cleanupDispatchLastError": "x",
    }
    return {
        **document,
        **legacy,
        "github": github,
        "applyTriggeredAt": ago(hours=1),
        "pr": {"number": 7, "status": "open"},
        "pullRequest": {"number": 7, "url": "https://github.com/acme/infra/pull/7"},
        "prUrl": "https://github.com/acme/infra/pull/7",
        "activePrNumber": 7,
        "previousPrs": [{"number": 3}],
        "mergedSha": "b" * 40,
        "approval": {
            "approved": True,
            "approvers": ["tom-r"],
            "reviews": {"tom-r": {"state": "APPROVED", "submittedAt": ago(hours=1)}},
        },
        "cleanupPr": {"number": 9, "open": True},
        "lock": {"holder": "x", "operation": "apply", "acquiredAt": ago(hours=1), "expiresAt": ago(minutes=50)},
    }


def paths_of(value: Any, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    children = value.items() if isinstance(value, dict) else ()
    return [path, *(found for name, child in children for found in paths_of(child, (*path, name)))]


PATHS = [path for path in paths_of(full()) if path and path != ("id",)]
DAMAGE = st.lists(st.tuples(st.sampled_from(PATHS), JSON), min_size=1, max_size=6)


def damaged(damage: list[tuple[tuple[str, ...], Any]]) -> dict[str, Any]:
    document = full()
    for path, value in damage:
        target: Any = document
        for name in path[:-1]:
            target = target.get(name) if isinstance(target, dict) else None
        if isinstance(target, dict):
            target[path[-1]] = value
    return document


def everything_answers(door: Door, content: bytes) -> InMemory:
    """The portal after the object was listed, shown and repaired over HTTP; nothing of it failed unexpectedly."""
    memory = InMemory()
    memory.identity.logins = dict(TOKENS)
    memory.bucket.write(KEY, content)
    memory.github.answers[REQUEST_ID] = all_good
    use(memory)
    listed = door.get("/api/requests")
    archived = door.get("/api/requests?archived=1&stuck=1&q=x")
    assert (listed.status_code, archived.status_code, listed.json()["total"]) == (200, 200, 1)
    shown = door.get(SHOW)
    assert shown.status_code in {200, 422}, shown.text[:500]
    for path in (f"{REPAIR}&dry_run=1", f"{SHOW}/sync", REPAIR):
        answer = door.get(path)
        assert answer.status_code in {200, 409, 422, 503}, answer.text[:500]
        assert answer.json()["success"] is (answer.status_code == 200)
    return memory


ANY_TIME = settings(
    max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@ANY_TIME
@given(value=JSON)
def test_any_json_in_the_place_of_a_document_is_answered(value: Any, door: Door):
    content = json.dumps(value).encode()
    assert everything_answers(door, content).bucket.contents()[KEY] == content


@ANY_TIME
@given(content=st.binary(max_size=200))
@example(content=b"\xed\xa0\x80")
def test_any_bytes_in_the_place_of_a_document_are_answered_and_stay(content: bytes, door: Door):
    assert everything_answers(door, content).bucket.contents()[KEY] == content


@ANY_TIME
@given(damage=DAMAGE)
@example(damage=[(("version",), 2**63)])
@example(damage=[(("version",), -1)])
@example(damage=[(("github",), [])])
@example(damage=[(("targetRepo",), "../..")])
@example(damage=[(("targetOwner",), "a" * 5000)])
@example(damage=[(("branchName",), "\ud800")])
@example(damage=[(("approval", "reviews"), {"": {"state": "APPROVED"}, "\ud800": {"state": 3}})])
def test_a_request_with_wrong_types_anywhere_is_answered_and_a_repair_of_it_settles(damage: Any, door: Door):
    document = damaged(damage)
    memory = everything_answers(door, json.dumps(document).encode())
    settled = memory.bucket.contents()[KEY]
    assert door.get(REPAIR).status_code in {200, 409, 422}
    assert memory.bucket.contents()[KEY] == settled
    unread = {name: value for name, value in document.items() if name in {"config", "receivedAt"}}
    assert {name: memory.stored(REQUEST_ID)[name] for name in unread} == unread


# Around the path


@pytest.mark.parametrize(
    "query",
    [
        "x=" + "y" * 50_000,
        "&".join(f"a{number}={number}" for number in range(5000)),
        "&" * 50_000,
        "status=" + "," * 50_000,
        "environment=" + "%00" * 5000,
        "%ff=%ff&\u00e9".encode("ascii", "ignore").decode(),
        "limit=1&limit=x",
    ],
    ids=["long value", "many fields", "separators", "commas", "null bytes", "not UTF-8", "twice"],
)
def test_odd_and_huge_queries_are_answered_in_json(query: str, door: Door, memory: InMemory):
    status, body = door.raw(f"/api/requests?{query}")
    assert status in {200, 400}
    assert json.loads(body)["success"] is (status == 200)


def test_a_body_that_nobody_asked_for_is_left_unread(door: Door, memory: InMemory):
    memory.store(stuck_planning())
    memory.github.answers[REQUEST_ID] = all_good
    answer = door.post(REPAIR, content=b"\xff" * 60_000, headers={"content-type": "application/json"})
    assert answer.json()["sync"]["written"] is True
