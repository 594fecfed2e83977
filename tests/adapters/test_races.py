"""Sixteen writers at the same documents on the real server: no change that the store took is lost by us."""

from __future__ import annotations

import json
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import obstore
import pytest
from obstore.exceptions import PreconditionError

from tests.builders import request
from tfpilot.adapters.bulk import connect
from tfpilot.adapters.documents import S3Documents
from tfpilot.adapters.keys import active_key
from tfpilot.adapters.s3 import Bucket
from tfpilot.core.document import render_document
from tfpilot.errors import ConflictError

IDS = [f"req_{number}" for number in range(8)]
WRITERS = 16
TRIES = 2000
ROUNDS = 15

pytestmark = pytest.mark.server

Try = Callable[[str, str], bool]
"""Tries once to add a mark to a document; whether the store took it."""


def test_of_2000_conditional_writes_by_us_and_others_no_change_is_lost_and_no_document_torn(bucket: Bucket) -> None:
    for request_id in IDS:
        create(bucket, request_id)
    ours, foreign = our_try(bucket), foreign_try(bucket)
    taken: dict[str, list[str]] = defaultdict(list)

    def run(writer: int) -> None:
        for number in range(TRIES // WRITERS):
            request_id, mark = IDS[(writer + number) % len(IDS)], f"{writer}.{number}"
            if (ours if writer % 2 else foreign)(request_id, mark):
                taken[request_id].append(mark)

    with ThreadPoolExecutor(max_workers=WRITERS) as pool:
        list(pool.map(run, range(WRITERS)))
    for request_id in IDS:
        document = S3Documents(bucket).get(request_id).document
        assert Counter(document["marks"]) == Counter(taken[request_id])
        assert document["version"] == 1 + len(taken[request_id])
    assert {int(mark.split(".")[0]) for marks in taken.values() for mark in marks} == set(range(WRITERS))


def test_no_write_of_ours_destroys_one_of_somebody_who_uses_no_conditions(bucket: Bucket) -> None:
    # In each round everybody reads the same version, then everybody writes. Had one of ours landed after the foreign
    # write, the foreign mark would be missing. Where ours landed before it, it was the foreign writer who destroyed.
    with ThreadPoolExecutor(max_workers=WRITERS) as pool:
        rounds = [outcome for outcomes in pool.map(lambda each: duel(bucket, each), IDS[:2]) for outcome in outcomes]
    assert len(rounds) == 2 * ROUNDS
    assert all(foreign_stands for foreign_stands, _ in rounds)
    assert {ours_taken for _, ours_taken in rounds} <= {0, 1}
    assert sum(ours_taken == 0 for _, ours_taken in rounds) > 0


def duel(bucket: Bucket, request_id: str) -> list[tuple[bool, int]]:
    """Rounds of seven writers of ours and a foreign one. Per round: whether the foreign write stands, and how many of
    ours the store took."""
    create(bucket, request_id)
    store, documents = connect(bucket), S3Documents(bucket)
    everybody_has_read = threading.Barrier(WRITERS // 2)

    def ours(number: int, mark: str) -> bool:
        stored = documents.get(request_id)
        everybody_has_read.wait(30)
        try:
            documents.put(request_id, marked(stored.document, f"{mark} {number}"), if_match=stored.etag)
        except ConflictError:
            return False
        return True

    def foreign(mark: str) -> bool:
        read = json.loads(obstore.get(store, active_key(request_id)).bytes().to_bytes())
        everybody_has_read.wait(30)
        obstore.put(store, active_key(request_id), render_document(marked(read, mark)))
        return True

    def play(mark: str) -> tuple[bool, int]:
        tries = [pool.submit(ours, number, mark) for number in range(WRITERS // 2 - 1)]
        pool.submit(foreign, mark).result()
        taken = sum(each.result() for each in tries)
        return mark in documents.get(request_id).document["marks"], taken

    with ThreadPoolExecutor(max_workers=WRITERS // 2) as pool:
        return [play(f"round {number}") for number in range(ROUNDS)]


def our_try(bucket: Bucket) -> Try:
    documents = S3Documents(bucket)

    def ours(request_id: str, mark: str) -> bool:
        stored = documents.get(request_id)
        try:
            documents.put(request_id, marked(stored.document, mark), if_match=stored.etag)
        except ConflictError:
            return False
        return True

    return ours


def foreign_try(bucket: Bucket) -> Try:
    """Another client library, which shares nothing with ours but the conditions."""
    store = connect(bucket)

    def foreign(request_id: str, mark: str) -> bool:
        answer = obstore.get(store, active_key(request_id))
        content = render_document(marked(json.loads(answer.bytes().to_bytes()), mark))
        try:
            obstore.put(store, active_key(request_id), content, mode={"e_tag": answer.meta["e_tag"]})
        except PreconditionError:
            return False
        return True

    return foreign


def marked(document: Mapping[str, Any], mark: str) -> dict[str, Any]:
    return {**document, "version": document["version"] + 1, "marks": [*document["marks"], mark]}


def create(bucket: Bucket, request_id: str) -> None:
    bucket.put(active_key(request_id), render_document(request(request_id, marks=[])), if_match=None)
