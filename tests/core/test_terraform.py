"""Where Terraform keeps things, what its locks say, and which resources a state knows, of every format."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core.strategies import JSON
from tfpilot.core.terraform import (
    LockInfo,
    LockMode,
    MalformedLock,
    digest_id,
    lock_id,
    lockfile_key,
    md5_of,
    parse_lock,
    render_lock,
    state_key,
)
from tfpilot.core.terraform_state import StateResource, count_types, empty_state, is_of_new_workspace, read_state
from tfpilot.errors import DocumentError

OURS = LockInfo(
    id="5f1d9a3e-0000-4000-8000-000000000001",
    operation="TfPilot dev reset",
    info="Reset rst_1 of payments-dev: broken",
    who="ops-lead@tfpilot-ops",
    version="tfpilot 0.1.0",
    created=datetime(2026, 3, 6, 14, 22, 9, tzinfo=UTC),
    path="tfstate-dev/dev/terraform.tfstate",
)
AWS = 'provider["registry.terraform.io/hashicorp/aws"]'


def state(*resources: dict[str, Any], **fields: Any) -> bytes:
    stored = {"version": 4, "terraform_version": "1.15.5", "serial": 7, "lineage": "one", "outputs": {}}
    return json.dumps({**stored, "resources": list(resources), **fields}).encode()


def resource(name: str = "web", *indexes: object, **fields: Any) -> dict[str, Any]:
    instances = [{"attributes": {"password": "hunter2"}, "index_key": index} for index in indexes or (None,)]
    return {"mode": "managed", "type": "aws_instance", "name": name, "provider": AWS, "instances": instances, **fields}


def addresses(content: bytes) -> list[str]:
    return [each.address for each in read_state(content).resources]


class TestPlaces:
    def test_the_default_workspace_has_the_key_itself_and_others_a_prefix(self):
        assert state_key("envs/dev/ddb.tfstate") == "envs/dev/ddb.tfstate"
        assert state_key("envs/dev/ddb.tfstate", workspace="ws1") == "env:/ws1/envs/dev/ddb.tfstate"
        assert state_key("a.tfstate", workspace="ws1", workspace_key_prefix="spaces") == "spaces/ws1/a.tfstate"

    def test_lock_digest_and_lockfile_are_named_after_the_state(self):
        assert lock_id("bucket", "env:/ws1/a.tfstate") == "bucket/env:/ws1/a.tfstate"
        assert digest_id("bucket", "a.tfstate") == "bucket/a.tfstate-md5"
        assert lockfile_key("a.tfstate") == "a.tfstate.tflock"

    def test_each_lock_mode_says_what_it_holds(self):
        held = {mode: (mode.has_table, mode.has_lockfile) for mode in LockMode}
        assert held == {
            LockMode.DYNAMODB: (True, False),
            LockMode.LOCKFILE: (False, True),
            LockMode.BOTH: (True, True),
        }

    def test_the_digest_is_the_md5_of_the_bytes(self):
        assert md5_of(b"state") == hashlib.md5(b"state").hexdigest()


class TestLocks:
    def test_our_own_lock_is_read_as_terraform_reads_it(self):
        stored = json.loads(render_lock(OURS))
        assert list(stored) == ["ID", "Operation", "Info", "Who", "Version", "Created", "Path"]
        assert stored["Created"] == "2026-03-06T14:22:09.000Z"
        assert stored["Who"] == "ops-lead@tfpilot-ops"
        assert parse_lock(render_lock(OURS)) == OURS

    def test_a_lock_that_terraform_wrote_is_read_with_its_nanoseconds(self):
        text = (
            '{"ID":"c2fe","Operation":"OperationTypeApply","Info":"","Who":"root@vm","Version":"1.15.5",'
            '"Created":"2026-11-21T08:20:05.123456789Z","Path":"tfstate-dev/envs/dev/ddb.tfstate"}'
        )
        lock = parse_lock(text)
        assert isinstance(lock, LockInfo)
        assert (lock.id, lock.operation, lock.who) == ("c2fe", "OperationTypeApply", "root@vm")
        assert lock.created == datetime(2026, 11, 21, 8, 20, 5, 123456, tzinfo=UTC)

    @pytest.mark.parametrize(
        ("content", "reason"),
        [
            (None, "no Info"),
            ("", "empty"),
            (b" \n", "empty"),
            ("{", "not JSON"),
            (b"\xff", "not JSON"),
            ("[]", "no object"),
            ("{}", "no ID"),
            ('{"ID": ""}', "no ID"),
            ('{"ID": 7}', "ID of the lock is no text"),
            ('{"ID": "a", "Who": 1, "Info": null}', "Info, Who of the lock are no text"),
        ],
    )
    def test_a_malformed_lock_is_kept_and_told(self, content, reason):
        lock = parse_lock(content)
        assert isinstance(lock, MalformedLock)
        assert reason in lock.reason
        assert (lock.text is None) is (content is None)

    def test_a_time_that_cannot_be_read_leaves_the_lock_readable(self):
        lock = parse_lock('{"ID": "a", "Created": "yesterday"}')
        assert isinstance(lock, LockInfo)
        assert (lock.created, lock.who) == (None, "")

    @given(st.text() | st.binary() | JSON.map(json.dumps))
    def test_no_lock_is_too_odd(self, content):
        assert isinstance(parse_lock(content), LockInfo | MalformedLock)

    def test_a_lock_of_our_own_without_a_time_is_a_mistake(self):
        with pytest.raises(ValueError, match="has a time"):
            render_lock(LockInfo("a", "", "", "", "", None, ""))


class TestState:
    def test_a_state_says_its_serial_lineage_and_version(self):
        summary = read_state(state(resource()))
        assert (summary.format_version, summary.terraform_version) == (4, "1.15.5")
        assert (summary.serial, summary.lineage, summary.problem) == (7, "one", "")

    def test_addresses_name_module_mode_and_each_index(self):
        listed = state(
            resource("plain"),
            resource("counted", 0, 1),
            resource("keyed", "a", 'b"c'),
            resource("deep", module='module.web["x"].module.node[0]'),
            resource("ami", mode="data", type="aws_ami"),
        )
        assert addresses(listed) == [
            "aws_instance.counted[0]",
            "aws_instance.counted[1]",
            'aws_instance.keyed["a"]',
            'aws_instance.keyed["b\\"c"]',
            "aws_instance.plain",
            "data.aws_ami.ami",
            'module.web["x"].module.node[0].aws_instance.deep',
        ]

    def test_deposed_objects_count_at_their_address(self):
        instances = [{"attributes": {}}, {"deposed": "00000001", "attributes": {}}]
        assert read_state(state(resource(instances=instances))).resources == (
            StateResource("aws_instance.web", "managed", "aws_instance", AWS, 2),
        )

    def test_no_attribute_value_is_ever_in_what_is_read(self):
        assert "hunter2" not in repr(read_state(state(resource("a", 0, "k"))))

    def test_data_sources_are_no_cloud_resources(self):
        summary = read_state(state(resource("a", 0, 1), resource("ami", mode="data", type="aws_ami")))
        assert summary.managed_count == 2
        assert [(each.type, each.mode, each.count) for each in count_types(summary.resources)] == [
            ("aws_instance", "managed", 2),
            ("aws_ami", "data", 1),
        ]
        assert count_types(summary.resources)[0].addresses == ("aws_instance.a[0]", "aws_instance.a[1]")

    def test_a_state_of_terraform_before_0_12_is_read_by_its_modules(self):
        old = {
            "version": 3,
            "terraform_version": "0.11.14",
            "serial": 2,
            "lineage": "old",
            "modules": [
                {
                    "path": ["root"],
                    "resources": {
                        "aws_instance.web.1": {
                            "type": "aws_instance",
                            "provider": "provider.aws",
                            "primary": {"id": "i"},
                        },
                        "data.aws_ami.base": {"type": "aws_ami", "primary": {"id": "a"}, "deposed": []},
                    },
                },
                {
                    "path": ["root", "net", "sub"],
                    "resources": {"aws_vpc.main": {"type": "aws_vpc", "primary": {}, "deposed": [{}, {}]}},
                },
            ],
        }
        summary = read_state(json.dumps(old).encode())
        assert (summary.format_version, summary.serial, summary.lineage, summary.problem) == (3, 2, "old", "")
        assert [(each.address, each.mode, each.type, each.count) for each in summary.resources] == [
            ("aws_instance.web[1]", "managed", "aws_instance", 1),
            ("data.aws_ami.base", "data", "aws_ami", 1),
            ("module.net.module.sub.aws_vpc.main", "managed", "aws_vpc", 2),
        ]

    @pytest.mark.parametrize(
        ("content", "problem"),
        [
            (b"", "not JSON"),
            (b"[]", "no object"),
            (b"{}", "does not say which format"),
            (state(resource(), version=5), "format 5, which is not known"),
            (state(resources="many"), "no list"),
            (state({"mode": "managed"}), "no resource"),
            (json.dumps({"version": 3, "modules": [7]}).encode(), "no module"),
        ],
    )
    def test_what_cannot_be_read_is_told(self, content, problem):
        assert problem in read_state(content).problem

    def test_a_format_of_tomorrow_is_read_as_far_as_it_looks_like_the_present_one(self):
        assert addresses(state(resource(), version=5)) == ["aws_instance.web"]

    @given(JSON, st.sampled_from([1, 3, 4, 5, None, "4"]), st.lists(JSON, max_size=3))
    def test_no_state_is_too_odd(self, anything, version, listed):
        for fields in (anything, {"version": version, "resources": listed, "modules": listed}):
            summary = read_state(json.dumps(fields).encode())
            assert summary.managed_count >= 0


class TestEmptyState:
    def test_it_follows_the_lineage_with_the_next_serial_and_no_resources(self):
        emptied = json.loads(empty_state(state(resource(), outputs={"secret": {"value": "hunter2"}})))
        assert emptied == {
            "version": 4,
            "terraform_version": "1.15.5",
            "serial": 8,
            "lineage": "one",
            "outputs": {},
            "resources": [],
        }

    @pytest.mark.parametrize("content", [b"", state(version=3), state(lineage=""), state(serial="7"), state(serial=-1)])
    def test_a_state_that_cannot_be_continued_is_not_emptied(self, content):
        with pytest.raises(DocumentError, match="cannot be emptied"):
            empty_state(content)


class TestNewWorkspace:
    @pytest.mark.parametrize("serial", [0, 1])
    def test_a_first_state_without_anything_in_it_is_what_terraform_puts_there_by_itself(self, serial: int):
        assert is_of_new_workspace(state(serial=serial))
        assert is_of_new_workspace(state(serial=serial, check_results=None))

    @pytest.mark.parametrize(
        "content",
        [
            state(serial=2),
            state(resource(), serial=1),
            state(serial=1, outputs={"url": {"value": "x"}}),
            state(serial=True),
            state(serial=1, version=3),
            b'{"version": 4, "serial": 1}',
            b"[]",
            b"not JSON",
        ],
    )
    def test_anything_else_somebody_may_need(self, content: bytes):
        assert not is_of_new_workspace(content)


@pytest.mark.parametrize("lock_id", ["a\x00b", "line\n", "\x1b[2J", "half \ud800", "turned\u202e"])
def test_a_lock_whose_id_nobody_can_type_is_malformed(lock_id: str):
    lock = parse_lock(json.dumps({"ID": lock_id, "Who": "lena@laptop-17"}))
    assert isinstance(lock, MalformedLock)
    assert "nobody can type" in lock.reason
