"""What S3's refusals mean to an operator. Its answers hold keys and signatures, so only their codes are passed on."""

from __future__ import annotations

import re
from typing import Final

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    CredentialRetrievalError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
    ReadTimeoutError,
    TokenRetrievalError,
    UnauthorizedSSOTokenError,
)
from obstore.exceptions import BaseError, UnauthenticatedError

from tfpilot.errors import StorageError

CREDENTIAL_CODES: Final = frozenset(
    {
        "ExpiredToken",
        "ExpiredTokenException",
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "InvalidToken",
        "SignatureDoesNotMatch",
        "TokenRefreshRequired",
    }
)
_REGION_CODES: Final = frozenset({"AuthorizationHeaderMalformed", "IllegalLocationConstraintException"})
_REGION_CODES_OF_REDIRECTS: Final = frozenset({"PermanentRedirect", "TemporaryRedirect", "301", "307"})
_BUSY_CODES: Final = frozenset({"InternalError", "ServiceUnavailable", "SlowDown", "500", "502", "503", "504"})
_NO_CREDENTIALS: Final = (
    CredentialRetrievalError,
    NoCredentialsError,
    PartialCredentialsError,
    TokenRetrievalError,
    UnauthorizedSSOTokenError,
    UnauthenticatedError,
)
_CODE_IN_XML: Final = re.compile(r"<Code>(\w+)</Code>")
_STATUS_IN_TEXT: Final = re.compile(r"status code: (\d{3})")


def code_of(error: ClientError | BaseError | OSError) -> str:
    """S3's error code, else the HTTP status, else an empty text."""
    if isinstance(error, ClientError):
        return error.response.get("Error", {}).get("Code", "")
    text = str(error)
    found = _CODE_IN_XML.search(text) or _STATUS_IN_TEXT.search(text)
    return found.group(1) if found else ""


def storage_error(
    error: ClientError | BotoCoreError | BaseError | OSError, *, doing: str, bucket: str, endpoint: str
) -> StorageError:
    """Our error for a failed call: what was tried (`doing`: "read the object x"), S3's code, and what to check."""
    if isinstance(error, _NO_CREDENTIALS):
        return StorageError(f"Could not {doing} in bucket {bucket}: no AWS credentials", _CHECK_CREDENTIALS)
    if isinstance(error, NoRegionError):
        return StorageError(f"Could not {doing} in bucket {bucket}: no region", _CHECK_REGION)
    code = "" if isinstance(error, BotoCoreError) else code_of(error)
    if code:
        return StorageError(f"Could not {doing} in bucket {bucket}: {code}", _hint(code, bucket, endpoint))
    return StorageError(f"Could not {doing} in bucket {bucket}: {_silence(error)}", _check_endpoint(endpoint))


_CHECK_CREDENTIALS: Final = (
    "Check the credentials: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE or the role."
)
_CHECK_REGION: Final = "Check the region of the bucket: TFPILOT_DEFAULT_REGION."


def _check_endpoint(endpoint: str) -> str:
    return f"Check that {endpoint} can be reached from here (AWS_ENDPOINT_URL_S3), then try again."


def _hint(code: str, bucket: str, endpoint: str) -> str:
    if code in CREDENTIAL_CODES:
        return _CHECK_CREDENTIALS
    if code in _REGION_CODES | _REGION_CODES_OF_REDIRECTS:
        return _CHECK_REGION
    if code in _BUSY_CODES:
        return f"The store at {endpoint} is overloaded or broken. Try again in a minute."
    if code == "NoSuchBucket":
        return f"Check the name of the bucket (TFPILOT_REQUESTS_BUCKET) and that it is at {endpoint}."
    if code == "RequestTimeTooSkewed":
        return "Check the clock of this machine."
    return f"Check that the credentials may list, read and write the bucket {bucket}."


def _silence(error: BotoCoreError | BaseError | OSError | ClientError) -> str:
    if isinstance(error, ConnectTimeoutError | ReadTimeoutError) or "timed out" in str(error):
        return "no answer in time"
    return "no usable answer"
