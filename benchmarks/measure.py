"""What every benchmark needs: time and CPU of a piece of work, request documents, and a printed table."""

from __future__ import annotations

import json
import os
import resource
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import obstore

from tfpilot.adapters.bulk import connect
from tfpilot.adapters.keys import active_key
from tfpilot.adapters.s3 import Bucket
from tfpilot.core.document import format_time

NOW: Final = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)

_ENVIRONMENTS: Final = ("dev", "stage", "prod")
_MODULES: Final = ("s3-bucket", "ec2-instance", "rds-postgres", "sqs-queue")
_CONCLUSIONS: Final = ("success", "success", "success", "failure", None)


@dataclass(slots=True)
class Cost:
    """What a piece of work took. `cpu_seconds` counts this process and the children that ended meanwhile."""

    wall_seconds: float = 0.0
    cpu_seconds: float = 0.0


@contextmanager
def measured() -> Iterator[Cost]:
    """The cost of the block, complete when it ends."""
    cost, wall, cpu = Cost(), time.perf_counter(), _cpu_seconds()
    yield cost
    cost.wall_seconds, cost.cpu_seconds = time.perf_counter() - wall, _cpu_seconds() - cpu


def cpu_seconds_of(pid: int) -> float:
    """The CPU time that a running process has used, all its threads together, ended ones included. Linux only."""
    return time.clock_gettime((~pid << 3) | 2)  # as clock_getcpuclockid(3) makes it


def request_document(number: int, *, version: int = 1) -> Mapping[str, Any]:
    """One of a varied lot of requests, about 3 kB, the same for the same number and version."""
    request_id = f"req_{_ENVIRONMENTS[number % 3]}_s3_{number:06d}"
    at = format_time(NOW - timedelta(minutes=number))
    conclusion = _CONCLUSIONS[number % 5]
    run = {
        "runId": 10_000 + number,
        "attempt": 1,
        "status": "completed" if conclusion else "in_progress",
        "conclusion": conclusion,
        "headSha": f"{number:040x}",
        "createdAt": at,
        "updatedAt": at,
        "url": f"https://github.com/acme/infra/actions/runs/{10_000 + number}",
    }
    pull = {"number": number + 1, "url": f"https://github.com/acme/infra/pull/{number + 1}", "merged": number % 7 == 0}
    return {
        "id": request_id,
        "version": version,
        "project": f"project-{number % 40}",
        "environment": _ENVIRONMENTS[number % 3],
        "module": _MODULES[number % 4],
        "config": {f"setting_{index}": f"value {number} {index} {'x' * 40}" for index in range(24)},
        "receivedAt": at,
        "updatedAt": at,
        "status": "created",
        "targetOwner": "acme",
        "targetRepo": f"infra-{number % 6}",
        "branchName": f"request/{request_id}",
        "prNumber": number + 1,
        "github": {"pr": {**pull, "open": number % 7 != 0}, "planTriggeredAt": at, "workflows": {"plan": run}},
        "planRun": run,
    }


def store_requests(bucket: Bucket, numbers: Sequence[int], *, version: int = 1) -> None:
    """Writes those requests in that version."""
    store = connect(bucket)

    def put(number: int) -> None:
        document = request_document(number, version=version)
        obstore.put(store, active_key(document["id"]), json.dumps(document, indent=2).encode())

    with ThreadPoolExecutor(32) as pool:
        list(pool.map(put, numbers))


def show_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Prints the rows as a Markdown table with the machine they were measured on."""
    texts = [[_text(cell) for cell in row] for row in rows]
    widths = [max(len(line[index]) for line in [list(columns), *texts]) for index in range(len(columns))]
    load = os.getloadavg()[0]
    print(f"\n{title}\n({os.cpu_count()} cores, load {load:.1f} at the end)\n")
    for line in [list(columns), ["-" * width for width in widths], *texts]:
        print("| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |")


def _text(cell: object) -> str:
    return f"{cell:,.2f}" if isinstance(cell, float) else f"{cell:,}" if isinstance(cell, int) else str(cell)


def _cpu_seconds() -> float:
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)
