"""Moving the requests of a reset to history/, with everything a reset does about it, beside `aws s3 mv --recursive`."""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import obstore

from benchmarks.measure import Cost, measured, request_document, show_table
from tfpilot import wiring
from tfpilot.adapters.bulk import connect
from tfpilot.adapters.keys import active_key
from tfpilot.adapters.s3 import Bucket, BucketSettings
from tfpilot.config import load_settings
from tfpilot.core.model import Operator, Role
from tfpilot.core.reset_confirm import Acknowledgement, phrase_of
from tfpilot.core.reset_guards import PLACE_TAG
from tfpilot.core.reset_journal import Stage, StepResult
from tfpilot.core.reset_plan import ResetPlan
from tfpilot.core.reset_plan_document import digest_of
from tfpilot.core.reset_steps import Phase, ResetStep
from tfpilot.edges import Edges
from tfpilot.operations.reset import Confirmation, apply_reset, plan_reset
from tfpilot.operations.reset_views import Choices
from tfpilot.sandbox.github import World, serve
from tfpilot.sandbox.storage import LocalS3

REQUESTS: Final = int(sys.argv[1]) if len(sys.argv) > 1 else 2_000
ROUNDS: Final = 3
STATES: Final = "tfstate-bench"
ADMIN: Final = Operator("ops-lead", Role.ADMIN)
TARGETS: Final = f"""
[[targets]]
name = "bench"
environment = "dev"
repo = "acme/infra"
state_bucket = "{STATES}"
lock_mode = "lockfile"

[[targets.states]]
key = "dev/terraform.tfstate"
target_env_path = "envs/dev"
"""


@dataclass(frozen=True, slots=True)
class Archived:
    """What a reset cost: the phase that moves the requests, all of the apply, and the plan before it."""

    phase_seconds: float
    apply: Cost
    plan: Cost


def dev_request(number: int) -> dict[str, Any]:
    """A request of the target on which nothing is under way, about 4 kB."""
    document = request_document(number)
    more = {f"note_{index}": "x" * 100 for index in range(16)}
    return {
        **document,
        "environment": "dev",
        "targetOwner": "acme",
        "targetRepo": "infra",
        "targetEnvPath": "envs/dev",
        "config": {**document["config"], **more},
        "github": {},
        "planRun": None,
    }


def store_dev_requests(bucket: Bucket) -> None:
    """The same requests in every bucket."""
    store = connect(bucket)

    def put(number: int) -> None:
        document = dev_request(number)
        obstore.put(store, active_key(document["id"]), json.dumps(document, indent=2).encode())

    with ThreadPoolExecutor(32) as pool:
        list(pool.map(put, range(REQUESTS)))


@contextmanager
def portal_on(settings: BucketSettings) -> Iterator[Edges]:
    """The portal as the environment configures it for that bucket, and GitHub's stand-in, where nothing runs."""
    world = World()
    world.add_user(ADMIN.login, token="ghp_benchmark")
    world.add_repo("acme/infra", workflows={"plan.yml": "Plan", "apply.yml": "Apply"})
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tfpilot-bench-")))
        (folder / "targets.toml").write_text(TARGETS)
        os.environ.update({
            "TFPILOT_REQUESTS_BUCKET": settings.name,
            "TFPILOT_DEFAULT_REGION": settings.region or "",
            "TFPILOT_SSE": "none",
            "TFPILOT_ADMINS": ADMIN.login,
            "TFPILOT_CACHE_DIR": str(folder / "cache"),
            "TFPILOT_RESET_TARGETS": str(folder / "targets.toml"),
            "AWS_ENDPOINT_URL_S3": settings.endpoint_url or "",
            "AWS_ACCESS_KEY_ID": settings.access_key or "",
            "AWS_SECRET_ACCESS_KEY": settings.secret_key or "",
            "GITHUB_API_URL": stack.enter_context(serve(world)).url,
            "GITHUB_TOKEN": "ghp_benchmark",
        })  # fmt: skip
        yield wiring.build(stack, load_settings()).edges


def archive_with_tfpilot(edges: Edges) -> Archived:
    """A whole reset, as the page or the command makes it."""
    choices = Choices(accepts_most_requests=True)
    with measured() as planning:
        plan = plan_reset(edges, "bench", choices, operator=ADMIN)
    phases: dict[Phase, float] = {}
    last = time.perf_counter()

    def note(group: Sequence[ResetStep], _results: Sequence[StepResult]) -> None:
        nonlocal last
        now = time.perf_counter()
        phases[group[0].phase] = phases.get(group[0].phase, 0.0) + now - last
        last = now

    with measured() as applying:
        last = time.perf_counter()
        ended = apply_reset(edges, plan, choices, confirmed(plan), operator=ADMIN, on_group=note)
    if ended.receipt.stage is not Stage.FINISHED or ended.receipt.kept or len(plan.requests) != REQUESTS:
        raise RuntimeError(f"The reset ended {ended.receipt.stage}, {len(ended.receipt.kept)} places were left")
    return Archived(phases[Phase.REQUESTS], applying, planning)


def confirmed(plan: ResetPlan) -> Confirmation:
    """What an operator does to confirm."""
    return Confirmation(digest_of(plan), phrase_of(plan), frozenset(Acknowledgement), "benchmark")


def move_with_aws(settings: BucketSettings) -> Cost | None:
    """The peer, which verifies nothing and moves whatever is there; None where it is not installed."""
    program = shutil.which("aws")
    if program is None:
        return None
    environment = os.environ | {
        "AWS_ACCESS_KEY_ID": settings.access_key or "",
        "AWS_SECRET_ACCESS_KEY": settings.secret_key or "",
        "AWS_DEFAULT_REGION": settings.region or "",
    }
    bucket = f"s3://{settings.name}"
    command = [program, "s3", "mv", "--recursive", "--only-show-errors", f"{bucket}/requests/", f"{bucket}/history/"]
    with measured() as cost:
        subprocess.run([*command, "--endpoint-url", settings.endpoint_url or ""], check=True, env=environment)
    if len(Bucket(settings).list_all("history/")) != REQUESTS:
        raise RuntimeError("aws s3 mv did not move all requests")
    return cost


def prepare_states(server: LocalS3) -> None:
    """A state bucket that says what it is for and keeps versions; there is no state in it."""
    client = Bucket(server.create_bucket(STATES)).client
    client.put_bucket_tagging(Bucket=STATES, Tagging={"TagSet": [{"Key": PLACE_TAG, "Value": "dev"}]})
    client.put_bucket_versioning(Bucket=STATES, VersioningConfiguration={"Status": "Enabled"})


def run_round(server: LocalS3, number: int) -> tuple[Archived, Cost | None]:
    """The same requests moved by both, one after the other."""
    ours, theirs = (server.create_bucket(f"bench-{who}-{number}") for who in ("ours", "peer"))
    store_dev_requests(Bucket(ours))
    store_dev_requests(Bucket(theirs))
    with portal_on(ours) as edges:
        archived = archive_with_tfpilot(edges)
    return archived, move_with_aws(replace(theirs))


def main() -> None:
    with LocalS3() as server:
        prepare_states(server)
        rounds = [run_round(server, number) for number in range(ROUNDS)]
    archived = [ours for ours, _ in rounds]
    moved = [cost for _, cost in rounds if cost is not None]
    rows: list[Sequence[object]] = [
        ("tfpilot: requests to history", *spread([each.phase_seconds for each in archived]), "", "yes"),
        ("tfpilot: the whole reset", *spread([each.apply.wall_seconds for each in archived]),
         statistics.median(each.apply.cpu_seconds for each in archived), "yes"),
        ("tfpilot: its plan before", *spread([each.plan.wall_seconds for each in archived]),
         statistics.median(each.plan.cpu_seconds for each in archived), ""),
    ]  # fmt: skip
    if moved:
        cpu = statistics.median(cost.cpu_seconds for cost in moved)
        rows.append(("aws s3 mv --recursive", *spread([cost.wall_seconds for cost in moved]), cpu, "no"))
    else:
        rows.append(("aws s3 mv --recursive", "not installed", "", "", ""))
    show_table(
        f"{REQUESTS:,} requests of {len(json.dumps(dev_request(0), indent=2)):,} bytes moved, {ROUNDS} rounds each",
        ("what", "median s", "best to worst s", "CPU s", "verified, journalled, undoable"),
        rows,
    )


def spread(seconds: Sequence[float]) -> tuple[float, str]:
    """The median, and from which to which."""
    return statistics.median(seconds), f"{min(seconds):.1f} to {max(seconds):.1f}"


if __name__ == "__main__":
    main()
