"""Puts Terraform's side of the seeded world into the sandbox's servers: state buckets and lock tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from tfpilot.adapters.s3_errors import code_of, storage_error
from tfpilot.core.reset_guards import PLACE_TAG
from tfpilot.core.reset_target import ResetTarget
from tfpilot.errors import StorageError
from tfpilot.sandbox.lock_table import LocalDynamoDB
from tfpilot.sandbox.seeded.states import TerraformSeed
from tfpilot.sandbox.storage import LocalS3

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import ObjectIdentifierTypeDef


def plant_states(seed: TerraformSeed, *, server: LocalS3, client: S3Client, locks: LocalDynamoDB) -> None:
    """Makes each state bucket, or empties what an earlier run left in it, and each lock table; then fills them.

    `client` is one of `server`; `locks` holds nothing yet. Raises StorageError where one of them fails.
    """

    def fill(target: ResetTarget) -> None:
        try:
            _fill(client, target, seed.objects[target.bucket])
        except (ClientError, BotoCoreError) as error:
            raise storage_error(
                error, doing="plant the states", bucket=target.bucket, endpoint=server.endpoint_url
            ) from error

    for target in seed.targets:
        server.create_bucket(target.bucket)
    # The first object of a bucket takes the server some time.
    with ThreadPoolExecutor(len(seed.targets)) as pool:
        list(pool.map(fill, seed.targets))
    _plant_items(seed, locks)


def _fill(client: S3Client, target: ResetTarget, objects: Mapping[str, bytes]) -> None:
    bucket = target.bucket
    remove_all_versions(client, bucket)
    client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    client.put_bucket_tagging(Bucket=bucket, Tagging={"TagSet": [{"Key": PLACE_TAG, "Value": target.environment}]})
    for key, content in objects.items():
        client.put_object(Bucket=bucket, Key=key, Body=content, ContentType="application/json")


def remove_all_versions(client: S3Client, bucket: str) -> None:
    """Empties a bucket of the sandbox's own for good: versions and delete markers go too."""
    for batch in _versions(client, bucket):
        client.delete_objects(Bucket=bucket, Delete={"Objects": batch, "Quiet": True})


def _versions(client: S3Client, bucket: str) -> Iterator[list[ObjectIdentifierTypeDef]]:
    for page in client.get_paginator("list_object_versions").paginate(Bucket=bucket):
        batch: list[ObjectIdentifierTypeDef] = [
            {"Key": entry["Key"], "VersionId": entry["VersionId"]}
            for entry in (*page.get("Versions", ()), *page.get("DeleteMarkers", ()))
        ]
        if batch:
            yield batch


def _plant_items(seed: TerraformSeed, locks: LocalDynamoDB) -> None:
    client = locks.connect()
    for table, items in seed.items.items():
        try:
            locks.create_table(table)
            for item in items:
                client.put_item(TableName=table, Item={name: {"S": value} for name, value in item.items()})
        except (ClientError, BotoCoreError) as error:
            said = code_of(error) if isinstance(error, ClientError) else "no usable answer"
            raise StorageError(
                f"Could not fill the lock table {table}: {said}",
                f"Check the local DynamoDB server at {locks.endpoint_url}.",
            ) from error
