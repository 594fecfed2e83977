"""What every route answers, to whom, and how each failure looks from outside."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.builders import NOW, REQUEST_ID, ago, request, stuck_planning, with_run
from tests.doors.door_setup import ADMIN, APPROVER, DEVELOPER, Door, plan_succeeded, token_of, use, wait_until
from tests.fakes import OUTAGE, InMemory
from tfpilot import wiring
from tfpilot.core.model import Answer, FactOutcome, GitHubFacts
from tfpilot.errors import ConfigError, GitHubError, RateLimitedError, StorageError
from tfpilot.http import middleware

SYNC = f"/api/requests/{REQUEST_ID}/sync"
SECURITY_HEADERS = {
    "content-security-policy": middleware._POLICY,
    "referrer-policy": "same-origin",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}


def failed(answer, status: int) -> str:
    """The error of an answer that must be a failure with that status, in JSON, with a hint."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    told = answer.json()
    assert told["success"] is False
    assert told["error"]
    assert told["hint"]
    return told["error"]


def raised(error: Exception):
    def fail(*_: object, **__: object) -> None:
        raise error

    return fail


# Looking


def test_a_request_is_answered_with_its_derived_status_why_it_has_it_and_what_is_wrong(door: Door, memory: InMemory):
    memory.store({**stuck_planning(), "note": {"kept": [1, None]}})
    told = door.get(f"/api/requests/{REQUEST_ID}").json()
    assert set(told) == {"success", "request", "archived", "hasArchivedCopy", "explanation", "findings", "needsRepair"}
    assert told["request"] == {**stuck_planning(), "note": {"kept": [1, None]}, "status": "planning"}
    assert (told["success"], told["archived"], told["needsRepair"]) == (True, False, True)
    assert told["explanation"]["status"] == "planning"
    assert told["explanation"]["rule"] == 11
    assert "STUCK_PLANNING" in [finding["code"] for finding in told["findings"]]
    assert set(told["findings"][0]) == {"code", "severity", "since", "evidence", "next_action"}


def test_looking_at_a_request_asks_nothing_of_github_and_writes_nothing(door: Door, memory: InMemory):
    memory.store(stuck_planning())
    door.get(f"/api/requests/{REQUEST_ID}")
    assert memory.github.queries == []
    assert memory.bucket.writes == []


def test_an_archived_request_can_be_read_and_says_so(door: Door, memory: InMemory):
    memory.archive(request())
    told = door.get(f"/api/requests/{REQUEST_ID}").json()
    assert (told["archived"], told["needsRepair"]) == (True, False)


def test_an_unknown_request_is_404_and_says_what_was_not_found(door: Door, memory: InMemory):
    assert REQUEST_ID in failed(door.get(f"/api/requests/{REQUEST_ID}"), 404)


def test_a_document_that_is_no_request_is_422(door: Door, memory: InMemory):
    memory.bucket.write(f"requests/{REQUEST_ID}.json", b"not json")
    assert "not JSON" in failed(door.get(f"/api/requests/{REQUEST_ID}"), 422)


# Sync


@pytest.mark.parametrize("query", ["repair=1", "hydrate=1", "repair=true", "repair=1&hydrate=1"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_repair_and_hydrate_by_get_and_post_are_one_thing(method: str, query: str, door: Door, memory: InMemory):
    memory.store(stuck_planning())
    memory.github.answers[REQUEST_ID] = plan_succeeded
    told = door.ask(method, f"{SYNC}?{query}").json()
    assert told["success"] is True
    assert told["request"]["status"] == "plan_ready"
    assert told["request"]["version"] == 2
    assert told["sync"]["mode"] == "repair"
    assert told["sync"]["facts"] == {
        "pull": "ok",
        "reviews": "ok",
        "cleanup_pull": "not found",
        "plan": "ok",
        "apply": "not asked",
        "destroy": "not asked",
        "cleanup": "not asked",
        "drift_plan": "not asked",
    }
    assert memory.stored(REQUEST_ID)["github"]["workflows"]["plan"]["conclusion"] == "success"
    assert memory.stored(REQUEST_ID)["version"] == 2


def test_a_repair_names_every_field_it_changed_with_before_and_after(door: Door, memory: InMemory):
    memory.store(stuck_planning())
    memory.github.answers[REQUEST_ID] = plan_succeeded
    changes = {change["path"]: change for change in door.repair().json()["sync"]["changes"]}
    assert changes["github.workflows.plan.conclusion"]["after"] == "success"
    assert "before" not in changes["github.workflows.plan.conclusion"]
    assert changes["github.workflows.plan.status"]["before"] == "in_progress"


def test_a_dry_run_tells_what_the_repair_then_does_and_writes_nothing(door: Door, memory: InMemory):
    memory.store(stuck_planning())
    memory.github.answers[REQUEST_ID] = plan_succeeded
    before = memory.bucket.contents()
    preview = door.repair(dry_run=True).json()["sync"]
    assert memory.bucket.contents() == before
    assert (preview["dryRun"], preview["written"]) == (True, False)
    repaired = door.repair().json()["sync"]
    assert repaired["written"] is True
    assert repaired["changes"] == preview["changes"]


def test_a_second_repair_changes_nothing_and_writes_no_document(door: Door, memory: InMemory):
    memory.store(stuck_planning())
    memory.github.answers[REQUEST_ID] = plan_succeeded
    door.repair()
    repaired = memory.bucket.contents()[f"requests/{REQUEST_ID}.json"]
    told = door.repair().json()["sync"]
    assert (told["changes"], told["written"]) == ([], False)
    assert memory.bucket.contents()[f"requests/{REQUEST_ID}.json"] == repaired


def test_without_repair_a_healthy_request_is_not_asked_about_and_the_answer_says_why(door: Door, memory: InMemory):
    applied = with_run(request(), "apply", runId=3, status="completed", conclusion="success", updatedAt=ago(minutes=5))
    planned = with_run(applied, "plan", runId=2, status="completed", conclusion="success", updatedAt=ago(minutes=9))
    memory.store({**planned, "prNumber": 7})
    told = door.post(SYNC).json()["sync"]
    assert told["mode"] == "tfpilot-only"
    assert told["reason"] == "nothing needs repair"
    assert memory.github.queries == []


def test_without_repair_a_stuck_request_is_asked_about(door: Door, memory: InMemory):
    memory.store(stuck_planning())
    memory.github.answers[REQUEST_ID] = plan_succeeded
    told = door.post(f"{SYNC}?repair=0").json()
    assert told["sync"]["mode"] == "repair"
    assert told["request"]["status"] == "plan_ready"


def test_a_repair_keeps_fields_nobody_knows(door: Door, memory: InMemory):
    memory.store({**stuck_planning(), "deep": {"unknown": [{"x": 1}]}, "odd key \u2028": "ø"})
    memory.github.answers[REQUEST_ID] = plan_succeeded
    told = door.repair().json()["request"]
    assert told["deep"] == memory.stored(REQUEST_ID)["deep"] == {"unknown": [{"x": 1}]}
    assert memory.stored(REQUEST_ID)["odd key \u2028"] == "ø"


# Failures


@pytest.mark.parametrize("query", ["", "?repair=1", "?repair=1&dry_run=1"])
def test_a_sync_of_an_archived_request_is_409_and_creates_nothing(query: str, door: Door, memory: InMemory):
    memory.archive(request())
    assert "archived" in failed(door.post(f"{SYNC}{query}"), 409)
    assert list(memory.bucket.contents()) == [f"history/{REQUEST_ID}.json"]


def test_a_repair_of_a_request_that_names_no_repository_is_409(door: Door, memory: InMemory):
    memory.store(request(targetOwner=None))
    assert "repository" in failed(door.repair(), 409)


def test_a_repair_that_always_loses_to_other_writers_is_409_and_lost_nothing_of_theirs(door: Door, memory: InMemory):
    memory.store(stuck_planning())
    memory.github.answers[REQUEST_ID] = plan_succeeded
    count = 0

    def somebody_else_writes() -> None:
        nonlocal count
        count += 1
        memory.store({**stuck_planning(), "theirs": count})
        memory.bucket.interfere = somebody_else_writes

    memory.bucket.interfere = somebody_else_writes
    failed(door.repair(), 409)
    assert memory.stored(REQUEST_ID) == {**stuck_planning(), "theirs": count}


def test_a_repair_that_learned_nothing_is_503_and_leaves_the_document(door: Door, memory: InMemory):
    memory.store(stuck_planning())
    unreachable = Answer(FactOutcome.UNREACHABLE, detail="GitHub could not be reached")
    memory.github.answers[REQUEST_ID] = GitHubFacts(pull=unreachable, reviews=unreachable, cleanup_pull=unreachable)
    answer = door.repair()
    assert "pull: unreachable" in failed(answer, 503)
    assert "retry-after" not in answer.headers
    assert memory.stored(REQUEST_ID) == stuck_planning()


def test_a_rate_limit_is_503_with_the_time_to_wait_for_machines_in_both_units(door: Door, memory: InMemory):
    memory.store(stuck_planning())
    limited = Answer(FactOutcome.RATE_LIMITED, detail="limit", retry_after=timedelta(seconds=41.2))
    memory.github.answers[REQUEST_ID] = GitHubFacts(pull=limited, calls=1)
    answer = door.repair()
    failed(answer, 503)
    assert answer.headers["retry-after"] == "42"
    assert answer.json()["retryAfterMs"] == 41_200


def test_a_fact_that_failed_is_told_beside_those_that_were_learned(door: Door, memory: InMemory):
    memory.store(stuck_planning())

    def without_reviews(query):
        limited = Answer(FactOutcome.RATE_LIMITED, detail="limit", retry_after=timedelta(seconds=30))
        return GitHubFacts(pull=plan_succeeded(query).pull, reviews=limited, runs=plan_succeeded(query).runs, calls=4)

    memory.github.answers[REQUEST_ID] = without_reviews
    answer = door.repair()
    told = answer.json()
    assert answer.status_code == 200
    assert (told["sync"]["degraded"], told["sync"]["retryAfterMs"]) == (True, 30_000)
    assert told["sync"]["facts"]["reviews"] == "rate limited"
    assert told["request"]["status"] == "plan_ready"


@pytest.mark.parametrize("path", ["/api/requests", f"/api/requests/{REQUEST_ID}", SYNC, f"{SYNC}?repair=1&dry_run=1"])
def test_a_storage_that_is_down_is_503_and_never_an_empty_answer(path: str, door: Door, memory: InMemory):
    memory.store(stuck_planning())
    memory.bucket.outage = OUTAGE
    assert "no answer in time" in failed(door.get(path), 503)


def test_a_list_is_503_while_storage_is_down_though_it_was_read_before(door: Door, memory: InMemory):
    memory.store(stuck_planning())
    assert door.get("/api/requests").json()["total"] == 1
    memory.bucket.outage = OUTAGE
    memory.clock.advance(minutes=1)
    failed(door.get("/api/requests"), 503)


def test_storage_that_says_when_to_come_back_is_passed_on(door: Door, memory: InMemory):
    memory.bucket.outage = StorageError("slow down", "Try again.", retry_after=timedelta(seconds=5))
    assert door.get(f"/api/requests/{REQUEST_ID}").headers["retry-after"] == "5"


@pytest.mark.parametrize(
    "query", ["repair=2", "repair=yes", "hydrate=x", "dry_run=maybe", "repair=1&dry_run=1%00", "dry_run=%F0%9F%98%80"]
)
def test_a_sync_with_a_flag_that_cannot_be_read_is_400_and_does_nothing(query: str, door: Door, memory: InMemory):
    memory.store(stuck_planning())
    memory.github.answers[REQUEST_ID] = plan_succeeded
    failed(door.post(f"{SYNC}?{query}"), 400)
    assert memory.stored(REQUEST_ID) == stuck_planning()


# Who asks


@pytest.mark.parametrize("path", ["/api/requests", f"/api/requests/{REQUEST_ID}", SYNC])
@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Bearer",
        "Basic bWF5YTpwYXNz",
        f"token {token_of(ADMIN)}",
        token_of(ADMIN),
        "Bearer ghp_unknown0123456789",
        f"Bearer {token_of(ADMIN)}x",
        f"Bearer {token_of(ADMIN)} {token_of(ADMIN)}",
    ],
)
def test_without_a_token_that_github_knows_nothing_is_told_or_done(path, header, door: Door, memory: InMemory):
    memory.store(stuck_planning())
    answer = door.get(path, token=None, headers={} if header is None else {"authorization": header})
    failed(answer, 401)
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert "s3-bucket" not in answer.text
    assert memory.stored(REQUEST_ID) == stuck_planning()


def test_the_scheme_of_a_token_is_read_in_any_case(door: Door, memory: InMemory):
    assert door.get("/api/requests", token=None, headers={"authorization": f"bearer {token_of(ADMIN)}"}).is_success


def test_a_cookie_authorises_nothing(door: Door, memory: InMemory):
    memory.store(stuck_planning())
    cookies = {"authorization": f"Bearer {token_of(ADMIN)}", "_streamlit_user": token_of(ADMIN), "token": "x"}
    headers = {"cookie": "; ".join(f"{name}={value}" for name, value in cookies.items())}
    failed(door.post(f"{SYNC}?repair=1", token=None, headers=headers), 401)
    assert memory.stored(REQUEST_ID) == stuck_planning()


def test_a_token_in_the_address_authorises_nothing(door: Door, memory: InMemory):
    query = f"access_token={token_of(ADMIN)}&token={token_of(ADMIN)}"
    failed(door.get(f"/api/requests?{query}", token=None), 401)


def test_while_github_cannot_say_whose_a_token_is_the_answer_is_503_and_not_401(door, memory, monkeypatch):
    down = GitHubError("GitHub could not be reached for the user of the token", "Try again later.")
    monkeypatch.setattr(memory.identity, "login_of", raised(down))
    assert "could not be reached" in failed(door.get("/api/requests"), 503)


def test_while_github_limits_the_question_whose_a_token_is_the_answer_says_when_to_come_back(door, memory, monkeypatch):
    limited = RateLimitedError("GitHub limits our requests", "Try again later.", retry_after=timedelta(minutes=1))
    monkeypatch.setattr(memory.identity, "login_of", raised(limited))
    answer = door.get("/api/requests")
    failed(answer, 503)
    assert answer.headers["retry-after"] == "60"


VIEWER = ""


@pytest.mark.parametrize(
    ("login", "environment", "status"),
    [
        (VIEWER, "dev", 403),
        (VIEWER, "prod", 403),
        (DEVELOPER, "dev", 200),
        (DEVELOPER, "prod", 403),
        (DEVELOPER, "", 403),
        (APPROVER, "dev", 200),
        (APPROVER, "prod", 200),
        (APPROVER, "staging", 200),
        (ADMIN, "dev", 200),
        (ADMIN, "prod", 200),
    ],
)
def test_who_may_repair_where(login: str, environment: str, status: int, door: Door, memory: InMemory):
    document = {**stuck_planning(), "environment": environment}
    memory.store(document)
    memory.github.answers[REQUEST_ID] = plan_succeeded
    answer = door.repair(token=token_of(login))
    assert answer.status_code == status, answer.text
    assert (memory.stored(REQUEST_ID) == document) is (status == 403)
    if status == 403:
        failed(answer, 403)
        assert memory.github.queries == []


@pytest.mark.parametrize("login", [VIEWER, DEVELOPER])
def test_whoever_may_not_repair_in_prod_may_look_there_and_preview(login: str, door: Door, memory: InMemory):
    memory.store({**stuck_planning(), "environment": "prod"})
    memory.github.answers[REQUEST_ID] = plan_succeeded
    assert door.get("/api/requests", token=token_of(login)).json()["total"] == 1
    assert door.get(f"/api/requests/{REQUEST_ID}", token=token_of(login)).is_success
    preview = door.repair(dry_run=True, token=token_of(login))
    assert preview.json()["sync"]["statusAfter"] == "plan_ready"
    assert memory.bucket.writes == []


def test_when_prod_writes_are_restricted_to_a_list_an_admin_outside_it_is_refused(door: Door, memory: InMemory):
    restricted = InMemory(
        identity=memory.identity,
        rights=type(memory.rights)(
            admins=ADMIN, approvers=APPROVER, dev_environments=frozenset({"dev"}), prod_allowed=frozenset({APPROVER})
        ),
    )
    restricted.store({**stuck_planning(), "environment": "prod"})
    restricted.github.answers[REQUEST_ID] = plan_succeeded
    use(restricted)
    failed(door.repair(token=token_of(ADMIN)), 403)
    assert door.repair(token=token_of(APPROVER)).is_success


def test_the_history_of_a_request_says_who_repaired_it(door: Door, memory: InMemory):
    memory.store(stuck_planning())
    memory.github.answers[REQUEST_ID] = plan_succeeded
    door.repair(token=token_of(DEVELOPER))
    (event,) = memory.edges.events.list(REQUEST_ID, limit=9)
    assert (event.actor, event.event, event.source) == (DEVELOPER, "request_repaired", "ops-portal")


# Everywhere


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api"),
        ("GET", "/api/"),
        ("GET", "/api/nothing"),
        ("GET", "/api/requests2"),
        ("POST", "/api/requests"),
        ("DELETE", "/api/requests"),
        ("POST", f"/api/requests/{REQUEST_ID}"),
        ("DELETE", f"/api/requests/{REQUEST_ID}"),
        ("PUT", SYNC),
        ("DELETE", SYNC),
        ("PROPFIND", "/api/requests"),
        ("TRACE", SYNC),
        ("OPTIONS", "/api/requests"),
        ("GET", "/api/run-index"),
        ("POST", "/api/run-index/audit"),
        ("PUT", "/api/run-index/plan/1"),
        ("GET", "/api/no%0Aline"),
        ("GET", "/api/%E2%80%A8"),
        ("GET", "/api/../x"),
    ],
)
def test_any_other_path_or_method_under_api_is_404_in_json(method: str, path: str, door: Door, memory: InMemory):
    memory.store(stuck_planning())
    status, body = door.raw(path, method=method)
    assert status == 404
    assert b'"success": false' in body
    assert b"There is no" in body
    assert memory.bucket.writes == []


@pytest.mark.parametrize(
    "path",
    ["/healthz", "/readyz", "/api/requests", "/api/nothing", f"/api/requests/{REQUEST_ID}", "/api/requests/..", "/x"],
)
@pytest.mark.parametrize("token", [None, token_of(ADMIN)])
def test_every_answer_has_the_security_headers(path: str, token, door: Door, memory: InMemory):
    answer = door.get(path, token=token)
    assert {name: answer.headers.get(name) for name in SECURITY_HEADERS} == SECURITY_HEADERS


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/api/requests", "/api/nothing"])
def test_answers_are_not_kept_by_caches(path: str, door: Door, memory: InMemory):
    assert door.get(path).headers["cache-control"] == "no-store"


def test_what_nobody_expected_is_500_in_json_with_nothing_of_the_cause(door: Door, memory: InMemory, monkeypatch):
    monkeypatch.setattr(memory.identity, "login_of", raised(ZeroDivisionError("cause with a secret")))
    answer = door.get("/api/requests")
    failed(answer, 500)
    assert "cause" not in answer.text
    assert {name: answer.headers.get(name) for name in SECURITY_HEADERS} == SECURITY_HEADERS


def test_what_nobody_expected_reaches_the_log_whole(door: Door, memory: InMemory, monkeypatch, caplog):
    cause = ZeroDivisionError("the cause")
    monkeypatch.setattr(memory.identity, "login_of", raised(cause))
    door.get("/api/requests")
    wait_until(lambda: [record for record in caplog.records if record.exc_info and record.exc_info[1] is cause])


def test_no_token_is_in_any_answer_or_log(door: Door, memory: InMemory, caplog, capfd):
    caplog.set_level("DEBUG")
    memory.store(stuck_planning())
    memory.github.answers[REQUEST_ID] = plan_succeeded
    secrets = [token_of(ADMIN), "ghp_unknown0123456789"]
    paths = ["/api/requests", f"/api/requests/{REQUEST_ID}", f"{SYNC}?repair=1", "/api/nothing", "/api/requests/.."]
    said = [door.get(path, token=token).text for path in paths for token in secrets]
    said += ["\n".join(record.getMessage() for record in caplog.records), *capfd.readouterr()]
    assert not [secret for secret in secrets for text in said if secret in text]


# Health


def test_health_is_200_whatever_else_is_wrong(door: Door, memory: InMemory):
    memory.bucket.outage = OUTAGE
    answer = door.get("/healthz", token=None)
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


def test_the_portal_is_ready_once_the_requests_were_read(door: Door, memory: InMemory):
    before = door.get("/readyz", token=None)
    assert (before.status_code, before.json()["ready"]) == (503, False)
    memory.snapshots.refresh()
    after = door.get("/readyz", token=None)
    assert (after.status_code, after.json()) == (200, {"ready": True, "reason": None})


def test_the_portal_is_not_ready_while_storage_is_down_and_is_again_afterwards(door: Door, memory: InMemory):
    memory.snapshots.refresh()
    memory.bucket.outage = OUTAGE
    memory.snapshots.refresh()
    down = door.get("/readyz", token=None)
    assert down.status_code == 503
    assert "no answer in time" in down.json()["reason"]
    memory.bucket.outage = None
    memory.snapshots.refresh()
    assert door.get("/readyz", token=None).status_code == 200


def test_a_portal_that_is_not_configured_is_healthy_not_ready_and_says_what_to_set(door: Door):
    assert door.get("/healthz").status_code == 200
    answer = door.get("/api/requests")
    assert "Nothing is configured" in failed(answer, 503)
    assert "TFPILOT_SANDBOX=1" in answer.json()["hint"]
    assert "TFPILOT_REQUESTS_BUCKET" in answer.json()["hint"]
    ready = door.get("/readyz")
    assert ready.status_code == 503
    assert "Nothing is configured" in ready.json()["reason"]


def test_readiness_tells_nothing_of_a_cause_that_nobody_expected(door: Door, monkeypatch):
    monkeypatch.setattr(wiring, "load_settings", raised(ZeroDivisionError("a secret")))
    with pytest.raises(ZeroDivisionError):
        wiring.portal()
    answer = door.get("/readyz")
    assert answer.status_code == 503
    assert "a secret" not in answer.text
    assert "log" in answer.json()["reason"]


def test_settings_that_cannot_be_used_are_told_by_name_and_not_by_value(door: Door, monkeypatch):
    monkeypatch.setenv("TFPILOT_STUCK_PLANNING_MINUTES", "s3cr3t")
    told = failed(door.get("/api/requests"), 503)
    assert "TFPILOT_STUCK_PLANNING_MINUTES" in told
    assert "s3cr3t" not in told


def test_a_failed_start_is_tried_again_by_the_next_who_asks(door: Door, memory: InMemory, monkeypatch):
    good = wiring.portal()
    wiring.use(None)
    outcomes = iter([ConfigError("not yet", "Wait."), good])

    def build(*_: object, **__: object):
        outcome = next(outcomes)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    monkeypatch.setattr(wiring, "build", build)
    assert failed(door.get("/api/requests"), 503) == "not yet"
    assert door.get("/api/requests").is_success
    assert NOW.isoformat() == door.get("/api/requests").json()["readAt"]
