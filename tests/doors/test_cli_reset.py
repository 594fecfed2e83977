"""`reset`: what the commands print, write and answer as exit codes, on a real bucket and a real lock table."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.adapters.github_setup import FILES, REPO
from tests.builders import request
from tests.core.reset_world import FOREIGN, document, state_bytes
from tests.doors.door_setup import APPROVER, Reality, Tfpilot, json_lines, token_of
from tfpilot.adapters.lock_table import DIGEST, INFO, Item, LockTable
from tfpilot.adapters.s3 import Bucket
from tfpilot.core.model import WorkflowKind
from tfpilot.core.run_index import entry_key, new_entry, render_entry
from tfpilot.core.terraform import md5_of
from tfpilot.sandbox.lock_table import LocalDynamoDB

pytestmark = pytest.mark.server

KEY = "dev/terraform.tfstate"
IDS = ("req_dev_s3_a", "req_dev_s3_b")
ACKNOWLEDGED = ("--acknowledge", "resources", "--acknowledge", "people")
SECOND = "release-bot"


@dataclass
class Dev:
    """A dev environment in mode `both`: a state with its digest, two requests with an entry, and ten of others."""

    reality: Reality
    states: Bucket
    table: LockTable
    file: Path
    tfpilot: Tfpilot

    def write_targets(self, **changes: str) -> None:
        fields = {
            "name": "payments-dev",
            "environment": "dev",
            "repo": str(REPO),
            "state_bucket": self.states.name,
            "lock_mode": "both",
            "lock_table": self.table.name,
        } | changes
        key = fields.pop("key", KEY)
        lines = [f'{name} = "{value}"' for name, value in fields.items()]
        state = ["[[targets.states]]", f'key = "{key}"', 'target_env_path = "envs/dev"']
        self.file.write_text("\n".join(["[[targets]]", *lines, "", *state]))

    def one(self, *arguments: str, code: int = 0) -> Any:
        result = self.tfpilot("reset", *arguments, "--json")
        assert result.exit_code == code, result.output
        [answer] = json_lines(result)
        return answer

    def refusal(self, *arguments: str, code: int = 1) -> str:
        return self.one(*arguments, code=code)["error"]

    def apply_arguments(self, plan: Any) -> tuple[str, ...]:
        return ("apply", "payments-dev", "--digest", plan["digest"], "--type", plan["phrase"], "--reason", "broken",
                *ACKNOWLEDGED)  # fmt: skip

    def state(self) -> bytes | None:
        read = self.states.find_version(KEY, limit_bytes=10**6)
        return None if read is None else read.content

    def items(self) -> tuple[str | None, str | None]:
        """The digest, and the Info of the lock."""
        digest = self.table.find(f"{self.states.name}/{KEY}-md5", DIGEST)
        lock = self.table.find(f"{self.states.name}/{KEY}", INFO)
        return digest and digest.text, lock and lock.text

    def everything(self) -> Any:
        """All that is there but what the portal keeps for itself."""
        stored = self.reality.keys()
        keys = [key for key in stored if not key.startswith(("ops/", "logs/"))]
        states = [key for key in self.states.list_all("") if not key.startswith("tfpilot-ops-backup/")]
        return {key: self.reality.read(key) for key in keys}, states, self.state(), self.items()


@pytest.fixture
def targets_file(monkeypatch: pytest.MonkeyPatch, lock_server: LocalDynamoDB, tmp_path: Path) -> Path:
    monkeypatch.setenv("TFPILOT_RESET_TARGETS", str(tmp_path / "targets.toml"))
    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", lock_server.endpoint_url)
    monkeypatch.setenv("TFPILOT_ADMINS", f"ops-lead,{SECOND}")
    return tmp_path / "targets.toml"


@pytest.fixture
def dev(
    reality: Reality,
    state_bucket: Bucket,
    lock_table: LockTable,
    tfpilot: Tfpilot,
    targets_file: Path,
) -> Dev:
    dev = Dev(reality, state_bucket, lock_table, targets_file, tfpilot)
    dev.write_targets()
    state_bucket.write(KEY, state_bytes(), if_match=None)
    dev.table.put(f"{state_bucket.name}/{KEY}-md5", DIGEST, md5_of(state_bytes()), over=None)
    for number, request_id in enumerate(IDS):
        reality.write(f"requests/{request_id}.json", document(request_id))
        entry = new_entry(WorkflowKind.APPLY, 100 + number, request_id, created_at=reality.clock())
        reality.write(entry_key(WorkflowKind.APPLY, 100 + number), render_entry(entry))
    reality.store(*(request(f"req_other_{number}", targetEnvPath="envs/other") for number in range(10)))
    return dev


def test_a_reset_by_command_from_the_checklist_to_the_undo(dev: Dev):
    before = dev.everything()
    assert dev.one("check", "payments-dev")["passed"] is True
    plan = dev.one("plan", "payments-dev")
    assert dev.everything() == before
    receipt = dev.one(*dev.apply_arguments(plan))
    assert (receipt["stage"], receipt["planDigest"], receipt["kept"]) == ("finished", plan["digest"], [])
    assert (dev.state(), dev.items()) == (None, (None, None))
    assert [dev.reality.read(f"requests/{each}.json") for each in IDS] == [None, None]
    assert dev.one("receipt", receipt["resetId"])["undoCommand"] == f"python -m tfpilot reset undo {receipt['resetId']}"
    preview = dev.one("undo", receipt["resetId"])
    assert [step["free"] for step in preview["steps"]] == [True] * len(preview["steps"]) != []
    assert dev.one("undo", receipt["resetId"], "--type", preview["phrase"])["stage"] == "undone"
    assert dev.everything() == before


def test_what_the_commands_say_to_a_person(dev: Dev):
    shown = dev.tfpilot("reset", "plan", "payments-dev")
    assert shown.exit_code == 0
    plan = dev.one("plan", "payments-dev")
    assert f"digest   {plan['digest']}" in shown.stdout
    assert "A reset destroys none of the 2 cloud resources" in shown.stdout
    assert "terraform_data.r0, terraform_data.r1" in shown.stdout
    assert "hunter2" not in shown.stdout
    applied = dev.tfpilot("reset", *dev.apply_arguments(plan))
    assert applied.exit_code == 0, applied.output
    assert "Release the lock: 2" in applied.stdout
    reset_id = dev.one("list")[0]["resetId"]
    assert f"python -m tfpilot reset undo {reset_id}" in applied.stdout
    assert (
        f"# Reset {reset_id} of payments-dev: finished"
        in dev.tfpilot("reset", "receipt", reset_id, "--markdown").stdout
    )
    assert "places are as the reset left them. Nothing was changed." in dev.tfpilot("reset", "undo", reset_id).stdout


def test_a_wrong_phrase_a_missing_acknowledgement_another_digest_and_no_reason_are_refused(dev: Dev):
    plan, before = dev.one("plan", "payments-dev"), dev.everything()
    command, target, *_ = given = dev.apply_arguments(plan)
    wrong = [each if each != plan["phrase"] else "reset payments-dev 000000" for each in given]
    assert "not the phrase" in dev.refusal(*wrong)
    assert "Not acknowledged: The 1 person" in dev.refusal(*given[:-2])
    other = [each if each != plan["digest"] else "0" * 64 for each in given]
    assert "is another one than the one that was reviewed" in dev.refusal(*other)
    empty = [each if each != "broken" else " " for each in given]
    assert "No reason was given" in dev.refusal(*empty)
    odd = [each if each != "broken" else "caf\udce9" for each in given]
    assert "characters, or has some that cannot be shown" in dev.refusal(*odd)
    assert (command, target) == ("apply", "payments-dev")
    assert dev.everything() == before


def test_a_state_that_changed_between_review_and_apply_is_refused(dev: Dev):
    plan = dev.one("plan", "payments-dev")
    etag = dev.states.find_version(KEY, limit_bytes=10**6).etag
    dev.states.write(KEY, state_bytes(8), if_match=etag)
    before = dev.everything()
    assert "is another one than the one that was reviewed" in dev.refusal(*dev.apply_arguments(plan))
    assert dev.everything() == before


PROD = (
    ({"environment": "prod"}, "environment prod says prod"),
    ({"state_bucket": "tfstate-live"}, "bucket tfstate-live says live"),
    ({"key": "production/terraform.tfstate"}, "key production/terraform.tfstate says production"),
    ({"lock_table": "locks-prod2"}, "table locks-prod2 says prod"),
    ({"state_bucket": "tfstate-prodeu"}, "bucket tfstate-prodeu says prodeu"),
)


def test_what_says_prod_is_refused_at_plan_and_at_apply_whatever_the_settings_say(
    dev: Dev, monkeypatch: pytest.MonkeyPatch
):
    plan, before = dev.one("plan", "payments-dev"), dev.everything()
    monkeypatch.setenv("TFPILOT_RESET_ENVIRONMENTS", "dev,prod")
    for changes, said in PROD:
        dev.write_targets(**changes)
        assert said in dev.refusal("plan", "payments-dev")
        assert said in dev.refusal(*dev.apply_arguments(plan))
    assert dev.one("check", "payments-dev", code=1)["passed"] is False
    assert dev.everything() == before


def test_names_like_products_and_delivery_are_not_refused(dev: Dev):
    dev.states.write("products/delivery.tfstate", state_bytes(), if_match=None)
    dev.write_targets(key="products/delivery.tfstate")
    assert dev.one("plan", "payments-dev")["phrase"].startswith("reset payments-dev ")


def test_a_bucket_of_another_environment_or_of_none_is_refused_at_plan_and_at_apply(dev: Dev):
    plan = dev.one("plan", "payments-dev")
    client, name = dev.states.client, dev.states.name
    client.put_bucket_tagging(Bucket=name, Tagging={"TagSet": [{"Key": "tfpilot:environment", "Value": "prod"}]})
    assert "says 'prod' in its tag" in dev.refusal("plan", "payments-dev")
    assert "says 'prod' in its tag" in dev.refusal(*dev.apply_arguments(plan))
    client.delete_bucket_tagging(Bucket=name)
    assert "has no tag" in dev.refusal(*dev.apply_arguments(plan))
    assert dev.state() == state_bytes()


def test_an_environment_outside_the_allow_list_is_refused(dev: Dev, monkeypatch: pytest.MonkeyPatch):
    plan = dev.one("plan", "payments-dev")
    monkeypatch.setenv("TFPILOT_RESET_ENVIRONMENTS", "staging")
    assert "dev is not in the allow-list, which has staging" in dev.refusal("plan", "payments-dev")
    dev.refusal(*dev.apply_arguments(plan))
    assert dev.state() == state_bytes()


def test_only_an_admin_resets(dev: Dev, monkeypatch: pytest.MonkeyPatch):
    plan, before = dev.one("plan", "payments-dev"), dev.everything()
    monkeypatch.setenv("GITHUB_TOKEN", token_of(APPROVER))
    assert "Role is admin: tom-r is approver, not admin" in dev.refusal("plan", "payments-dev")
    dev.refusal(*dev.apply_arguments(plan))
    assert dev.everything() == before


def test_an_active_request_of_the_environment_and_repository_is_refused(dev: Dev):
    plan = dev.one("plan", "payments-dev")
    dev.reality.stuck_request("req_busy")
    assert "No active request: in flight: req_busy (planning)" in dev.refusal("plan", "payments-dev")
    dev.refusal(*dev.apply_arguments(plan))
    assert dev.state() == state_bytes()


def test_an_active_run_at_github_is_refused(dev: Dev):
    plan = dev.one("plan", "payments-dev")
    run = dev.reality.world.add_run(REPO, FILES[WorkflowKind.APPLY], status="in_progress", at=dev.reality.clock())
    assert f"run {run.id} (in_progress)" in dev.refusal("plan", "payments-dev")
    dev.refusal(*dev.apply_arguments(plan))
    assert dev.state() == state_bytes()


def test_a_terraform_lock_that_is_held_is_refused(dev: Dev):
    plan, place = dev.one("plan", "payments-dev"), f"{dev.states.name}/{KEY}"
    lockfile = dev.states.write(f"{KEY}.tflock", FOREIGN.encode(), if_match=None)
    before = dev.everything()
    assert "held by lena@laptop-17" in dev.refusal("plan", "payments-dev")
    assert "held by lena@laptop-17" in dev.refusal(*dev.apply_arguments(plan))
    assert dev.everything() == before
    dev.states.delete(f"{KEY}.tflock", if_match=lockfile.etag)
    for text, said in ((FOREIGN, "held by lena@laptop-17"), ("{", "not readable")):
        dev.table.put(place, INFO, text, over=None)
        assert said in dev.refusal(*dev.apply_arguments(plan))
        dev.table.remove(Item(place, text), INFO)
    assert dev.state() == state_bytes()


def test_without_versioning_and_for_nearly_all_requests_it_takes_an_acknowledgement(dev: Dev):
    dev.states.client.put_bucket_versioning(Bucket=dev.states.name, VersioningConfiguration={"Status": "Suspended"})
    for number in range(10):
        dev.reality.bucket.client.delete_object(Bucket=dev.reality.bucket.name, Key=f"requests/req_other_{number}.json")
    said = dev.refusal("plan", "payments-dev")
    assert "state bucket: suspended" in said
    assert "2 of 2 requests, more than 90 %" in said
    accepted = ("--accept-no-versioning", "--accept-most-requests")
    plan = dev.one("plan", "payments-dev", *accepted)
    assert "more than 90 %" in dev.refusal(*dev.apply_arguments(plan), "--accept-no-versioning")
    assert dev.one(*dev.apply_arguments(plan), *accepted)["stage"] == "finished"


def test_a_frozen_portal_resets_nothing(dev: Dev):
    plan = dev.one("plan", "payments-dev")
    dev.reality.write("ops/freeze.json", b'{"reason": "incident 12"}')
    assert "frozen: incident 12" in dev.refusal(*dev.apply_arguments(plan))
    assert dev.state() == state_bytes()


def test_a_second_admin_approves_exactly_one_digest_where_one_is_needed(dev: Dev, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TFPILOT_RESET_SECOND_ADMIN", "1")
    plan = dev.one("plan", "payments-dev")
    assert "No second admin approved this plan" in dev.refusal(*dev.apply_arguments(plan))
    assert "Nobody asked" in dev.refusal("approve", plan["digest"])
    digest = dev.one("ask", "payments-dev", "--reason", "broken")["digest"]
    assert "ops-lead made this plan" in dev.refusal("approve", digest)
    monkeypatch.setenv("GITHUB_TOKEN", token_of(SECOND))
    assert dev.one("approve", digest)["login"] == SECOND
    assert "approved this plan and cannot carry it out" in dev.refusal(*dev.apply_arguments(plan))


def test_a_reset_that_is_not_there_and_ids_that_cannot_be_one(dev: Dev):
    assert "There is no reset rst_20200101_000000_abcdef" in dev.refusal("receipt", "rst_20200101_000000_abcdef")
    dev.refusal("undo", "../../requests", code=2)
    assert "There is no reset target prod" in dev.refusal("plan", "prod")


def test_the_doctor_looks_at_every_target(dev: Dev):
    [answer] = json_lines(dev.tfpilot("doctor", "--json"))
    [check] = [each for each in answer if each["name"] == "reset target payments-dev can be read"]
    assert check["ok"] is True
    assert check["detail"].startswith("1 of 1 states are there; ")
    dev.write_targets(lock_table="no-such-table")
    [answer] = json_lines(dev.tfpilot("doctor", "--json"))
    [check] = [each for each in answer if each["name"] == "reset target payments-dev can be read"]
    assert check["ok"] is False
    assert "in table no-such-table: ResourceNotFoundException" in check["detail"]


def test_a_broken_file_of_targets_is_said(dev: Dev):
    dev.write_targets(lock_mode="none")
    assert "lock_mode is 'none'" in dev.refusal("plan", "payments-dev", code=2)
    dev.file.write_text("[[targets")
    assert "cannot be read" in dev.refusal("plan", "payments-dev", code=2)
