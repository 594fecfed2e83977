"""What reading and writing request documents promises."""

from __future__ import annotations

import json

import pytest

from tests.adapters.conftest import Store
from tests.builders import REQUEST_ID, request
from tfpilot.adapters.documents import S3Documents
from tfpilot.core.document import MAX_DOCUMENT_BYTES, render_document
from tfpilot.errors import ConflictError, DocumentError, MalformedIdError, NotFoundError

ACTIVE = f"requests/{REQUEST_ID}.json"
ARCHIVED = f"history/{REQUEST_ID}.json"


def test_a_document_comes_back_with_every_field_it_was_stored_with(store: Store) -> None:
    document = request(unknown={"deep": [{"ünïcode": None, "n": 1.5}]})
    store.write(ACTIVE, render_document(document))
    assert S3Documents(store.bucket).get(REQUEST_ID).document == document


def test_a_document_is_stored_as_the_web_app_stores_it(store: Store) -> None:
    store.write(ACTIVE, b"{}")
    documents = S3Documents(store.bucket)
    documents.put(REQUEST_ID, request(project="größe"), if_match=store.bucket.list_all("requests/")[ACTIVE].etag)
    content = store.bucket.read(ACTIVE, limit_bytes=MAX_DOCUMENT_BYTES).content
    assert content == json.dumps(request(project="größe"), indent=2, ensure_ascii=False).encode()


def test_a_write_over_the_version_that_was_read_answers_the_version_that_is_read_next(store: Store) -> None:
    documents = stored_request(store)
    etag = documents.put(REQUEST_ID, request(version=2), if_match=documents.get(REQUEST_ID).etag)
    assert documents.get(REQUEST_ID).etag == etag
    assert documents.get(REQUEST_ID).document["version"] == 2


def test_a_write_over_a_version_that_was_changed_since_is_refused(store: Store) -> None:
    documents = stored_request(store)
    etag = documents.get(REQUEST_ID).etag
    store.write(ACTIVE, render_document(request(version=2, project="changed by the web app")))
    with pytest.raises(ConflictError):
        documents.put(REQUEST_ID, request(version=2), if_match=etag)
    assert documents.get(REQUEST_ID).document["project"] == "changed by the web app"


def test_a_write_never_brings_an_archived_request_back(store: Store) -> None:
    documents = stored_request(store)
    etag = documents.get(REQUEST_ID).etag
    store.delete(ACTIVE)
    with pytest.raises(ConflictError):
        documents.put(REQUEST_ID, request(version=2), if_match=etag)
    with pytest.raises(NotFoundError):
        documents.get(REQUEST_ID)


@pytest.mark.parametrize("request_id", ["../secrets", "req_%00", "req_A", "", "req_" + "x" * 10_000])
def test_what_cannot_be_an_id_never_reaches_the_bucket(store: Store, request_id: str) -> None:
    documents = S3Documents(store.bucket)
    for ask in (documents.get, documents.find_archived):
        with pytest.raises(MalformedIdError):
            ask(request_id)
    with pytest.raises(MalformedIdError):
        documents.put(request_id, {}, if_match="any")


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"\xff\xfe", b"[]", b'{"id": "req_of_somebody_else"}', b"[" * 100_000],
    ids=["empty", "cut off", "not UTF-8", "a list", "another request", "nested"],
)
def test_what_is_no_document_of_this_request_is_said_to_be_none(store: Store, content: bytes) -> None:
    store.write(ACTIVE, content)
    with pytest.raises(DocumentError, match=REQUEST_ID):
        S3Documents(store.bucket).get(REQUEST_ID)


def test_a_document_of_50_megabytes_is_refused_without_reading_it(store: Store) -> None:
    store.write(ACTIVE, b" " * 50_000_000)
    with pytest.raises(DocumentError, match=r"50,000,000 bytes, more than the limit of 5,242,880"):
        S3Documents(store.bucket).get(REQUEST_ID)


def test_a_document_that_could_not_be_read_again_is_not_written(store: Store) -> None:
    documents = stored_request(store)
    etag = documents.get(REQUEST_ID).etag
    with pytest.raises(DocumentError, match="more than the limit"):
        documents.put(REQUEST_ID, request(notes=["x"] * (MAX_DOCUMENT_BYTES // 8)), if_match=etag)
    assert documents.get(REQUEST_ID).etag == etag


def test_no_archived_copy_is_no_error(store: Store) -> None:
    assert S3Documents(store.bucket).find_archived(REQUEST_ID) is None


def test_an_archived_copy_is_never_written_over_one_that_was_not_read(store: Store) -> None:
    documents = S3Documents(store.bucket)
    documents.put_archived(REQUEST_ID, request(version=1), if_match=None)
    with pytest.raises(ConflictError):
        documents.put_archived(REQUEST_ID, request(version=2), if_match=None)
    first = documents.find_archived(REQUEST_ID)
    assert first is not None
    documents.put_archived(REQUEST_ID, request(version=2), if_match=first.etag)
    second = documents.find_archived(REQUEST_ID)
    assert second is not None
    assert second.document["version"] == 2


def test_a_replaced_archived_copy_is_kept_once_per_version(store: Store) -> None:
    documents = S3Documents(store.bucket)
    documents.put_archived(REQUEST_ID, request(version=1), if_match=None)
    copy = documents.find_archived(REQUEST_ID)
    assert copy is not None
    key = documents.keep_archived(REQUEST_ID, copy)
    assert documents.keep_archived(REQUEST_ID, copy) == key
    assert (
        list(store.bucket.list_all("ops/backups/")) == [f"ops/backups/history/{REQUEST_ID}/{copy.etag}.json"] == [key]
    )
    assert json.loads(store.bucket.read(key, limit_bytes=MAX_DOCUMENT_BYTES).content) == request(version=1)


def stored_request(store: Store) -> S3Documents:
    store.write(ACTIVE, render_document(request()))
    return S3Documents(store.bucket)
