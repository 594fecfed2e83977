"""One bucket: reads, and writes that happen only over the version that was read."""

from __future__ import annotations

import copy
import secrets
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Final, Literal, cast
from urllib.parse import urlsplit

import boto3
import stamina
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from tfpilot.adapters.s3_errors import code_of, storage_error
from tfpilot.core.reset_plan import ReadObject
from tfpilot.errors import ConflictError, DocumentError, NotFoundError, StorageError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.literals import ServerSideEncryptionType
    from mypy_boto3_s3.type_defs import GetObjectRequestTypeDef, PutObjectRequestTypeDef

CONNECT_TIMEOUT_SECONDS: Final = 3
READ_TIMEOUT_SECONDS: Final = 10
MAX_CONNECTIONS: Final = 32
TOTAL_ATTEMPTS: Final = 3

NONCE: Final = "tfpilot-write"
"""Metadata by which a write whose answer was lost knows its own object."""

_NO_OBJECT: Final = frozenset({"NoSuchKey", "NoSuchVersion", "MethodNotAllowed"})
"""The last one: the version that was asked for is a delete marker."""
_LOST: Final = frozenset({"PreconditionFailed", "NoSuchKey", "412", "404"})
_BUSY: Final = frozenset({"ConditionalRequestConflict", "OperationAborted", "409"})
_when_not_busy: Final = stamina.RetryingCaller(attempts=8, timeout=10, wait_initial=0.05, wait_max=1, wait_jitter=0.2)


@dataclass(frozen=True, slots=True)
class BucketSettings:
    """Which bucket, and how to reach it. None is the AWS SDK's own choice; `encryption` None sends no SSE header."""

    name: str
    region: str | None = None
    endpoint_url: str | None = None
    encryption: Literal["AES256"] | None = "AES256"
    access_key: str | None = None
    secret_key: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Listed:
    """An object as a listing shows it. `etag` without quotes, `size` in bytes."""

    key: str
    etag: str
    size: int
    modified: datetime


@dataclass(frozen=True, slots=True)
class Body:
    """The bytes of an object and their version."""

    content: bytes
    etag: str


@dataclass(frozen=True, slots=True)
class Written:
    """The version that a write left. `version_id` None: the bucket keeps no versions."""

    etag: str
    version_id: str | None = None


class Bucket:
    """The one boto3 client of a bucket. May be used from several threads."""

    def __init__(self, settings: BucketSettings) -> None:
        self.name = settings.name
        self.session = boto3.Session(
            aws_access_key_id=settings.access_key,
            aws_secret_access_key=settings.secret_key,
            region_name=settings.region,
        )
        self.client: S3Client = self.session.client("s3", endpoint_url=settings.endpoint_url, config=_client_config())
        self.encryption = settings.encryption

    def sibling(self, name: str) -> Bucket:
        """Another bucket in the same place, by the same client. Its own default says how it is encrypted."""
        other = copy.copy(self)
        other.name, other.encryption = name, None
        return other

    @property
    def endpoint(self) -> str:
        """Where the bucket is, as it may be shown: without a user name or password."""
        parts = urlsplit(self.client.meta.endpoint_url)
        return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()

    def read(self, key: str, *, limit_bytes: int) -> Body:
        """The object. Raises NotFoundError, DocumentError (larger than `limit_bytes`, not read) or StorageError."""
        try:
            answer = self.client.get_object(Bucket=self.name, Key=key)
            with closing(answer["Body"]) as stream:
                check_size(key, answer["ContentLength"], limit_bytes=limit_bytes)
                return Body(stream.read(), bare_etag(answer["ETag"]))
        except ClientError as error:
            if code_of(error) == "NoSuchKey":
                raise NotFoundError(f"There is no {key} in bucket {self.name}") from error
            raise self.failed(error, f"read {key}") from error
        except BotoCoreError as error:
            raise self.failed(error, f"read {key}") from error

    def find(self, key: str, *, limit_bytes: int) -> Body | None:
        """The object, None where there is none. Raises DocumentError or StorageError as `read`."""
        try:
            return self.read(key, limit_bytes=limit_bytes)
        except NotFoundError:
            return None

    def find_version(self, key: str, *, limit_bytes: int, version_id: str | None = None) -> ReadObject | None:
        """The object, or an earlier version of it, with its version and encryption; None where there is none.

        Raises DocumentError or StorageError as `read`.
        """
        wanted: GetObjectRequestTypeDef = {"Bucket": self.name, "Key": key}
        if version_id is not None:
            wanted["VersionId"] = version_id
        try:
            answer = self.client.get_object(**wanted)
            with closing(answer["Body"]) as stream:
                check_size(key, answer["ContentLength"], limit_bytes=limit_bytes)
                content = stream.read()
        except ClientError as error:
            if code_of(error) in _NO_OBJECT:
                return None
            raise self.failed(error, f"read {key}") from error
        except BotoCoreError as error:
            raise self.failed(error, f"read {key}") from error
        return ReadObject(
            key=key,
            content=content,
            etag=bare_etag(answer["ETag"]),
            version_id=bare_version(answer.get("VersionId")),
            encryption=answer.get("ServerSideEncryption", ""),
            kms_key=answer.get("SSEKMSKeyId", ""),
        )

    def put(self, key: str, content: bytes, *, if_match: str | None) -> str:
        """Stores JSON over the version with ETag `if_match`, with None as a new key, and answers the new ETag.

        Raises ConflictError where another version, or none, is stored now; StorageError where the store did not
        answer: the write may then have happened.
        """
        return self.write(key, content, if_match=if_match).etag

    def write(
        self, key: str, content: bytes, *, if_match: str | None, encrypted_like: ReadObject | None = None
    ) -> Written:
        """As `put`, and answers the version. `encrypted_like`: encrypted as that object is."""
        nonce = secrets.token_hex(16)
        request = self._put_request(key, content, if_match=if_match, nonce=nonce)
        if encrypted_like is not None:
            _encrypt(request, encrypted_like)
        try:
            answer = _when_not_busy(_is_busy, partial(self.client.put_object, **request))
        except ClientError as error:
            if code_of(error) not in _LOST | _BUSY:
                raise self.failed(error, f"write {key}") from error
            return self._own_write(key, nonce, error)
        except BotoCoreError as error:
            raise self.failed(error, f"write {key}") from error
        return Written(bare_etag(answer["ETag"]), bare_version(answer.get("VersionId")))

    def delete(self, key: str, *, if_match: str) -> None:
        """Removes the version with that ETag.

        Raises ConflictError where another version, or none, is stored now: AWS answers 404 for none, other stores 412.
        Raises StorageError where the store did not answer: the object may then be gone.
        """
        remove = partial(self.client.delete_object, Bucket=self.name, Key=key, IfMatch=f'"{bare_etag(if_match)}"')
        try:
            _when_not_busy(_is_busy, remove)
        except ClientError as error:
            if code_of(error) in _LOST | _BUSY:
                raise _conflict(key) from error
            raise self.failed(error, f"remove {key}") from error
        except BotoCoreError as error:
            raise self.failed(error, f"remove {key}") from error

    def check_writable(self, prefix: str) -> None:
        """Tries a write under `prefix` on a condition that cannot hold: whoever may write is told so, and nothing is
        stored. Raises StorageError, also where the store ignored the condition."""
        key = f"{prefix}doctor-{secrets.token_hex(8)}.json"
        request = self._put_request(key, b"{}", if_match="0" * 32, nonce="")
        try:
            self.client.put_object(**request)
        except ClientError as error:
            if code_of(error) in _LOST:
                return
            raise self.failed(error, f"write under {prefix}") from error
        except BotoCoreError as error:
            raise self.failed(error, f"write under {prefix}") from error
        self.client.delete_object(Bucket=self.name, Key=key)
        raise StorageError(
            "The store wrote an object although the condition could not hold",
            "This store ignores conditions, so that updates would be lost: use another one.",
        )

    def list_all(self, prefix: str) -> Mapping[str, Listed]:
        """Every object under `prefix`, by key. Complete, or raises StorageError."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.name, Prefix=prefix)
        try:
            found = [entry for page in pages for entry in page.get("Contents", ())]
        except (ClientError, BotoCoreError) as error:
            raise self.failed(error, f"list {prefix}") from error
        return {
            entry["Key"]: Listed(entry["Key"], bare_etag(entry["ETag"]), entry["Size"], entry["LastModified"])
            for entry in found
        }

    def list_folders(self, prefix: str) -> Sequence[str]:
        """What `prefix` is followed by up to and with the next /, each once, as whole keys. Raises StorageError."""
        paginator = self.client.get_paginator("list_objects_v2")
        pages = paginator.paginate(Bucket=self.name, Prefix=prefix, Delimiter="/")
        try:
            return [entry["Prefix"] for page in pages for entry in page.get("CommonPrefixes", ())]
        except (ClientError, BotoCoreError) as error:
            raise self.failed(error, f"list {prefix}") from error

    def failed(self, error: ClientError | BotoCoreError, doing: str) -> StorageError:
        return storage_error(error, doing=doing, bucket=self.name, endpoint=self.endpoint)

    def _put_request(self, key: str, content: bytes, *, if_match: str | None, nonce: str) -> PutObjectRequestTypeDef:
        request: PutObjectRequestTypeDef = {
            "Bucket": self.name,
            "Key": key,
            "Body": content,
            "ContentType": "application/json",
            "Metadata": {NONCE: nonce},
        }
        if if_match is None:
            request["IfNoneMatch"] = "*"
        else:
            request["IfMatch"] = f'"{bare_etag(if_match)}"'
        if self.encryption is not None:
            request["ServerSideEncryption"] = self.encryption
        return request

    def _own_write(self, key: str, nonce: str, refusal: ClientError) -> Written:
        """The version where the refused write had in fact won: its answer was lost, and the repetition found itself."""
        try:
            stored = self.client.head_object(Bucket=self.name, Key=key)
        except ClientError as error:
            if code_of(error) == "404":
                raise _conflict(key) from refusal
            raise self.failed(error, f"write {key}") from error
        except BotoCoreError as error:
            raise self.failed(error, f"write {key}") from error
        if stored["Metadata"].get(NONCE) != nonce:
            raise _conflict(key) from refusal
        return Written(bare_etag(stored["ETag"]), bare_version(stored.get("VersionId")))


def bare_etag(etag: str) -> str:
    """The ETag without the quotes, which some answers have and some have not."""
    return etag.strip('"')


def bare_version(version_id: str | None) -> str | None:
    """The id of a version; None for "null", as S3 calls what was written without versioning."""
    return None if version_id in {None, "", "null"} else version_id


def check_size(key: str, size: int, *, limit_bytes: int) -> None:
    """Raises DocumentError where an object of `size` bytes is too large to be read or written."""
    if size > limit_bytes:
        raise DocumentError(
            f"{key} has {size:,} bytes, more than the limit of {limit_bytes:,}",
            "Nothing was changed. Look at the object in the bucket, and restore an earlier version of it.",
        )


def _encrypt(request: PutObjectRequestTypeDef, like: ReadObject) -> None:
    """States hold secrets: a copy is encrypted no worse than what it is of."""
    if like.encryption:
        request["ServerSideEncryption"] = cast("ServerSideEncryptionType", like.encryption)
    if like.kms_key:
        request["SSEKMSKeyId"] = like.kms_key


def _client_config() -> Config:
    # Path-style because every S3 answers it, whatever its host name.
    return Config(
        connect_timeout=CONNECT_TIMEOUT_SECONDS,
        read_timeout=READ_TIMEOUT_SECONDS,
        max_pool_connections=MAX_CONNECTIONS,
        retries={"mode": "standard", "total_max_attempts": TOTAL_ATTEMPTS},
        s3={"addressing_style": "path"},
    )


def _is_busy(error: Exception) -> bool:
    """Another conditional write to the same key had not ended: neither of them has lost yet."""
    return isinstance(error, ClientError) and code_of(error) in _BUSY


def _conflict(key: str) -> ConflictError:
    return ConflictError(f"{key} was changed by somebody else meanwhile", "Read it again and repeat what you wanted.")
