"""What the local S3 server promises: nobody else gets in, nothing is lost."""

from __future__ import annotations

import urllib.error
import urllib.request
from dataclasses import replace
from pathlib import Path

import pytest

from tests.sandbox.processes import WAIT_SECONDS
from tfpilot.adapters.s3 import Bucket
from tfpilot.errors import StorageError
from tfpilot.sandbox.storage import LocalS3

pytestmark = pytest.mark.server


def test_data_survives_a_restart_on_the_same_directory(tmp_path: Path) -> None:
    with LocalS3(tmp_path) as server:
        Bucket(server.create_bucket("portal")).put("kept.json", b"{}", if_match=None)
    with LocalS3(tmp_path) as server:
        bucket = Bucket(server.create_bucket("portal"))
        assert bucket.read("kept.json", limit_bytes=10).content == b"{}"
        bucket.put("new.json", b"{}", if_match=None)
        assert set(bucket.list_all("")) == {"kept.json", "new.json"}


def test_nobody_without_its_credentials_reads_or_writes(s3_server: LocalS3) -> None:
    settings = s3_server.create_bucket("closed")
    Bucket(settings).put("secret.json", b"{}", if_match=None)
    for stranger in (replace(settings, access_key="other"), replace(settings, secret_key="other")):
        with pytest.raises(StorageError):
            Bucket(stranger).read("secret.json", limit_bytes=10)
    for method in ("GET", "PUT"):
        anonymous = urllib.request.Request(f"{s3_server.endpoint_url}/closed/secret.json", data=b"x", method=method)
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(anonymous, timeout=WAIT_SECONDS)


def test_a_bucket_that_does_not_exist_is_not_made_by_writing_to_it(s3_server: LocalS3) -> None:
    with pytest.raises(StorageError, match="NoSuchBucket"):
        Bucket(s3_server.settings("mistyped")).put("a.json", b"{}", if_match=None)
