"""The states of the seeded dev environments, byte for byte as Terraform writes them."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from tfpilot.core.model import JsonObject
from tfpilot.core.terraform_state import DATA, MANAGED

TERRAFORM_VERSION: Final = "1.11.4"
PAYMENTS: Final[Mapping[str, str]] = {
    "ecr_u5mz2w": "payments-ecr-u5mz2w",
    "iam_y3qd6f": "payments-iam-y3qd6f",
    "s3_k2vt7m": "payments-s3-k2vt7m",
    "sqs_c9hk5z": "payments-sqs-c9hk5z",
}
"""What the default workspace of payments-dev consists of: each is a `terraform_data`, and this is its input.

So Terraform itself can plan it without a provider, and finds that nothing is to be done.
"""
PAYMENTS_BLUE: Final[Mapping[str, str]] = {
    "ecr_u5mz2w": "payments-ecr-u5mz2w-blue",
    "s3_k2vt7m": "payments-s3-k2vt7m-blue",
}
"""The same of the workspace blue."""

_BUILTIN: Final = 'provider["terraform.io/builtin/terraform"]'
_AWS: Final = 'provider["registry.terraform.io/hashicorp/aws"]'
_RANDOM: Final = 'provider["registry.terraform.io/hashicorp/random"]'
_ARN: Final = "arn:aws:{service}:eu-west-2:000000000000:{name}"
_SCHEMA_VERSIONS: Final[Mapping[str, int]] = {"aws_db_instance": 2, "aws_instance": 2, "random_password": 3}
_SECRET: Final = "never-on-any-page"  # noqa: S105 - opens nothing: a page that showed it would be wrong


@dataclass(frozen=True, slots=True)
class Resource:
    """A resource as a state lists it: the attributes of its instances by their index, None where it has no `count`.

    `secret` names an attribute that Terraform does not print; `tainted` says that it is replaced by the next apply.
    """

    type: str
    name: str
    instances: Mapping[str | int | None, JsonObject]
    module: str = ""
    mode: str = MANAGED
    provider: str = _AWS
    secret: str = ""
    tainted: bool = False


def render_state(resources: Sequence[Resource], *, name: str, serial: int) -> bytes:
    """A state of the present format. `name` decides the lineage."""
    ordered = sorted(resources, key=lambda each: (each.module, each.mode, each.type, each.name))
    state = {
        "version": 4,
        "terraform_version": TERRAFORM_VERSION,
        "serial": serial,
        "lineage": _uuid(f"lineage of {name}"),
        "outputs": {},
        "resources": [_resource(each) for each in ordered],
        "check_results": None,
    }
    return (json.dumps(state, indent=2) + "\n").encode()


def terraform_data(inputs: Mapping[str, str], *, of: str) -> tuple[Resource, ...]:
    """The built-in resource of each name with its input."""
    return tuple(_terraform_data(name, value, of=of) for name, value in inputs.items())


def orders() -> tuple[Resource, ...]:
    """Of orders-dev: what its requests made, the last of them only in part."""
    rds, sqs, ec2 = "module.rds_d7xw3h", "module.sqs_m3vk8y", "module.ec2_y6kc3n"
    return (
        Resource("aws_caller_identity", "current", {None: {"account_id": "000000000000"}}, mode=DATA),
        Resource("aws_vpc", "main", {None: {"id": "vpc-0a5d1c7e94f2b8360"}}, mode=DATA),
        *_database("orders", module=rds),
        Resource("aws_sqs_queue", "this", {None: _named("sqs", "orders-incoming")}, sqs),
        Resource("aws_sqs_queue", "dead_letter", {None: _named("sqs", "orders-incoming-dlq")}, sqs),
        Resource("aws_sqs_queue_policy", "this", {None: {"id": "orders-incoming"}}, sqs),
        Resource(
            "aws_cloudwatch_metric_alarm",
            "age",
            {level: _named("cloudwatch", f"orders-incoming-age-{level}") for level in ("high", "low")},
            sqs,
        ),
        Resource("aws_iam_role", "node", {None: _named("iam", "orders-worker")}, ec2),
        Resource("aws_iam_instance_profile", "node", {None: _named("iam", "orders-worker")}, ec2),
        Resource(
            "aws_instance",
            "this",
            {index: {**_named("ec2", f"i-0c41{index}e7d90ab3f5c2"), "instance_type": "t3.small"} for index in (0, 1)},
            ec2,
            tainted=True,
        ),
    )


def ledger() -> tuple[Resource, ...]:
    """Of ledger-dev, its main state."""
    ec2, s3 = "module.ec2_z6fp2s", "module.s3_archive"
    return (
        *_database("ledger", module="module.rds_g8vn5r"),
        Resource("aws_instance", "this", {None: {**_named("ec2", "i-07be3d5a1f94c6820")}}, ec2),
        Resource("aws_s3_bucket", "this", {None: _named("s3", "northwind-ledger-archive-dev")}, s3),
        Resource("aws_s3_bucket_versioning", "this", {None: {"id": "northwind-ledger-archive-dev"}}, s3),
        *terraform_data({"schema_version": "ledger-schema-41"}, of="ledger"),
    )


def reporting() -> tuple[Resource, ...]:
    """Of ledger-dev, the state of its reports."""
    return (
        Resource("aws_s3_bucket", "reports", {None: _named("s3", "northwind-ledger-reports-dev")}),
        Resource("aws_glue_catalog_database", "reports", {None: {"id": "ledger_reports", "name": "ledger_reports"}}),
        Resource("aws_iam_role", "reader", {None: _named("iam", "ledger-reports-reader")}),
    )


def _database(name: str, *, module: str) -> tuple[Resource, ...]:
    instance = {**_named("rds", f"{name}-dev"), "engine": "postgres", "engine_version": "16.4", "password": _SECRET}
    password = {"id": "none", "length": 24, "result": _SECRET}
    return (
        Resource("aws_db_instance", "main", {None: instance}, module, secret="password"),  # noqa: S106 - its name
        Resource("aws_db_subnet_group", "main", {None: _named("rds", f"{name}-dev-subnets")}, module),
        Resource("aws_security_group", "main", {None: _named("ec2", f"sg-{name}-dev")}, module),
        Resource("random_password", "main", {None: password}, module, provider=_RANDOM, secret="result"),  # noqa: S106
    )


def _named(service: str, name: str) -> JsonObject:
    return {"arn": _ARN.format(service=service, name=name), "id": name, "tags": {"tfpilot:environment": "dev"}}


def _terraform_data(name: str, value: str, *, of: str) -> Resource:
    typed = {"value": value, "type": "string"}
    attributes = {"id": _uuid(f"{name} of {of}"), "input": typed, "output": typed, "triggers_replace": None}
    return Resource("terraform_data", name, {None: attributes}, provider=_BUILTIN)


def _resource(resource: Resource) -> JsonObject:
    module = {"module": resource.module} if resource.module else {}
    return {
        **module,
        "mode": resource.mode,
        "type": resource.type,
        "name": resource.name,
        "provider": resource.provider,
        "instances": [_instance(resource, index, each) for index, each in resource.instances.items()],
    }


def _instance(resource: Resource, index: str | int | None, attributes: JsonObject) -> JsonObject:
    sensitive: list[Any] = [[{"type": "get_attr", "value": resource.secret}]] if resource.secret else []
    return {
        **({} if index is None else {"index_key": index}),
        **({"status": "tainted"} if resource.tainted else {}),
        "schema_version": _SCHEMA_VERSIONS.get(resource.type, 0),
        "attributes": attributes,
        "sensitive_attributes": sensitive,
    }


def _uuid(name: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"https://sandbox.invalid/{name}"))
