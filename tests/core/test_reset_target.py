"""Which entries of the file of targets can be used, and which requests belong to one."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest

from tests.builders import request
from tests.core.reset_world import NAMED, PLAIN, target
from tfpilot.core.model import RepoRef
from tfpilot.core.request import parse_request
from tfpilot.core.reset_target import (
    Belonging,
    ResetTarget,
    StateTarget,
    belongs_to,
    find_target,
    parse_targets,
    scope_of,
)
from tfpilot.core.terraform import LockMode
from tfpilot.errors import ConfigError

EXAMPLE = """
[[targets]]
name = "payments-dev"
environment = "dev"
repo = "northwind-infra/payments-terraform"
state_bucket = "tfpilot-tfstate-payments-dev"
lock_mode = "both"
lock_table = "tfpilot-locks-dev"

[[targets.states]]
key = "dev/terraform.tfstate"
target_env_path = "envs/dev"

[[targets.states]]
key = "dev/x.tfstate"
target_env_path = "envs/dev-x"
workspace = "blue"
"""


def entry(**fields: Any) -> dict[str, Any]:
    """A complete entry. A field given as None is left out."""
    made = {
        "name": "payments-dev",
        "environment": "dev",
        "repo": "acme/infra",
        "state_bucket": "tfstate-dev",
        "lock_mode": "dynamodb",
        "lock_table": "tf-locks",
        "states": [state()],
        **fields,
    }
    return {name: value for name, value in made.items() if value is not None}


def state(**fields: Any) -> dict[str, Any]:
    made = {"key": "dev/terraform.tfstate", "target_env_path": "envs/dev", **fields}
    return {name: value for name, value in made.items() if value is not None}


def parse(*entries: Any) -> tuple[ResetTarget, ...]:
    return parse_targets({"targets": list(entries)})


class TestFile:
    def test_a_complete_file_is_read_with_its_workspaces(self):
        (read,) = parse_targets(tomllib.loads(EXAMPLE))
        assert read == ResetTarget(
            name="payments-dev",
            environment="dev",
            repo=RepoRef("northwind-infra", "payments-terraform"),
            bucket="tfpilot-tfstate-payments-dev",
            states=(
                StateTarget("dev/terraform.tfstate", "envs/dev"),
                StateTarget("dev/x.tfstate", "envs/dev-x", "blue"),
            ),
            lock_mode=LockMode.BOTH,
            lock_table="tfpilot-locks-dev",
        )
        assert [each.object_key for each in read.states] == ["dev/terraform.tfstate", "env:/blue/dev/x.tfstate"]

    def test_a_target_with_lockfiles_needs_no_table(self):
        (read,) = parse(entry(lock_mode="lockfile", lock_table=None))
        assert (read.lock_mode, read.lock_table) == (LockMode.LOCKFILE, "")

    def test_a_file_without_targets_has_none(self):
        assert parse_targets({}) == ()
        assert find_target(parse(entry()), "other") is None
        assert find_target(parse(entry()), "payments-dev") == parse(entry())[0]

    @pytest.mark.parametrize(
        "field", ["name", "environment", "repo", "state_bucket", "lock_mode", "lock_table", "states"]
    )
    def test_every_missing_field_is_named_with_its_target(self, field):
        called = "Reset target 1" if field == "name" else "Reset target payments-dev"
        with pytest.raises(ConfigError, match=rf"{called}: {field} is missing"):
            parse(entry(**{field: None}))

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("name", "Payments Dev"),
            ("name", ""),
            ("name", 7),
            ("environment", ""),
            ("environment", "dev*"),
            ("environment", ["dev"]),
            ("repo", "infra"),
            ("repo", "a/b/c"),
            ("state_bucket", "s3://bucket"),
            ("state_bucket", "Bucket"),
            ("lock_mode", "none"),
            ("lock_mode", True),
            ("lock_table", "a b c"),
            ("states", []),
            ("states", "dev/terraform.tfstate"),
            ("states", ["dev/terraform.tfstate"]),
        ],
    )
    def test_every_wrong_field_is_named_with_its_target(self, field, value):
        with pytest.raises(ConfigError, match=rf"Reset target .*{field} "):
            parse(entry(**{field: value}))

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("key", None),
            ("key", ""),
            ("key", "/dev/terraform.tfstate"),
            ("key", "dev/"),
            ("key", "dev//terraform.tfstate"),
            ("key", "dev/*"),
            ("key", "dev/../live.tfstate"),
            ("key", "dev/terraform.tfstate.tflock"),
            ("key", "dev/terraform.tfstate-md5"),
            ("key", "tfpilot-ops-backup/rst_1/dev.tfstate"),
            ("target_env_path", None),
            ("target_env_path", "/envs/dev"),
            ("target_env_path", "envs/dev/"),
            ("target_env_path", "envs/../prod"),
            ("workspace", ""),
            ("workspace", "a/b"),
            ("workspace_key_prefix", "env/"),
            ("workspace_key_prefix", 3),
        ],
    )
    def test_every_wrong_field_of_a_state_is_named_with_its_target(self, field, value):
        with pytest.raises(ConfigError, match=rf"Reset target payments-dev, state 1: {field} is "):
            parse(entry(states=[state(**{field: value})]))

    @pytest.mark.parametrize(
        ("broken", "field"),
        [
            ({"target": []}, "target"),
            ({"targets": {}}, "list"),
            ({"targets": [7]}, "no table"),
            ({"targets": [entry(enviroment="dev")]}, "enviroment"),
            ({"targets": [entry(states=[state(keys="x")])]}, "keys"),
            ({"targets": [entry(lock_mode="lockfile")]}, "lock_table is given"),
            ({"targets": [entry(), entry(state_bucket="other-bucket")]}, "name is taken"),
            ({"targets": [entry(), entry(name="second")]}, "listed by payments-dev"),
            ({"targets": [entry(states=[state(), state()])]}, "listed by payments-dev"),
        ],
    )
    def test_what_means_nothing_or_two_things_is_refused(self, broken, field):
        with pytest.raises(ConfigError, match=field) as caught:
            parse_targets(broken)
        assert "TFPILOT_RESET_TARGETS" in caught.value.hint

    def test_the_same_key_in_two_workspaces_is_two_states(self):
        (read,) = parse(entry(states=[state(), state(workspace="blue")]))
        assert len({each.object_key for each in read.states}) == 2


class TestScope:
    @pytest.mark.parametrize(
        ("fields", "belonging"),
        [
            ({}, Belonging.INSIDE),
            ({"targetEnvPath": "./envs/dev/"}, Belonging.INSIDE),
            ({"targetOwner": "ACME", "targetRepo": "Infra"}, Belonging.INSIDE),
            ({"environment": "prod"}, Belonging.OUTSIDE),
            ({"environment": "dev2"}, Belonging.OUTSIDE),
            ({"targetRepo": "infra-two"}, Belonging.OUTSIDE),
            ({"targetEnvPath": "envs/dev-two"}, Belonging.OUTSIDE),
            ({"targetEnvPath": "envs/dev/sub"}, Belonging.OUTSIDE),
            ({"environment": None}, Belonging.UNDECIDED),
            ({"environment": "Dev"}, Belonging.UNDECIDED),
            ({"targetOwner": None}, Belonging.UNDECIDED),
            ({"targetEnvPath": None}, Belonging.UNDECIDED),
            ({"targetEnvPath": 7}, Belonging.UNDECIDED),
            ({"targetEnvPath": "envs/../envs/dev"}, Belonging.UNDECIDED),
            ({"targetEnvPath": None, "environment": "prod"}, Belonging.OUTSIDE),
            ({"targetOwner": None, "targetEnvPath": "envs/other"}, Belonging.OUTSIDE),
        ],
    )
    def test_a_request_belongs_where_environment_repository_and_path_match(self, fields, belonging):
        read = parse_request(request(**{"targetEnvPath": "envs/dev", **fields}))
        answer, reason = belongs_to(target(states=[PLAIN, NAMED]), read)
        assert answer is belonging
        assert bool(reason) is (belonging is not Belonging.INSIDE)

    def test_what_cannot_be_decided_is_listed_apart_with_its_reason(self):
        requests = [
            parse_request(request("req_b", targetEnvPath="envs/dev")),
            parse_request(request("req_d")),
            parse_request(request("req_a", targetEnvPath="envs/dev")),
            parse_request(request("req_o", targetEnvPath="envs/dev", environment="stage")),
        ]
        scope = scope_of(target(), requests, unreadable=["req_c"])
        assert scope.request_ids == ("req_a", "req_b")
        assert [(each.request_id, each.reason) for each in scope.undecided] == [
            ("req_c", "the document cannot be read"),
            ("req_d", "targetEnvPath is missing"),
        ]
