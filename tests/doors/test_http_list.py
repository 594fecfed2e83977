"""The list of requests over HTTP: complete, newest first, filtered, and page by page while others write."""

from __future__ import annotations

import base64
import random
from itertools import chain
from typing import Any

import pytest

from tests.builders import ago, request, run, stuck_planning, with_pull, with_run
from tests.doors.door_setup import Door, changed
from tests.fakes import InMemory

LIST = "/api/requests"


def ids(answer) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [row["id"] for row in answer.json()["requests"]]


def all_pages(door: Door, *, limit: int, query: str = "", between=lambda: None) -> list[list[str]]:
    """The ids of every page, with what happens between one page and the next."""
    pages, cursor = [], ""
    while True:
        answer = door.get(f"{LIST}?limit={limit}&cursor={cursor}{query}")
        pages.append(ids(answer))
        cursor = answer.json()["nextCursor"]
        if cursor is None:
            return pages
        between()


def many(count: int) -> list[dict[str, Any]]:
    return changed([request(f"req_dev_{number:03}") for number in range(count)])


def test_a_row_has_what_a_table_shows_and_the_answer_how_many_there_are_and_when_they_were_read(
    door: Door, memory: InMemory
):
    memory.store({**stuck_planning(), "status": "applied"})
    told = door.get(LIST).json()
    assert told == {
        "success": True,
        "requests": [
            {
                "id": "req_dev_s3_abc123",
                "status": "planning",
                "storedStatus": "applied",
                "stuck": True,
                "drift": True,
                "environment": "dev",
                "project": "core",
                "module": "s3-bucket",
                "repo": "acme/infra",
                "createdBy": "maya-k",
                "prNumber": 7,
                "prUrl": "https://github.com/acme/infra/pull/7",
                "updatedAt": ago(hours=1),
                "version": 1,
                "archived": False,
                "hasArchivedCopy": False,
                "error": None,
            }
        ],
        "total": 1,
        "nextCursor": None,
        "readAt": "2026-03-02T12:00:00+00:00",
    }


def test_an_empty_bucket_is_an_empty_list(door: Door, memory: InMemory):
    told = door.get(LIST).json()
    assert (told["requests"], told["total"], told["nextCursor"]) == ([], 0, None)


def test_the_list_is_newest_change_first_whatever_the_ids_are(door: Door, memory: InMemory):
    documents = many(60)
    random.Random(1).shuffle(documents)
    memory.store(*documents)
    newest_first = [f"req_dev_{number:03}" for number in reversed(range(60))]
    assert ids(door.get(f"{LIST}?limit=60")) == newest_first
    assert ids(door.get(LIST)) == newest_first[:50]


def test_an_object_that_is_no_request_is_a_row_with_its_error(door: Door, memory: InMemory):
    memory.store(request())
    memory.bucket.write("requests/req_broken.json", b"{")
    memory.bucket.write("requests/what is\nthis.txt", b"hello")
    rows = {row["id"]: row for row in door.get(LIST).json()["requests"]}
    assert len(rows) == 3
    assert rows["req_broken"]["status"] is None
    assert "not JSON" in rows["req_broken"]["error"]
    assert "not named as a request" in rows["requests/what is\nthis.txt"]["error"]


# Filters


@pytest.fixture
def mixed(memory: InMemory) -> InMemory:
    planned = with_run(with_pull(request("req_prod_db_1", environment="prod")), "plan", **run(500))
    applied = with_run(planned, "apply", **run(501))
    memory.store(
        stuck_planning("req_dev_s3_1"),
        applied,
        request("req_qa_x_1", environment="qa", status="applied", prNumber=71),
    )
    memory.archive(request("req_dev_old_1"))
    return memory


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", {"req_dev_s3_1", "req_prod_db_1", "req_qa_x_1"}),
        ("status=planning", {"req_dev_s3_1"}),
        ("status=planning&status=applied", {"req_dev_s3_1", "req_prod_db_1"}),
        ("status=planning,applied", {"req_dev_s3_1", "req_prod_db_1"}),
        ("status=", {"req_dev_s3_1", "req_prod_db_1", "req_qa_x_1"}),
        ("environment=prod", {"req_prod_db_1"}),
        ("environment=prod,qa", {"req_prod_db_1", "req_qa_x_1"}),
        ("environment=nowhere", set()),
        ("environment=prod&status=planning", set()),
        ("q=S3", {"req_dev_s3_1"}),
        ("q=501", {"req_prod_db_1"}),
        ("q=%237", {"req_dev_s3_1", "req_prod_db_1"}),
        ("q=request/req_qa", {"req_qa_x_1"}),
        ("q=.*", set()),
        ("stuck=1", {"req_dev_s3_1"}),
        ("stuck=0", {"req_dev_s3_1", "req_prod_db_1", "req_qa_x_1"}),
        ("drift=1", {"req_qa_x_1"}),
        ("archived=1", {"req_dev_old_1"}),
        ("unknown=1", {"req_dev_s3_1", "req_prod_db_1", "req_qa_x_1"}),
    ],
)
def test_filters(query: str, expected: set[str], door: Door, mixed: InMemory):
    answer = door.get(f"{LIST}?{query}")
    assert set(ids(answer)) == expected
    assert answer.json()["total"] == len(expected)


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("status=plannin", "'plannin' is not a status"),
        ("status=planning,nonsense", "'nonsense' is not a status"),
        ("status=Planning", "is not a status"),
        ("status=" + "x" * 5000, "is not a status"),
        ("stuck=yes", "stuck"),
        ("archived=2", "archived"),
        ("drift=-1", "drift"),
        ("q=" + "x" * 201, "q has 201 characters"),
        ("limit=0", "limit"),
        ("limit=-1", "limit"),
        ("limit=501", "limit"),
        ("limit=", "limit"),
        ("limit=1e2", "limit"),
        ("limit=%D9%A3", "limit"),
        ("limit=" + "9" * 5000, "limit"),
        ("cursor=x", "cursor"),
        ("cursor=%00", "cursor"),
        ("cursor=%F0%9F%98%80", "cursor"),
        ("cursor=" + "A" * 5000, "cursor"),
        ("cursor=" + base64.urlsafe_b64encode(b"yesterday req_a").decode(), "cursor"),
        ("cursor=" + base64.urlsafe_b64encode(b"2026-03-02T12:00:00Z").decode(), "cursor"),
        ("cursor=" + base64.urlsafe_b64encode(b"\xff\xfe req_a").decode(), "cursor"),
        ("cursor=" + base64.urlsafe_b64encode(b"").decode() + "%20", "cursor"),
    ],
)
def test_what_cannot_be_used_is_refused_and_not_ignored(query: str, named: str, door: Door, mixed: InMemory):
    answer = door.get(f"{LIST}?{query}")
    assert answer.status_code == 400
    assert named in answer.json()["error"]
    assert answer.json()["hint"]
    assert len(answer.text) < 1000


# Pages


@pytest.mark.parametrize("limit", [1, 7, 50, 60, 500])
def test_the_pages_hold_every_request_once_in_order(limit: int, door: Door, memory: InMemory):
    memory.store(*many(60))
    pages = all_pages(door, limit=limit)
    assert [len(page) for page in pages[:-1]] == [limit] * (len(pages) - 1)
    assert [*chain(*pages)] == [f"req_dev_{number:03}" for number in reversed(range(60))]


def test_requests_that_changed_in_the_same_millisecond_are_each_on_one_page(door: Door, memory: InMemory):
    times = [f"2026-03-02T11:00:00.{fraction}Z" for fraction in ("1239", "123", "1235", "123001", "123999", "123")]
    memory.store(*[request(f"req_{number}", updatedAt=time) for number, time in enumerate(times)])
    assert sorted([*chain(*all_pages(door, limit=1))]) == [f"req_{number}" for number in range(6)]


def test_requests_without_a_time_of_change_are_on_the_last_pages(door: Door, memory: InMemory):
    timeless = [request(f"req_never_{number}", updatedAt=None, receivedAt=None) for number in range(3)]
    memory.store(*timeless, *many(2))
    pages = all_pages(door, limit=2)
    assert [*chain(*pages)] == ["req_dev_001", "req_dev_000", "req_never_0", "req_never_1", "req_never_2"]


def test_objects_with_odd_names_do_not_break_the_pages(door: Door, memory: InMemory):
    names = ["requests/a b c", "requests/ü\u2028", "requests/%2F%00", "requests/" + "x" * 900, "requests/a\nb"]
    for name in names:
        memory.bucket.write(name, b"?")
    memory.store(*many(2))
    assert sorted([*chain(*all_pages(door, limit=1))]) == sorted([*names, "req_dev_000", "req_dev_001"])


def test_filters_hold_on_every_page(door: Door, memory: InMemory):
    memory.store(*many(10), *changed([request(f"req_prod_{number}", environment="prod") for number in range(5)]))
    pages = all_pages(door, limit=2, query="&environment=prod")
    assert [len(page) for page in pages] == [2, 2, 1]
    assert all(each.startswith("req_prod_") for page in pages for each in page)


def test_while_others_write_no_page_repeats_a_request_and_none_that_stays_as_it_is_is_missed(
    door: Door, memory: InMemory
):
    memory.store(*many(40))
    chance = random.Random(5)
    touched: set[str] = set()

    def others_write() -> None:
        memory.clock.advance(seconds=20)
        now = memory.clock().isoformat()
        for number in chance.sample(range(40), 3):
            touched.add(f"req_dev_{number:03}")
            memory.store(request(f"req_dev_{number:03}", updatedAt=now))
        memory.store(request(f"req_new_{chance.randrange(10**9)}", updatedAt=now))
        gone = chance.choice([key for key in memory.bucket.contents() if key.startswith("requests/req_dev_")])
        touched.add(gone.removeprefix("requests/").removesuffix(".json"))
        memory.bucket.delete(gone)

    seen = [*chain(*all_pages(door, limit=4, between=others_write))]
    assert len(seen) == len(set(seen))
    untouched = {f"req_dev_{number:03}" for number in range(40)} - touched
    assert len(untouched) >= 5
    assert untouched <= set(seen)


def test_a_list_is_read_again_when_its_reading_is_older_than_15_seconds(door: Door, memory: InMemory):
    memory.store(request("req_a"))
    assert ids(door.get(LIST)) == ["req_a"]
    memory.store(request("req_b"))
    memory.clock.advance(seconds=15)
    assert ids(door.get(LIST)) == ["req_a"]
    memory.clock.advance(seconds=1)
    assert ids(door.get(LIST)) == ["req_a", "req_b"]
