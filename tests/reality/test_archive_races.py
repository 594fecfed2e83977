"""Requests that others edit during the archive, copies in history, and two who reset at once: nothing is lost."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial

import pytest
from botocore.exceptions import ClientError

from tests.reality.conftest import NewDev, OpenPortal
from tests.reality.real_dev import Portal, RealDev
from tests.reset_setup import ADMIN
from tfpilot.adapters.keys import active_key, archived_key
from tfpilot.adapters.s3_errors import code_of
from tfpilot.core.document import render_document
from tfpilot.core.reset_journal import Stage, StepResult
from tfpilot.core.reset_receipt import Receipt
from tfpilot.core.reset_steps import Phase, ResetStep
from tfpilot.core.terraform import LockMode
from tfpilot.errors import ConflictError, RefusedError, TfPilotError
from tfpilot.operations.reset import resume_reset
from tfpilot.operations.reset_views import list_resets

pytestmark = pytest.mark.server

EDITORS = 16
REQUESTS = [f"req_dev_race_{number:02d}" for number in range(32)]
ROUNDS = 4
MOST_EDITS = 40
LOST_RACE = {"PreconditionFailed", "NoSuchKey", "ConditionalRequestConflict", "OperationAborted", "404", "409"}


@pytest.fixture
def dev(new_dev: NewDev) -> RealDev:
    dev = new_dev(LockMode.LOCKFILE)
    dev.mark_place()
    return dev


@dataclass
class Others:
    """Sixteen others, each with four requests, which two of them edit. `over`: the reset has ended.

    `taken`: what the store took, by request and version.
    """

    dev: RealDev
    edit: Callable[[Others, str, int], bool]
    """Tries one edit; whether there may be another."""
    over: threading.Event = field(default_factory=threading.Event)
    taken: dict[str, dict[int, bytes]] = field(default_factory=lambda: {request_id: {} for request_id in REQUESTS})

    def work(self, editor: int) -> None:
        for number, request_id in enumerate(REQUESTS):
            if editor in {number % EDITORS, (number + 5) % EDITORS}:
                self._wait_for_the_moment(number)
                while self.edit(self, request_id, editor) and not self.over.is_set():
                    pass

    def _wait_for_the_moment(self, number: int) -> None:
        """At once, when the copy of the request is made, or when it is removed: whatever the reset is at then."""
        moments = (
            lambda: True,
            lambda: content_of(self.dev, archived_key(REQUESTS[number])) is not None,
            lambda: content_of(self.dev, active_key(REQUESTS[number])) is None,
        )
        while not moments[number % len(moments)]() and not self.over.is_set():
            pass


def edit_on_condition(others: Others, request_id: str, editor: int) -> bool:
    """As everybody should: over the version that was read. A request that is gone is made by nobody."""
    client, bucket, key = others.dev.bucket.client, others.dev.requests.name, active_key(request_id)
    try:
        read = client.get_object(Bucket=bucket, Key=key)
        document = json.loads(read["Body"].read())
        marks = [*document.get("marks", []), editor]
        content = render_document({**document, "version": document["version"] + 1, "marks": marks})
        client.put_object(Bucket=bucket, Key=key, Body=content, IfMatch=read["ETag"])
    except ClientError as error:
        if code_of(error) not in LOST_RACE:
            raise
        return code_of(error) != "NoSuchKey"
    others.taken[request_id][document["version"] + 1] = content  # which one writer alone can have written
    return len(marks) < MOST_EDITS


def write_blindly(others: Others, request_id: str, editor: int) -> bool:
    """As a script does that knows no conditions: whatever is there, and where nothing is."""
    content = others.dev.put_request(request_id, version=2, marks=["blind"])
    others.taken[request_id][2] = content
    return False


def reset_while_others_work(portal: Portal, others: Others) -> Receipt:
    """They begin when everything was compared, so that nothing but their edits keeps the reset from archiving."""
    plan = portal.plan()
    with ThreadPoolExecutor(EDITORS) as pool:
        working: list[Future[None]] = []

        def begin(group: Sequence[ResetStep], _results: Sequence[StepResult]) -> None:
            if group[0].phase is Phase.COMPARE:
                working.extend(pool.submit(others.work, number) for number in range(EDITORS))

        try:
            receipt = portal.apply(plan, on_group=begin).receipt
        finally:
            others.over.set()
        for each in working:
            each.result()
    assert receipt.stage is Stage.FINISHED
    return receipt


def content_of(dev: RealDev, key: str) -> bytes | None:
    read = dev.bulk.find(key, limit_bytes=1_000_000)
    return None if read is None else read.content


def test_no_edit_that_the_store_took_is_lost_whenever_it_comes(dev: RealDev, open_portal: OpenPortal) -> None:
    dev.put_bystanders(4)
    portal, before = open_portal(dev), dev.contents()
    archived, stayed = 0, 0
    for round_number in range(ROUNDS):
        first = {request_id: dev.put_request(request_id, version=1) for request_id in REQUESTS}
        others = Others(dev, edit_on_condition)
        kept = {each.subject for each in reset_while_others_work(portal, others).kept}
        for request_id in REQUESTS:
            told = f"{request_id} in round {round_number}"
            taken = {1: first[request_id], **others.taken[request_id]}
            last = taken[max(taken)]
            if request_id in kept:
                assert content_of(dev, active_key(request_id)) == last, told
                stayed += 1
            else:
                assert content_of(dev, active_key(request_id)) is None, told
                assert content_of(dev, archived_key(request_id)) == last, told
                archived += 1
        dev.put_back(before)
    assert archived > 0
    assert stayed > 0


def test_what_a_blind_writer_stored_during_the_archive_is_still_there(dev: RealDev, open_portal: OpenPortal) -> None:
    dev.put_bystanders(4)
    portal, before = open_portal(dev), dev.contents()
    for round_number in range(ROUNDS):
        for request_id in REQUESTS:
            dev.put_request(request_id, version=1)
        others = Others(dev, write_blindly)
        reset_while_others_work(portal, others)
        for request_id in REQUESTS:
            written = others.taken[request_id][2]
            assert content_of(dev, active_key(request_id)) == written, f"{request_id} in round {round_number}"
        dev.put_back(before)


def test_copies_in_history_that_are_newer_stay_and_older_ones_come_back_on_undo(
    dev: RealDev, open_portal: OpenPortal
) -> None:
    dev.put_bystanders(4)
    same = dev.put_request("req_dev_s3_same", version=3)
    dev.put(archived_key("req_dev_s3_same"), same)
    ours = dev.put_request("req_dev_s3_older", version=3)
    older = dev.put_archived("req_dev_s3_older", version=2)
    mine = dev.put_request("req_dev_s3_newer", version=3)
    newer = dev.put_archived("req_dev_s3_newer", version=9, updatedAt="2026-03-02T13:00:00.000Z")
    before = dev.contents()
    portal = open_portal(dev)
    ended = portal.apply(portal.plan())
    reset_id = ended.receipt.record.reset_id
    kept = f"ops/resets/{reset_id}"
    assert content_of(dev, archived_key("req_dev_s3_same")) == same
    assert content_of(dev, archived_key("req_dev_s3_older")) == ours
    assert content_of(dev, f"{kept}/replaced/req_dev_s3_older.json") == older
    assert content_of(dev, archived_key("req_dev_s3_newer")) == newer
    assert content_of(dev, f"{kept}/history/req_dev_s3_newer.json") == mine
    assert dev.keys("requests/req_dev_s3_") == []
    assert portal.undo(reset_id).receipt.stage is Stage.UNDONE
    assert dev.contents() == before


def test_a_copy_that_somebody_puts_into_history_during_the_archive_stays(dev: RealDev, open_portal: OpenPortal) -> None:
    dev.put_bystanders(4)
    dev.put_request("req_dev_s3_new", version=3)
    dev.put_request("req_dev_s3_older", version=3)
    dev.put_archived("req_dev_s3_older", version=2)
    portal = open_portal(dev)
    theirs: dict[str, bytes] = {}

    def archive_first(group: Sequence[ResetStep], _results: Sequence[StepResult]) -> None:
        if group[0].phase is Phase.BACKUP:
            for request_id in ("req_dev_s3_new", "req_dev_s3_older"):
                theirs[request_id] = dev.put_archived(request_id, version=4, by="the web app")

    ended = portal.apply(portal.plan(), on_group=archive_first)
    assert {each.subject for each in ended.receipt.kept} == set(theirs) == {"req_dev_s3_new", "req_dev_s3_older"}
    for request_id, content in theirs.items():
        assert content_of(dev, archived_key(request_id)) == content
        assert content_of(dev, active_key(request_id)) is not None
    after = dev.contents()
    assert portal.undo(ended.receipt.record.reset_id).receipt.stage is Stage.UNDONE
    assert dev.contents() == after


def test_of_two_who_reset_one_target_at_once_one_is_refused(dev: RealDev, open_portal: OpenPortal) -> None:
    dev.put_bystanders(4)
    for request_id in REQUESTS[:6]:
        dev.put_request(request_id)
    portals = [open_portal(dev), open_portal(dev)]
    plans = [portal.plan() for portal in portals]
    outcomes = at_once(
        [lambda each=each, plan=plan: each.apply(plan) for each, plan in zip(portals, plans, strict=True)]
    )
    refused = [each for each in outcomes if isinstance(each, TfPilotError)]
    [ended] = [each for each in outcomes if not isinstance(each, TfPilotError)]
    assert len(refused) == 1
    assert isinstance(refused[0], (ConflictError, RefusedError))
    assert ended.receipt.stage is Stage.FINISHED
    assert len(list_resets(portals[0].edges)) == 1
    assert dev.keys("requests/req_dev_race") == []
    assert dev.keys("history/") == [archived_key(request_id) for request_id in REQUESTS[:6]]


def test_of_two_who_resume_one_reset_at_once_one_goes_on(dev: RealDev, open_portal: OpenPortal) -> None:
    dev.put_bystanders(4)
    for request_id in REQUESTS[:6]:
        dev.put_request(request_id)
    before = dev.contents()
    portals = [open_portal(dev), open_portal(dev)]

    def die(group: Sequence[ResetStep], _results: Sequence[StepResult]) -> None:
        if group[0].phase is Phase.COMPARE:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        portals[0].apply(portals[0].plan(), on_group=die)
    [record] = list_resets(portals[0].edges)
    outcomes = at_once([partial(resume_reset, each.edges, record.reset_id, operator=ADMIN) for each in portals])
    [ended] = [each for each in outcomes if not isinstance(each, TfPilotError)]
    [refused] = [each for each in outcomes if isinstance(each, TfPilotError)]
    assert isinstance(refused, (ConflictError, RefusedError))
    assert ended.receipt.stage is Stage.FINISHED
    assert dev.keys("requests/req_dev_race") == []
    assert portals[1].undo(record.reset_id).receipt.stage is Stage.UNDONE
    assert dev.contents() == before


def at_once(acts: list[Callable[[], object]]) -> list[object]:
    """What each came to, its failure where it failed; all of them begin at the same moment."""
    barrier = threading.Barrier(len(acts))

    def run(act: Callable[[], object]) -> object:
        barrier.wait(30)
        try:
            return act()
        except TfPilotError as error:
            return error

    with ThreadPoolExecutor(len(acts)) as pool:
        return list(pool.map(run, acts))
