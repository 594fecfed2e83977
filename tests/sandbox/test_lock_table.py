"""What the local DynamoDB server promises: of those who write at the same moment, one wins."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Barrier
from typing import TYPE_CHECKING

import pytest
from botocore.exceptions import ClientError

from tfpilot.adapters.s3_errors import code_of
from tfpilot.sandbox.lock_table import LocalDynamoDB

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

pytestmark = pytest.mark.server

KEYS = 200
THREADS = 16


@pytest.fixture
def table(lock_server: LocalDynamoDB) -> str:
    name = f"locks-{uuid.uuid4().hex[:12]}"
    lock_server.create_table(name)
    return name


def test_a_lock_table_has_the_key_that_terraform_uses_and_is_ready_at_once(
    lock_server: LocalDynamoDB, table: str
) -> None:
    described = lock_server.connect().describe_table(TableName=table)["Table"]
    assert described["KeySchema"] == [{"AttributeName": "LockID", "KeyType": "HASH"}]
    assert described["AttributeDefinitions"] == [{"AttributeName": "LockID", "AttributeType": "S"}]
    assert described["BillingModeSummary"]["BillingMode"] == "PAY_PER_REQUEST"
    assert described["TableStatus"] == "ACTIVE"


def test_a_table_that_is_there_stays_as_it_is(lock_server: LocalDynamoDB, table: str) -> None:
    client = lock_server.connect()
    take(client, table, "bucket/key", "me")
    lock_server.create_table(table)
    assert holder(client, table, "bucket/key") == "me"


def test_another_server_has_none_of_its_tables(lock_server: LocalDynamoDB, table: str) -> None:
    with LocalDynamoDB() as other:
        assert other.connect().list_tables()["TableNames"] == []
    assert table in lock_server.connect().list_tables()["TableNames"]


def test_of_sixteen_who_take_a_lock_at_once_one_has_it_and_of_sixteen_who_release_it_one_did(
    lock_server: LocalDynamoDB, table: str
) -> None:
    client = lock_server.connect()
    names = [f"tfstate-dev/envs/{number}.tfstate" for number in range(KEYS)]

    taken = race(partial(take, client, table), names)
    assert {name: len(winners) for name, winners in taken.items()} == dict.fromkeys(names, 1)
    assert {name: holder(client, table, name) for name in names} == {name: taken[name][0] for name in names}

    def release(name: str, _who: str) -> bool:
        return wins(
            lambda: client.delete_item(
                TableName=table,
                Key={"LockID": {"S": name}},
                ConditionExpression="Info = :held",
                ExpressionAttributeValues={":held": {"S": taken[name][0]}},
            )
        )

    released = race(release, names)
    assert Counter(len(winners) for winners in released.values()) == {1: KEYS}
    assert client.scan(TableName=table, ConsistentRead=True)["Count"] == 0


def race(attempt: Callable[[str, str], bool], names: list[str]) -> dict[str, list[str]]:
    """Every thread attempts every name at the same moment as the others; who won each."""
    together, winners = Barrier(THREADS, timeout=30), {name: list[str]() for name in names}

    def attempt_all(who: str) -> None:
        for name in names:
            together.wait()
            if attempt(name, who):
                winners[name].append(who)

    with ThreadPoolExecutor(THREADS) as pool:
        for done in [pool.submit(attempt_all, f"writer-{number}") for number in range(THREADS)]:
            done.result()
    return winners


def take(client: DynamoDBClient, table: str, name: str, who: str) -> bool:
    """Whether the lock is now ours, taken as Terraform takes it."""
    return wins(
        lambda: client.put_item(
            TableName=table,
            Item={"LockID": {"S": name}, "Info": {"S": who}},
            ConditionExpression="attribute_not_exists(LockID)",
        )
    )


def wins(write: Callable[[], object]) -> bool:
    try:
        write()
    except ClientError as error:
        if code_of(error) != "ConditionalCheckFailedException":
            raise
        return False
    return True


def holder(client: DynamoDBClient, table: str, name: str) -> str:
    item = client.get_item(TableName=table, Key={"LockID": {"S": name}}, ConsistentRead=True)["Item"]
    return item["Info"]["S"]
