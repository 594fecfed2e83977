"""The bucket's lifecycle configuration, and what in it the SDK does not know."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, cast
from xml.etree import ElementTree as ET

from botocore.exceptions import BotoCoreError, ClientError
from botocore.model import ListShape, Shape, StructureShape

from tfpilot.adapters.s3 import Bucket
from tfpilot.adapters.s3_errors import code_of
from tfpilot.core.bucket_rules import MINIMUM_SIZE, StoredLifecycle, Versioning
from tfpilot.core.document import format_time
from tfpilot.core.model import JsonObject
from tfpilot.errors import StorageError

if TYPE_CHECKING:
    from mypy_boto3_s3.type_defs import PutBucketLifecycleConfigurationRequestTypeDef

_RAW: Final = "RawBody"
_ROOT: Final = "LifecycleConfiguration"
_VERSIONING: Final[Mapping[str, Versioning]] = {"Enabled": Versioning.ENABLED, "Suspended": Versioning.SUSPENDED}
_DENIED: Final = frozenset({"AccessDenied", "403"})
_NOT_TAKEN: Final = frozenset({"InvalidArgument", "InvalidRequest", "MalformedXML", "NotImplemented", "501"})


class S3Lifecycle:
    """`Lifecycle` of a bucket."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        bucket.client.meta.events.register(
            "after-call.s3.GetBucketLifecycleConfiguration", _keep_raw, unique_id="tfpilot-lifecycle"
        )

    def read(self) -> StoredLifecycle:
        versioning = read_versioning(self._bucket)
        try:
            answer = self._bucket.client.get_bucket_lifecycle_configuration(Bucket=self._bucket.name)
        except ClientError as error:
            if code_of(error) == "NoSuchLifecycleConfiguration":
                return StoredLifecycle({}, versioning)
            raise _failed(
                self._bucket, error, "read the lifecycle configuration", "s3:GetLifecycleConfiguration"
            ) from error
        except (BotoCoreError, ValueError) as error:  # the SDK takes numbers in it for numbers
            raise _failed(
                self._bucket, error, "read the lifecycle configuration", "s3:GetLifecycleConfiguration"
            ) from error
        told = cast(Mapping[str, Any], answer)
        configuration = {name: _plain(told[name]) for name in ("Rules", MINIMUM_SIZE) if name in told}
        return StoredLifecycle(configuration, versioning, self._unknown_in(told["ResponseMetadata"][_RAW]))

    def put(self, configuration: JsonObject) -> None:
        settings = {name: value for name, value in configuration.items() if name != "Rules"}
        request = {"LifecycleConfiguration": {"Rules": configuration["Rules"]}, **settings}
        try:
            self._bucket.client.put_bucket_lifecycle_configuration(
                **cast("PutBucketLifecycleConfigurationRequestTypeDef", {"Bucket": self._bucket.name, **request})
            )
        except (ClientError, BotoCoreError) as error:
            raise _failed(
                self._bucket, error, "write the lifecycle configuration", "s3:PutLifecycleConfiguration"
            ) from error

    def _unknown_in(self, raw: bytes) -> tuple[str, ...]:
        operation = self._bucket.client.meta.service_model.operation_model("PutBucketLifecycleConfiguration")
        return find_unknown(raw, cast(StructureShape, operation.input_shape).members[_ROOT])


def read_versioning(bucket: Bucket) -> Versioning:
    """Whether the bucket keeps versions. Raises StorageError."""
    try:
        answer = bucket.client.get_bucket_versioning(Bucket=bucket.name)
    except (ClientError, BotoCoreError) as error:
        raise _failed(bucket, error, "read whether versions are kept", "s3:GetBucketVersioning") from error
    return _VERSIONING.get(answer.get("Status", ""), Versioning.NEVER)


def _failed(
    bucket: Bucket, error: ClientError | BotoCoreError | ValueError, doing: str, permission: str
) -> StorageError:
    if isinstance(error, ValueError):
        return StorageError(f"Could not {doing} of bucket {bucket.name}: it is not as S3 writes it", _BY_HAND)
    failed = bucket.failed(error, doing)
    code = code_of(error) if isinstance(error, ClientError) else ""
    if code in _DENIED:
        return StorageError(failed.message, f"The credentials need {permission} on the bucket {bucket.name}.")
    if code in _NOT_TAKEN:
        return StorageError(failed.message, f"The store does not take it, and keeps what it has. {_BY_HAND}")
    return failed


def find_unknown(raw: bytes, shape: Shape) -> tuple[str, ...]:
    """The paths of what the SDK would not write back: elements that `shape` has not, or not so often, attributes, and
    text where none belongs."""
    root = ET.fromstring(raw)  # noqa: S314  # an answer of S3, which the SDK has parsed before
    namespace = root.tag.removesuffix(_ROOT)
    return tuple(dict.fromkeys(_unknown(root, shape, _ROOT, namespace)))


def _unknown(element: ET.Element, shape: Shape, path: str, namespace: str) -> Iterator[str]:
    yield from (f"{path}/@{name}" for name in element.attrib)
    members = _members(shape)
    texts = [element.text, *(child.tail for child in element)]
    if isinstance(shape, StructureShape) and any((text or "").strip() for text in texts):
        yield f"{path}/text()"
    seen: set[str] = set()
    for child in element:
        name = child.tag.removeprefix(namespace)
        member = members.get(name)
        is_list = isinstance(member, ListShape)
        if member is None or (name in seen and not is_list):
            yield f"{path}/{name}"
            continue
        seen.add(name)
        yield from _unknown(
            child, member.member if isinstance(member, ListShape) else member, f"{path}/{name}", namespace
        )


def _members(shape: Shape) -> Mapping[str, Shape]:
    """What an element may hold, by the names that XML uses."""
    if not isinstance(shape, StructureShape):
        return {}
    return {member.serialization.get("name", name): member for name, member in shape.members.items()}


def _keep_raw(http_response: Any, parsed: dict[str, Any], **_others: object) -> None:  # noqa: ANN401  # botocore's own
    parsed["ResponseMetadata"][_RAW] = http_response.content


def _plain(value: object) -> object:
    """As JSON: times as text, which the SDK takes as well."""
    if isinstance(value, datetime):
        return format_time(value)
    if isinstance(value, Mapping):
        return {name: _plain(each) for name, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, list) else value


_BY_HAND: Final = "Look at the configuration with the tool that made it."
