"""What a bucket's lifecycle configuration promises, in memory and on the real server, and what in it we do not know."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import botocore.session
import pytest

from tests.adapters.faulty_s3 import Answer, FaultyS3
from tests.fakes import MemoryLifecycle
from tfpilot.adapters.lifecycle import S3Lifecycle, find_unknown
from tfpilot.adapters.s3 import Bucket
from tfpilot.core.bucket_rules import MINIMUM_SIZE, Versioning, differences
from tfpilot.core.retention import plan_rule
from tfpilot.errors import StorageError

NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"
THEIRS: list[dict[str, Any]] = [
    {
        "ID": "logs",
        "Status": "Enabled",
        "Filter": {"Prefix": "logs/"},
        "Expiration": {"Days": 30},
        "NoncurrentVersionExpiration": {"NoncurrentDays": 7, "NewerNoncurrentVersions": 3},
    },
    {
        "ID": "tagged",
        "Status": "Disabled",
        "Filter": {
            "And": {
                "Prefix": "t/",
                "Tags": [{"Key": "a", "Value": "b"}, {"Key": "c", "Value": "d"}],
                "ObjectSizeGreaterThan": 5,
            }
        },
        "Expiration": {"Date": "2030-01-01T00:00:00.000Z"},
    },
    {
        "ID": "everything",
        "Status": "Enabled",
        "Filter": {},
        "Expiration": {"ExpiredObjectDeleteMarker": True},
        "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 2},
    },
]
OLD: list[dict[str, Any]] = [{"ID": "old", "Status": "Enabled", "Prefix": "logs/", "Expiration": {"Days": 30}}]


@dataclass(frozen=True)
class Rules:
    """The lifecycle edge of a bucket, and how somebody else turns its versioning."""

    edge: Any
    keep_versions: Callable[[Versioning], object]


@pytest.fixture(params=["memory", pytest.param("real", marks=pytest.mark.server)])
def rules(request: pytest.FixtureRequest) -> Rules:
    """Each test with this runs twice: in memory and on the real server."""
    if request.param == "memory":
        memory = MemoryLifecycle()
        return Rules(memory, memory.keep_versions)
    bucket: Bucket = request.getfixturevalue("bucket")

    def keep_versions(versioning: Versioning) -> None:
        status: Any = versioning.value.capitalize()
        bucket.client.put_bucket_versioning(Bucket=bucket.name, VersioningConfiguration={"Status": status})

    return Rules(S3Lifecycle(bucket), keep_versions)


def test_a_bucket_without_rules_has_an_empty_configuration(rules: Rules) -> None:
    stored = rules.edge.read()
    assert (dict(stored.configuration), stored.versioning, stored.unknown) == ({}, Versioning.NEVER, ())


@pytest.mark.parametrize("theirs", [THEIRS, OLD])
def test_every_rule_and_setting_comes_back_as_it_was_stored(rules: Rules, theirs: list[dict[str, Any]]) -> None:
    configuration = {"Rules": theirs, MINIMUM_SIZE: "varies_by_storage_class"}
    rules.edge.put(configuration)
    stored = rules.edge.read()
    assert stored.configuration == configuration
    assert stored.unknown == ()


def test_a_write_replaces_the_whole_configuration(rules: Rules) -> None:
    rules.edge.put({"Rules": THEIRS})
    rules.edge.put({"Rules": OLD})
    assert differences({"Rules": OLD}, rules.edge.read().configuration) == ()


@pytest.mark.parametrize("versioning", [Versioning.ENABLED, Versioning.SUSPENDED])
def test_whether_versions_are_kept_is_told(rules: Rules, versioning: Versioning) -> None:
    rules.keep_versions(versioning)
    assert rules.edge.read().versioning is versioning


@pytest.mark.parametrize("theirs", [THEIRS, OLD, []])
def test_what_a_plan_would_write_is_taken_and_needs_no_second_plan(rules: Rules, theirs: list[dict[str, Any]]) -> None:
    rules.keep_versions(Versioning.ENABLED)
    if theirs:
        rules.edge.put({"Rules": theirs})
    plan = plan_rule(rules.edge.read(), noncurrent_days=7)
    assert plan.after is not None
    rules.edge.put(plan.after)
    stored = rules.edge.read()
    assert differences(plan.after, stored.configuration) == ()
    assert plan_rule(stored, noncurrent_days=7).after is None


# Failures, through a door to the real server


@pytest.fixture
def edge(behind_door: Bucket) -> S3Lifecycle:
    return S3Lifecycle(behind_door)


def answered(xml: str) -> Callable[[Answer], Answer]:
    """Makes any answer one with this body."""
    body = xml.encode()

    def change(_answer: Answer) -> Answer:
        return 200, [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))], body

    return change


def let_pass(door: FaultyS3) -> None:
    """The next reading, of the versioning, passes."""
    door.interfere("GET", lambda: None)


@pytest.mark.server
def test_elements_that_the_sdk_drops_are_told_by_their_path(door: FaultyS3, edge: S3Lifecycle) -> None:
    let_pass(door)
    rule = "<Rule><ID>a</ID><Status>Enabled</Status><Filter><Prefix/><Moon>full</Moon></Filter><Surprise/></Rule>"
    door.rewrite("GET", answered(f'<LifecycleConfiguration xmlns="{NAMESPACE}">{rule}</LifecycleConfiguration>'))
    stored = edge.read()
    assert stored.unknown == (
        "LifecycleConfiguration/Rule/Filter/Moon",
        "LifecycleConfiguration/Rule/Surprise",
    )
    assert stored.configuration == {"Rules": [{"ID": "a", "Status": "Enabled", "Filter": {"Prefix": ""}}]}


@pytest.mark.server
def test_a_configuration_that_is_not_as_s3_writes_it_is_told(door: FaultyS3, edge: S3Lifecycle) -> None:
    let_pass(door)
    rule = "<Rule><Status>Enabled</Status><Expiration><Days>soon</Days></Expiration></Rule>"
    door.rewrite("GET", answered(f'<LifecycleConfiguration xmlns="{NAMESPACE}">{rule}</LifecycleConfiguration>'))
    with pytest.raises(StorageError, match="read the lifecycle configuration"):
        edge.read()


@pytest.mark.server
def test_credentials_that_may_not_read_it_are_told_the_right_they_lack(door: FaultyS3, edge: S3Lifecycle) -> None:
    door.refuse("GET", 403, "AccessDenied")
    with pytest.raises(StorageError, match="AccessDenied") as failed:
        edge.read()
    assert "s3:GetBucketVersioning" in failed.value.hint
    let_pass(door)
    door.refuse("GET", 403, "AccessDenied")
    with pytest.raises(StorageError, match="AccessDenied") as failed:
        edge.read()
    assert "s3:GetLifecycleConfiguration" in failed.value.hint


@pytest.mark.server
def test_credentials_that_may_not_write_it_are_told_the_right_they_lack(door: FaultyS3, edge: S3Lifecycle) -> None:
    door.refuse("PUT", 403, "AccessDenied")
    with pytest.raises(StorageError, match="AccessDenied") as failed:
        edge.put({"Rules": THEIRS})
    assert "s3:PutLifecycleConfiguration" in failed.value.hint
    assert edge.read().configuration == {}


@pytest.mark.server
def test_a_store_that_does_not_take_a_rule_says_so_and_keeps_what_it_has(bucket: Bucket) -> None:
    edge = S3Lifecycle(bucket)
    edge.put({"Rules": OLD})
    moving = {**OLD[0], "Transitions": [{"Days": 1, "StorageClass": "GLACIER"}]}
    with pytest.raises(StorageError, match="write the lifecycle configuration") as failed:
        edge.put({"Rules": [moving]})
    assert "keeps what it has" in failed.value.hint
    assert edge.read().configuration["Rules"] == OLD


@pytest.mark.server
def test_no_bucket_is_not_the_same_as_no_configuration(bucket: Bucket) -> None:
    bucket.name = f"{bucket.name}-gone"
    with pytest.raises(StorageError, match="NoSuchBucket"):
        S3Lifecycle(bucket).read()


# What is unknown, wherever it stands


@pytest.fixture(scope="module")
def shape() -> Any:
    operation = (
        botocore.session.get_session().get_service_model("s3").operation_model("PutBucketLifecycleConfiguration")
    )
    return operation.input_shape.members["LifecycleConfiguration"]


@pytest.mark.parametrize(
    ("inside", "unknown"),
    [
        ("<Rule><ID>a</ID><Filter><And><Tag><Key>k</Key><Value>v</Value></Tag></And></Filter></Rule>", []),
        ("<Rule><Transition><Days>1</Days></Transition><Transition><Days>2</Days></Transition></Rule>", []),
        ("\n  <Rule>\n    <ID> a b </ID>\n  </Rule>\n", []),
        ("<Setting>1</Setting>", ["Setting"]),
        ("<Rule><Filter><And><Owner>x</Owner></And></Filter></Rule>", ["Rule/Filter/And/Owner"]),
        ("<Rule><Expiration><Days>1<Hours>2</Hours></Days></Expiration></Rule>", ["Rule/Expiration/Days/Hours"]),
        ("<Rule><Expiration/><Expiration/></Rule>", ["Rule/Expiration"]),
        ('<Rule mode="fast"/>', ["Rule/@mode"]),
        ("<Rule>words<ID>a</ID></Rule>", ["Rule/text()"]),
        ('<Rule><ID xmlns="urn:other">a</ID></Rule>', ["Rule/{urn:other}ID"]),
        ("<Rule><Odd/></Rule><Rule><Odd/></Rule>", ["Rule/Odd"]),
    ],
)
@pytest.mark.parametrize("attributes", ["", f' xmlns="{NAMESPACE}"'])
def test_what_would_be_lost_is_found_at_any_depth(shape: Any, inside: str, unknown: list[str], attributes: str) -> None:
    raw = f"<LifecycleConfiguration{attributes}>{inside}</LifecycleConfiguration>"
    assert find_unknown(raw.encode(), shape) == tuple(f"LifecycleConfiguration/{path}" for path in unknown)
