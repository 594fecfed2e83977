"""The list of requests as CSV."""

from __future__ import annotations

import csv
import io

import pytest

from tests.builders import NOW, request, stuck_planning
from tfpilot.core.listing import summarise, unreadable_row
from tfpilot.core.model import Thresholds
from tfpilot.core.request import parse_request
from tfpilot.ui.request_table import to_csv


def rows_of(*documents):
    rows = [summarise(parse_request(document), thresholds=Thresholds()) for document in documents]
    return list(csv.DictReader(io.StringIO(to_csv(rows, NOW))))


def test_a_row_holds_plain_values():
    (row,) = rows_of(stuck_planning())
    assert row["request"] == "req_dev_s3_abc123"
    assert row["status"] == "planning"
    assert row["stuck"] == "True"
    assert row["updated_at"] == "2026-03-02T11:00:00.000Z"
    assert row["pr_url"] == "https://github.com/acme/infra/pull/7"


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", " =", "\n=", "\u00a0+", "\uff1d", "\uff20"])
def test_a_spreadsheet_takes_no_cell_for_a_formula(start):
    (row,) = rows_of(request(project=f"{start}cmd()"))
    assert row["project"] == f"'{start}cmd()"


def test_an_unreadable_object_is_a_row_with_its_error():
    row = unreadable_row("req_dev_s3_broken", "not JSON: line 1", updated_at=None)
    (written,) = csv.DictReader(io.StringIO(to_csv([row], NOW)))
    assert (written["status"], written["error"]) == ("unreadable", "not JSON: line 1")
