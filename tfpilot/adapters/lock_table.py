"""Terraform's lock table: lock items and digest items, each read consistently and written only on condition."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from tfpilot.adapters.s3 import CONNECT_TIMEOUT_SECONDS, READ_TIMEOUT_SECONDS, TOTAL_ATTEMPTS
from tfpilot.adapters.s3_errors import code_of
from tfpilot.core.model import JsonObject
from tfpilot.errors import ConflictError, DocumentError, StorageError

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef

INFO: Final = "Info"
DIGEST: Final = "Digest"

_ID: Final = "LockID"
_LOST: Final = "ConditionalCheckFailedException"


@dataclass(frozen=True, slots=True)
class Item:
    """One item, as far as Terraform gives it a meaning. `text` None: it has no such attribute."""

    lock_id: str
    text: str | None


def connect_tables(session: boto3.Session, *, endpoint_url: str | None) -> DynamoDBClient:
    """The one client of all lock tables. `endpoint_url` None: the AWS SDK's own choice."""
    config = Config(
        connect_timeout=CONNECT_TIMEOUT_SECONDS,
        read_timeout=READ_TIMEOUT_SECONDS,
        retries={"mode": "standard", "total_max_attempts": TOTAL_ATTEMPTS},
    )
    return session.client("dynamodb", endpoint_url=endpoint_url, config=config)


class LockTable:
    """The items of one table, by their exact LockID; nothing here lists or removes more than one."""

    def __init__(self, client: DynamoDBClient, name: str) -> None:
        self._client = client
        self.name = name

    def find(self, lock_id: str, attribute: str) -> Item | None:
        """The item with that attribute's text; None where there is no item.

        Raises DocumentError where the attribute is no text, StorageError.
        """
        item = self._get(lock_id)
        if item is None:
            return None
        value: AttributeValueTypeDef = item.get(attribute, {})
        if value and "S" not in value:
            raise DocumentError(
                f"{attribute} of {lock_id} in table {self.name} is no text",
                "Terraform did not write it. Look at the item, and remove it by hand if nobody needs it.",
            )
        return Item(lock_id, value.get("S"))

    def find_item(self, lock_id: str) -> JsonObject | None:
        """Every attribute of the item, in DynamoDB's own JSON, where binaries are base64; None where there is no item.

        Raises StorageError.
        """
        item = self._get(lock_id)
        return None if item is None else {name: _as_json(value) for name, value in item.items()}

    def put(self, lock_id: str, attribute: str, text: str, *, over: str | None) -> None:
        """Stores the item where its attribute says `over`, with None only where there is no item.

        Raises ConflictError, also where a first try had been carried out and its answer was lost, or StorageError.
        """
        item: dict[str, AttributeValueTypeDef] = {_ID: {"S": lock_id}, attribute: {"S": text}}
        try:
            if over is None:
                self._client.put_item(
                    TableName=self.name,
                    Item=item,
                    ConditionExpression="attribute_not_exists(#id)",
                    ExpressionAttributeNames={"#id": _ID},
                )
            else:
                self._client.put_item(
                    TableName=self.name,
                    Item=item,
                    ConditionExpression="#text = :over",
                    ExpressionAttributeNames={"#text": attribute},
                    ExpressionAttributeValues={":over": {"S": over}},
                )
        except (ClientError, BotoCoreError) as error:
            raise self._refused(error, f"write {lock_id}") from error

    def remove(self, found: Item, attribute: str) -> None:
        """Removes the item as long as it says what was found. Raises ConflictError, also where it is gone, or
        StorageError."""
        try:
            if found.text is None:
                self._client.delete_item(
                    TableName=self.name,
                    Key={_ID: {"S": found.lock_id}},
                    ConditionExpression="attribute_exists(#id) AND attribute_not_exists(#text)",
                    ExpressionAttributeNames={"#id": _ID, "#text": attribute},
                )
            else:
                self._client.delete_item(
                    TableName=self.name,
                    Key={_ID: {"S": found.lock_id}},
                    ConditionExpression="#text = :found",
                    ExpressionAttributeNames={"#text": attribute},
                    ExpressionAttributeValues={":found": {"S": found.text}},
                )
        except (ClientError, BotoCoreError) as error:
            raise self._refused(error, f"remove {found.lock_id}") from error

    def _get(self, lock_id: str) -> Mapping[str, AttributeValueTypeDef] | None:
        try:
            answer = self._client.get_item(TableName=self.name, Key={_ID: {"S": lock_id}}, ConsistentRead=True)
        except (ClientError, BotoCoreError) as error:
            raise self._failed(error, f"read {lock_id}") from error
        return answer.get("Item")

    def _refused(self, error: ClientError | BotoCoreError, doing: str) -> ConflictError | StorageError:
        if isinstance(error, ClientError) and code_of(error) == _LOST:
            return ConflictError(
                f"Could not {doing} in table {self.name}: it was changed by somebody else meanwhile",
                "Look at it again.",
            )
        return self._failed(error, doing)

    def _failed(self, error: ClientError | BotoCoreError, doing: str) -> StorageError:
        told = code_of(error) if isinstance(error, ClientError) else "no usable answer"
        return StorageError(
            f"Could not {doing} in table {self.name}: {told}",
            "Check the table's name and region, and that the credentials may get, put and delete its items.",
        )


def _as_json(value: object) -> object:
    """The value with binaries as base64, as the AWS CLI reads and writes it."""
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, Mapping):
        return {name: _as_json(each) for name, each in value.items()}
    return [_as_json(each) for each in value] if isinstance(value, list) else value
