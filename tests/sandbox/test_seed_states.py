"""Terraform's side of the sandbox: dev environments with real states, on which the whole reset can be tried."""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
import pytest

from tests.fakes import Clock, InMemory
from tests.terraform_cli import FAILED, NOTHING_TO_DO, Terraform, write_config
from tfpilot.adapters.s3 import Bucket
from tfpilot.core.reset_guards import SHARE_LIMIT_PERCENT, check_deny_terms, why_in_flight
from tfpilot.core.reset_plan import ArchiveCase, archive_case
from tfpilot.core.reset_target import ResetTarget, find_target, parse_targets, scope_of
from tfpilot.core.selection import RequestFilter
from tfpilot.core.terraform import (
    LockInfo,
    LockMode,
    MalformedLock,
    digest_id,
    lock_id,
    lockfile_key,
    md5_of,
    parse_lock,
)
from tfpilot.core.terraform_state import count_types, read_state
from tfpilot.errors import StorageError
from tfpilot.operations.browse import RequestView, list_fresh_requests, open_request
from tfpilot.sandbox.github import World
from tfpilot.sandbox.lock_table import LocalDynamoDB
from tfpilot.sandbox.run import Sandbox
from tfpilot.sandbox.seed import PLOTS, compose
from tfpilot.sandbox.seeded import resources
from tfpilot.sandbox.seeded.settled import CUT_OFF
from tfpilot.sandbox.seeded.states import BLUE, MAIN, PERSON, REPORTING, RUNNER, TARGETS, compose_states
from tfpilot.sandbox.state_seed import plant_states
from tfpilot.sandbox.storage import LocalS3

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

NOW = datetime(2026, 11, 20, 14, 20, tzinfo=UTC)
LIMIT_BYTES = 1_000_000
TABLE = "tfpilot-locks-dev"
NAMES = ("payments-dev", "orders-dev", "ledger-dev")


class Told:
    """The seeded world without any server."""

    def __init__(self) -> None:
        self.world, memory = World(clock=lambda: NOW), InMemory(clock=Clock(NOW))
        self.objects = compose(self.world, now=NOW)
        self.seed = compose_states(self.world, now=NOW)
        for key, content in self.objects.items():
            memory.bucket.write(key, content)
        self.rows = list_fresh_requests(memory.edges, RequestFilter()).selection.rows
        self.views = [open_request(memory.edges, plot.request_id) for plot in PLOTS]

    def target(self, name: str) -> ResetTarget:
        found = find_target(self.seed.targets, name)
        assert found is not None
        return found

    def in_scope(self, name: str) -> list[RequestView]:
        active = {view.request.id: view for view in self.views if not view.archived}
        scope = scope_of(self.target(name), [view.request for view in active.values()])
        return [active[request_id] for request_id in scope.request_ids]

    def in_flight(self, name: str) -> Mapping[str, str]:
        """What is under way in the target's environment and repository."""
        target = self.target(name)
        rows = [row for row in self.rows if (row.environment, row.repo) == (target.environment, str(target.repo))]
        return {row.id: why for row in rows if (why := why_in_flight(row, NOW))}

    def active_runs(self, name: str) -> list[str]:
        runs = self.world.runs(self.world.repo(str(self.target(name).repo)))
        return [run.title for run in runs if run.latest.status != "completed"]

    def item(self, name: str) -> Mapping[str, str] | None:
        return next((item for item in self.seed.items[TABLE] if item["LockID"] == name), None)

    def lock(self, name: str, key: str) -> LockInfo | MalformedLock | None:
        """What the lock table says."""
        item = self.item(lock_id(self.target(name).bucket, key))
        return None if item is None else parse_lock(item.get("Info"))

    def state(self, name: str, key: str) -> bytes:
        return self.seed.objects[self.target(name).bucket][key]


@pytest.fixture(scope="module")
def told() -> Told:
    return Told()


STATES = [
    ("payments-dev", MAIN),
    ("payments-dev", BLUE),
    ("orders-dev", MAIN),
    ("ledger-dev", MAIN),
    ("ledger-dev", REPORTING),
]


def test_there_is_a_target_for_each_way_of_locking(told: Told) -> None:
    modes = {target.name: target.lock_mode for target in told.seed.targets}
    assert modes == dict(zip(NAMES, (LockMode.LOCKFILE, LockMode.DYNAMODB, LockMode.BOTH), strict=True))
    listed = [(target.name, state.object_key) for target in told.seed.targets for state in target.states]
    assert sorted(listed) == sorted(STATES)


@pytest.mark.parametrize("name", NAMES)
def test_a_target_has_a_handful_of_requests_and_never_nearly_all(told: Told, name: str) -> None:
    assert len(told.in_scope(name)) >= 5
    assert 100 * len(told.in_scope(name)) < SHARE_LIMIT_PERCENT * len(told.rows)
    assert check_deny_terms(told.target(name)).passed


def test_payments_dev_can_be_reset_at_once(told: Told) -> None:
    assert told.in_flight("payments-dev") == {}
    assert told.active_runs("payments-dev") == []
    assert set(told.seed.objects[told.target("payments-dev").bucket]) == {MAIN, BLUE}


def test_orders_dev_can_be_reset_when_the_lock_of_a_dead_run_is_released(told: Told) -> None:
    assert told.in_flight("orders-dev") == {}
    assert told.active_runs("orders-dev") == []
    lock = told.lock("orders-dev", MAIN)
    assert isinstance(lock, LockInfo)
    assert (lock.who, lock.operation) == (RUNNER, "OperationTypeApply")
    repo = told.world.repo(str(told.target("orders-dev").repo))
    run = next(run for run in told.world.runs(repo) if run.title == f"apply {CUT_OFF} (dev)")
    assert run.latest.conclusion == "cancelled"
    assert lock.created is not None
    assert run.created_at < lock.created < run.updated_at


def test_ledger_dev_is_in_use(told: Told) -> None:
    assert told.in_flight("ledger-dev")
    assert told.active_runs("ledger-dev")


def test_a_person_holds_one_state_of_ledger_dev_in_both_places_where_a_lock_is(told: Told) -> None:
    lock = told.lock("ledger-dev", MAIN)
    assert isinstance(lock, LockInfo)
    assert (lock.who, lock.operation) == (PERSON, "OperationTypePlan")
    assert lock.created is not None
    assert abs(NOW - timedelta(minutes=80) - lock.created) < timedelta(seconds=1)
    assert parse_lock(told.state("ledger-dev", lockfile_key(MAIN))) == lock


def test_the_lock_of_the_other_is_one_that_terraform_cannot_release(told: Told) -> None:
    lock = told.lock("ledger-dev", REPORTING)
    assert isinstance(lock, MalformedLock)
    assert lock.text is None


def test_the_archive_holds_an_older_a_newer_and_the_same_copy_of_requests_of_payments_dev(told: Told) -> None:
    ids = [view.request.id for view in told.in_scope("payments-dev")]
    cases = Counter(
        archive_case(
            told.objects[f"requests/{request_id}.json"],
            told.objects.get(f"history/{request_id}.json"),
            request_id=request_id,
        )
        for request_id in ids
    )
    assert cases == {ArchiveCase.OLDER: 1, ArchiveCase.KEPT: 1, ArchiveCase.IDENTICAL: 1, ArchiveCase.NEW: len(ids) - 3}


@pytest.mark.parametrize("name", ["payments-dev", "orders-dev"])
def test_a_reset_concerns_several_people_and_run_index_entries_of_every_request(told: Told, name: str) -> None:
    views = told.in_scope(name)
    assert len({view.request.created_by for view in views}) >= 3
    for view in views:
        for kind, run in view.request.runs.items():
            assert f"webhooks/github/run-index/{kind.value}/run-{run.run_id}.json" in told.objects


@pytest.mark.parametrize(("name", "key"), STATES)
def test_a_state_can_be_read_and_its_digest_is_where_a_table_is(told: Told, name: str, key: str) -> None:
    content, target = told.state(name, key), told.target(name)
    summary = read_state(content)
    assert summary.problem == ""
    assert summary.format_version == 4
    assert summary.managed_count
    item = told.item(digest_id(target.bucket, key))
    assert item == ({"LockID": f"{target.bucket}/{key}-md5", "Digest": md5_of(content)} if target.lock_table else None)


def test_the_states_have_lineages_of_their_own(told: Told) -> None:
    assert len({read_state(told.state(name, key)).lineage for name, key in STATES}) == len(STATES)


def test_a_review_of_orders_dev_has_modules_several_types_and_data_sources_to_show(told: Told) -> None:
    types = count_types(read_state(told.state("orders-dev", MAIN)).resources)
    assert len([each for each in types if each.mode == "managed"]) > 5
    assert [each for each in types if each.mode == "data"]
    addresses = {address for each in types for address in each.addresses}
    assert {
        "module.ec2_y6kc3n.aws_instance.this[1]",
        'module.sqs_m3vk8y.aws_cloudwatch_metric_alarm.age["high"]',
        "data.aws_vpc.main",
    } <= addresses


def test_payments_dev_has_nothing_that_needs_a_provider(told: Told) -> None:
    for key in (MAIN, BLUE):
        types = count_types(read_state(told.state("payments-dev", key)).resources)
        assert [each.type for each in types] == ["terraform_data"]


def test_the_same_moment_gives_the_same_bytes(told: Told) -> None:
    assert Told().seed == told.seed


@pytest.fixture(scope="module")
def sandbox(s3_server: LocalS3, lock_server: LocalDynamoDB) -> Iterator[Sandbox]:
    """A running sandbox; the servers say where one of them is not installed."""
    with Sandbox() as running:
        yield running


def database(sandbox: Sandbox) -> DynamoDBClient:
    """As another process gets it from the environment."""
    variables = sandbox.environment()
    return boto3.client(
        "dynamodb",
        endpoint_url=variables["AWS_ENDPOINT_URL_DYNAMODB"],
        region_name=variables["AWS_DEFAULT_REGION"],
        aws_access_key_id=variables["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=variables["AWS_SECRET_ACCESS_KEY"],
    )


def stored_items(sandbox: Sandbox) -> list[dict[str, str]]:
    found = database(sandbox).scan(TableName=TABLE, ConsistentRead=True)["Items"]
    items = [{name: value["S"] for name, value in item.items()} for item in found]
    return sorted(items, key=lambda item: item["LockID"])


def versions_of(sandbox: Sandbox, bucket: str) -> list[tuple[str, bytes]]:
    """Every version in a bucket; a delete marker fails."""
    client = Bucket(sandbox.bucket).client
    page = client.list_object_versions(Bucket=bucket)
    assert not page.get("DeleteMarkers")
    return sorted(
        (entry["Key"], client.get_object(Bucket=bucket, Key=entry["Key"], VersionId=entry["VersionId"])["Body"].read())
        for entry in page.get("Versions", ())
    )


def expected(sandbox: Sandbox) -> tuple[Mapping[str, list[tuple[str, bytes]]], list[Mapping[str, str]]]:
    """The versions by bucket, and the items, but for the times of the locks."""
    seed = compose_states(sandbox.world, now=sandbox.world.now())
    objects = {bucket: sorted(each.items()) for bucket, each in seed.objects.items()}
    return objects, sorted(seed.items[TABLE], key=lambda item: item["LockID"])


def without_locks(stored: list[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
    return [(key, content) for key, content in stored if not key.endswith(".tflock")]


def check_planted(sandbox: Sandbox) -> None:
    objects, items = expected(sandbox)
    for bucket, contents in objects.items():
        versions = versions_of(sandbox, bucket)
        assert [key for key, _ in versions] == [key for key, _ in contents]
        assert without_locks(versions) == without_locks(contents)
    stored = stored_items(sandbox)
    assert [sorted(item) for item in stored] == [sorted(item) for item in items]
    assert [item for item in stored if "Info" not in item] == [item for item in items if "Info" not in item]


@pytest.mark.server
def test_the_servers_hold_the_states_their_digests_and_the_locks_and_nothing_else(sandbox: Sandbox) -> None:
    check_planted(sandbox)
    assert database(sandbox).list_tables()["TableNames"] == [TABLE]


@pytest.mark.server
@pytest.mark.parametrize("name", NAMES)
def test_a_state_bucket_keeps_versions_and_proves_its_place(sandbox: Sandbox, name: str) -> None:
    client, bucket = Bucket(sandbox.bucket).client, f"tfpilot-tfstate-{name}"
    assert client.get_bucket_versioning(Bucket=bucket)["Status"] == "Enabled"
    assert client.get_bucket_tagging(Bucket=bucket)["TagSet"] == [{"Key": "tfpilot:environment", "Value": "dev"}]


@pytest.mark.server
def test_another_process_finds_the_targets_in_a_file(sandbox: Sandbox) -> None:
    file = Path(sandbox.environment()["TFPILOT_RESET_TARGETS"])
    assert file == sandbox.reset_targets_file
    assert file.name == "reset-targets.toml"
    assert file.read_text() == TARGETS
    assert [target.name for target in parse_targets(tomllib.loads(file.read_text()))] == list(NAMES)
    assert sandbox.environment()["AWS_ENDPOINT_URL_DYNAMODB"] == sandbox.dynamodb_endpoint
    assert sandbox.dynamodb_endpoint.startswith("http://127.0.0.1:")


def configure(directory: Path, sandbox: Sandbox, name: str, key: str, inputs: Mapping[str, str]) -> None:
    target = find_target(parse_targets(tomllib.loads(TARGETS)), name)
    assert target is not None
    variables = sandbox.environment()
    write_config(
        directory,
        bucket=target.bucket,
        key=key,
        mode=target.lock_mode,
        table=target.lock_table,
        s3_endpoint=variables["AWS_ENDPOINT_URL_S3"],
        dynamodb_endpoint=variables["AWS_ENDPOINT_URL_DYNAMODB"],
        access_key=variables["AWS_ACCESS_KEY_ID"],
        secret_key=variables["AWS_SECRET_ACCESS_KEY"],
        region=variables["AWS_DEFAULT_REGION"],
        resources=inputs,
    )


def connected(directory: Path, sandbox: Sandbox, name: str, key: str) -> Terraform:
    """Terraform with the backend of a state whose providers it cannot have here: that is all `init` complains of."""
    configure(directory, sandbox, name, key, {})
    (directory / "no-providers").mkdir()
    terraform = Terraform(directory)
    said = terraform.init(f"-plugin-dir={directory / 'no-providers'}").output
    assert 'Successfully configured the backend "s3"' in said
    return terraform


@pytest.mark.server
@pytest.mark.parametrize(("workspace", "inputs"), [("default", resources.PAYMENTS), ("blue", resources.PAYMENTS_BLUE)])
def test_terraform_itself_finds_nothing_to_do_in_payments_dev(
    tmp_path: Path, sandbox: Sandbox, workspace: str, inputs: Mapping[str, str]
) -> None:
    configure(tmp_path, sandbox, "payments-dev", MAIN, inputs)
    terraform = Terraform(tmp_path, {"TF_WORKSPACE": workspace})
    said = [terraform.init(), terraform.plan()]
    assert [outcome.rc for outcome in said] == [0, NOTHING_TO_DO], said


@pytest.mark.server
@pytest.mark.parametrize(("name", "key"), [each for each in STATES if each[1] != BLUE])
def test_terraform_reads_a_state_and_lists_the_addresses_that_the_portal_shows(
    tmp_path: Path, sandbox: Sandbox, told: Told, name: str, key: str
) -> None:
    listed = connected(tmp_path, sandbox, name, key).run("state", "list")
    assert listed.rc == 0, listed
    shown = {each.address for each in read_state(told.state(name, key)).resources}
    assert shown <= set(listed.output.splitlines()), listed


@pytest.mark.server
@pytest.mark.parametrize(
    ("name", "key", "said"),
    [
        ("orders-dev", MAIN, RUNNER),
        ("ledger-dev", MAIN, PERSON),
        ("ledger-dev", REPORTING, "unexpected end of JSON input"),
    ],
)
def test_a_planted_lock_keeps_terraform_out(tmp_path: Path, sandbox: Sandbox, name: str, key: str, said: str) -> None:
    blocked = connected(tmp_path, sandbox, name, key).run("state", "rm", "-lock-timeout=0s", "terraform_data.none")
    assert blocked.rc == FAILED
    assert "Error acquiring the state lock" in blocked.output
    assert said in blocked.output


@pytest.mark.server
@pytest.mark.usefixtures("s3_server", "lock_server")
def test_a_lock_table_that_cannot_be_filled_is_named(told: Told, tmp_path: Path) -> None:
    with LocalDynamoDB(tmp_path / "dynamodb") as stopped:
        pass
    with LocalS3(tmp_path / "s3") as server:
        client = Bucket(server.create_bucket("any")).client
        with pytest.raises(StorageError, match=f"lock table {TABLE}") as caught:
            plant_states(told.seed, server=server, client=client, locks=stopped)
    assert stopped.endpoint_url in caught.value.hint


@pytest.mark.server
def test_a_second_start_on_the_same_data_begins_anew(
    s3_server: LocalS3, lock_server: LocalDynamoDB, tmp_path: Path
) -> None:
    with Sandbox(tmp_path) as first:
        client, bucket = Bucket(first.bucket).client, "tfpilot-tfstate-payments-dev"
        client.delete_object(Bucket=bucket, Key=MAIN)
        client.put_object(Bucket=bucket, Key=BLUE, Body=b"{}")
        client.put_object(Bucket=bucket, Key="tfpilot-ops-backup/r1/state", Body=b"{}")
        database(first).put_item(TableName=TABLE, Item={"LockID": {"S": "left-over"}})
        targets_file = first.reset_targets_file
    assert not targets_file.exists()
    with Sandbox(tmp_path) as second:
        check_planted(second)
