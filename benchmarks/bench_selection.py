"""Filtering, counting and paging of requests that are in memory: the portal beside pandas and sqlite."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict
from statistics import median
from typing import Any, Final

import pandas as pd

from benchmarks.measure import NOW, request_document, show_table
from tfpilot.core.listing import summarise
from tfpilot.core.model import LifecycleStatus, RequestRow, Thresholds
from tfpilot.core.request import parse_request
from tfpilot.core.selection import RequestFilter, page_of, select

SIZES: Final = (10_000, 100_000, 500_000)
PAGE: Final = 25
REPETITIONS: Final = 5
DISTINCT: Final = 10_000

QUESTIONS: Final[Mapping[str, RequestFilter]] = {
    "no filter": RequestFilter(),
    "one status, one environment": RequestFilter(
        statuses=frozenset({LifecycleStatus.PLAN_READY}), environments=frozenset({"prod"})
    ),
    "text": RequestFilter(text="req_dev_s3_0099"),
    "stuck": RequestFilter(stuck=True),
}

Columns = dict[str, Any]
Ask = Callable[[RequestFilter], int]
"""Counts the matching requests by status, takes the first page, and answers how many match."""


def tfpilot_on(rows: Sequence[RequestRow]) -> Ask:
    """The portal: plain values, all counts beside the filters."""

    def ask(wanted: RequestFilter) -> int:
        selection = select(rows, wanted, NOW)
        page_of(selection.rows, number=1, size=PAGE)
        return len(selection.rows)

    return ask


def pandas_on(rows: Sequence[Columns]) -> Ask:
    """Boolean masks on a frame; of the counts only those by status."""
    frame = pd.DataFrame(rows)

    def ask(wanted: RequestFilter) -> int:
        mask = pd.Series(data=True, index=frame.index)
        if wanted.environments:
            mask &= frame["environment"].isin(list(wanted.environments))
        if wanted.text:
            mask &= frame["search"].str.contains(wanted.text, regex=False)
        if wanted.stuck:
            mask &= frame["stuck_at"] < NOW.timestamp()
        frame[mask]["status"].value_counts()
        if wanted.statuses:
            mask &= frame["status"].isin(list(wanted.statuses))
        found = frame[mask]
        found.iloc[:PAGE]
        return len(found)

    return ask


def sqlite_on(db: sqlite3.Connection, rows: Sequence[Columns]) -> Ask:
    """A table in memory with indexes on status and environment; of the counts only those by status."""
    db.execute("CREATE TABLE request (id, status, environment, stuck_at, search)")
    db.executemany("INSERT INTO request VALUES (:id, :status, :environment, :stuck_at, :search)", rows)
    db.execute("CREATE INDEX by_filter ON request (status, environment)")

    def ask(wanted: RequestFilter) -> int:
        clauses, values = ["1"], list[object]()
        if wanted.environments:
            clauses.append(f"environment IN ({', '.join('?' * len(wanted.environments))})")
            values += wanted.environments
        if wanted.text:
            clauses.append("instr(search, ?)")
            values.append(wanted.text)
        if wanted.stuck:
            clauses.append("stuck_at < ?")
            values.append(NOW.timestamp())
        where = " AND ".join(clauses)
        counted = dict(db.execute(f"SELECT status, count(*) FROM request WHERE {where} GROUP BY status", values))
        statuses = [str(status) for status in wanted.statuses or counted]
        marks = ", ".join("?" * len(statuses))
        db.execute(
            f"SELECT * FROM request WHERE {where} AND status IN ({marks}) LIMIT {PAGE}", [*values, *statuses]
        ).fetchall()
        return sum(counted.get(status, 0) for status in statuses)

    return ask


def columns_of(row: RequestRow) -> Columns:
    stuck_at = row.stuck_at.timestamp() if row.stuck_at else None
    return {**asdict(row), "status": row.status.value if row.status else None, "stuck_at": stuck_at}


def median_ms(ask: Ask, wanted: RequestFilter) -> tuple[float, int]:
    """The median CPU time of some tries in milliseconds, and what was answered."""
    times, found = [], 0
    for _ in range(REPETITIONS):
        began = time.thread_time()
        found = ask(wanted)
        times.append((time.thread_time() - began) * 1000)
    return median(times), found


def measure(rows: Sequence[RequestRow], columns: Sequence[Columns]) -> list[Sequence[object]]:
    """One line per question."""
    lines: list[Sequence[object]] = []
    with closing(sqlite3.connect(":memory:")) as db:
        asks = (tfpilot_on(rows), pandas_on(columns), sqlite_on(db, columns))
        for question, wanted in QUESTIONS.items():
            answers = [median_ms(ask, wanted) for ask in asks]
            if len({found for _, found in answers}) > 1:
                raise RuntimeError(f"{question}: the three disagree: {[found for _, found in answers]}")
            lines.append((len(rows), question, answers[0][1], *(milliseconds for milliseconds, _ in answers)))
    return lines


def main() -> None:
    thresholds = Thresholds()
    distinct = [
        summarise(parse_request(request_document(number)), thresholds=thresholds, archived=False)
        for number in range(DISTINCT)
    ]
    columns = [columns_of(row) for row in distinct]
    repeats = [size // DISTINCT for size in SIZES]
    lines = [line for repeat in repeats for line in measure(distinct * repeat, columns * repeat)]
    show_table(
        f"Selecting and paging requests in memory, median CPU of {REPETITIONS} in ms",
        ("requests", "question", "matches", "tfpilot", "pandas", "sqlite"),
        lines,
    )


if __name__ == "__main__":
    main()
