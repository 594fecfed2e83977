"""Real Terraform works on the local servers as it does on AWS: what other tests of states and locks rest on."""

from __future__ import annotations

import os
import signal
import sys
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests import terraform_cli
from tests.terraform_cli import FAILED, NOTHING_TO_DO, TO_CHANGE, Terraform, write_config
from tfpilot.adapters.s3 import Bucket, BucketSettings
from tfpilot.core.terraform import LockInfo, LockMode, digest_id, lock_id, lockfile_key, md5_of, parse_lock
from tfpilot.sandbox.lock_table import LocalDynamoDB

pytestmark = pytest.mark.server

KEY = "dev/terraform.tfstate"
RESOURCES = {"queue": "payments ${not} a template", "topics": ["a", {"name": "b"}], "retention_days": 7}
SLOW = """
resource "terraform_data" "slow" {
  provisioner "local-exec" { command = "touch started; exec sleep 60" }
}
"""
WAIT_SECONDS = 60


@dataclass
class Place:
    """An empty bucket, an empty lock table, and a directory for a configuration."""

    directory: Path
    bucket: Bucket
    settings: BucketSettings
    locks: LocalDynamoDB
    table: str

    def configure(self, mode: LockMode, more: str = "") -> Terraform:
        write_config(
            self.directory,
            bucket=self.bucket.name,
            key=KEY,
            mode=mode,
            table=self.table,
            s3_endpoint=self.settings.endpoint_url or "",
            dynamodb_endpoint=self.locks.endpoint_url,
            access_key=self.settings.access_key or "",
            secret_key=self.settings.secret_key or "",
            resources=RESOURCES,
            more=more,
        )
        return Terraform(self.directory)

    def object(self, key: str) -> bytes:
        return self.bucket.read(key, limit_bytes=1_000_000).content

    def item(self, name: str, attribute: str) -> str | None:
        found = self.locks.connect().get_item(TableName=self.table, Key={"LockID": {"S": name}}, ConsistentRead=True)
        return found["Item"][attribute]["S"] if "Item" in found else None


@pytest.fixture
def place(tmp_path: Path, bucket: Bucket, bucket_settings: BucketSettings, lock_server: LocalDynamoDB) -> Place:
    table = f"locks-{uuid.uuid4().hex[:12]}"
    lock_server.create_table(table)
    return Place(tmp_path, bucket, bucket_settings, lock_server, table)


@pytest.mark.parametrize("mode", LockMode)
def test_it_plans_applies_and_leaves_a_state_with_its_digest_where_the_core_says(place: Place, mode: LockMode) -> None:
    terraform = place.configure(mode)
    said = [terraform.init(), terraform.plan(), terraform.apply(), terraform.plan()]
    assert [outcome.rc for outcome in said] == [0, TO_CHANGE, 0, NOTHING_TO_DO], said
    digest = place.item(digest_id(place.bucket.name, KEY), "Digest")
    assert digest == (md5_of(place.object(KEY)) if mode.has_table else None)
    assert place.item(lock_id(place.bucket.name, KEY), "Info") is None
    assert list(place.bucket.list_all("")) == [KEY]


@pytest.mark.parametrize("mode", LockMode)
def test_an_apply_that_was_killed_leaves_its_lock_which_blocks_the_next(place: Place, mode: LockMode) -> None:
    terraform = place.configure(mode, SLOW)
    assert terraform.init().rc == 0
    applying = terraform.start("apply", "-auto-approve", "-input=false", "-no-color")
    try:
        wait_for(place.directory / "started")
    finally:
        os.killpg(applying.pid, signal.SIGKILL)
        applying.communicate()
    kept: list[str | bytes | None] = []
    if mode.has_table:
        kept.append(place.item(lock_id(place.bucket.name, KEY), "Info"))
    if mode.has_lockfile:
        kept.append(place.object(lockfile_key(KEY)))
    for content in kept:
        lock = parse_lock(content)
        assert isinstance(lock, LockInfo)
        assert lock.operation == "OperationTypeApply"
        assert lock.path == lock_id(place.bucket.name, KEY)
    blocked = terraform.plan()
    assert blocked.rc == FAILED
    assert "Error acquiring the state lock" in blocked.output


def wait_for(file: Path) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not file.exists():
        assert time.monotonic() < deadline, f"no {file.name}"
        time.sleep(0.05)


def test_the_library_does_where_there_is_no_program(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda _: None)
    monkeypatch.setattr(terraform_cli, "find_terraform", terraform_cli.find_terraform.__wrapped__)
    terraform = place.configure(LockMode.BOTH)
    said = [terraform.init(), terraform.plan(), terraform.run("version")]
    assert terraform._program[0] == sys.executable
    assert [outcome.rc for outcome in said] == [0, TO_CHANGE, 0], said
    assert "Terraform v1." in said[-1].output
