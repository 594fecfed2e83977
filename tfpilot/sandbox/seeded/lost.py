"""Requests of which GitHub knows more than the bucket: webhooks were lost on the way, and a repair brings them back."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from tfpilot.sandbox.seeded.chapters import (
    APPLY,
    APPROVED,
    CHANGES_REQUESTED,
    CLEANUP,
    COMMENTED,
    DESTROY,
    DRIFT_PLAN,
    PLAN,
    applied,
    approved,
    cleaned,
    destroyed,
    merged,
    opened,
    planned,
)
from tfpilot.sandbox.seeded.stage import CORE, DATA, PAYMENTS, PLATFORM
from tfpilot.sandbox.seeded.tale import Plot, Tale

HERO: Final = "req_dev_ec2_c5vy9j"
HERO_PULL: Final = 412
HERO_RUN: Final = 7_310_000_101
REVIEWS_ON_ONE_PULL: Final = 130


def _hero(tale: Tale) -> None:
    """The story of the guided tour: the plan ended and was approved, and nobody here heard of either."""
    tale.after(minutes=2).open_pull(number=HERO_PULL)
    tale.after(minutes=2).start(PLAN, run_id=HERO_RUN)
    tale.document["approval"] = {"approved": False, "approvers": []}
    tale.document["status"] = "planning"
    canonical = tale.document["github"]["workflows"]["plan"]
    canonical["status"] = "queued"
    del canonical["updatedAt"]
    tale.forget_index(PLAN)
    tale.lose_webhooks()
    tale.after(minutes=3).finish(PLAN)
    tale.after(minutes=9).review("ines-r", APPROVED)


def _plan_failed_unheard(tale: Tale) -> None:
    opened(tale).after(seconds=40).start(PLAN).lose_webhooks().after(minutes=2).finish(PLAN, "failure")


def _plan_with_legacy_behind(tale: Tale) -> None:
    """The older of the two places never heard more than that the run was queued."""
    opened(tale).after(seconds=40).start(PLAN, status="queued")
    behind = dict(tale.document["planRun"])
    tale.stage.world.update_run(tale.run(PLAN).id, status="in_progress", at=tale.after(seconds=20).at)
    tale.take_over_run(PLAN, of=tale.request_id)
    tale.document["planRun"] = behind
    tale.lose_webhooks().after(minutes=2).finish(PLAN)


def _planned_with_split_facts(tale: Tale) -> None:
    """Only the canonical place heard of the end."""
    opened(tale).after(seconds=40).start(PLAN)
    behind = dict(tale.document["planRun"])
    tale.after(minutes=3).finish(PLAN).document["planRun"] = behind


def _plan_never_heard_of(tale: Tale) -> None:
    opened(tale).lose_webhooks().after(seconds=40).start(PLAN).after(minutes=2).finish(PLAN)


def _pull_never_heard_of(tale: Tale) -> None:
    """The branch is stored; the pull request's number came back from GitHub and went nowhere."""
    tale.after(minutes=2).lose_webhooks().open_pull()
    tale.after(seconds=40).start(PLAN).after(minutes=2).finish(PLAN)


def _apply_end_unheard(tale: Tale) -> None:
    """Nor was the drift plan of the hour after it."""
    merged(tale).after(seconds=30).start(APPLY).leave_lock("apply").lose_webhooks().after(minutes=5).finish(APPLY)
    tale.after(hours=1).start(DRIFT_PLAN).after(minutes=2).finish(DRIFT_PLAN)


def _apply_run_unknown(tale: Tale) -> None:
    merged(tale).after(seconds=30).start_unseen(APPLY).after(minutes=3).finish(APPLY)


def _apply_intent_only(tale: Tale) -> None:
    """The intent is stored in both places; which run it became is not."""
    merged(tale).after(seconds=30).start_unseen(APPLY).after(minutes=3).finish(APPLY)
    tale.document["github"]["workflows"]["apply"] = {"status": "requested"}
    tale.document["applyRun"] = {"status": "requested"}


def _destroy_end_unheard(tale: Tale) -> None:
    """Somebody cleaned up by hand on GitHub, which was not heard of either."""
    applied(tale).after(days=3).start(DESTROY).lose_webhooks().after(minutes=8).finish(DESTROY)
    tale.after(minutes=30).start(CLEANUP).after(minutes=1).open_cleanup_pull().finish(CLEANUP)


def _destroy_run_unknown(tale: Tale) -> None:
    applied(tale).after(days=2).start_unseen(DESTROY).after(minutes=5).finish(DESTROY)
    tale.document["destroyRun"] = {}


def _merge_unheard(tale: Tale) -> None:
    approved(tale).lose_webhooks().after(minutes=30).merge("lia-r")


def _review_unheard(tale: Tale) -> None:
    planned(tale).lose_webhooks().after(minutes=12).review("appr-ines", APPROVED)


def _objection_unheard(tale: Tale) -> None:
    approved(tale).lose_webhooks().after(hours=1).review("ines-r", CHANGES_REQUESTED, body="Not with this role.")


def _dismissal_unheard(tale: Tale) -> None:
    approved(tale).lose_webhooks().after(hours=1).dismiss("sven-o")


def _long_discussion(tale: Tale) -> None:
    """The approval is the last of more reviews than GitHub shows on one page."""
    planned(tale).lose_webhooks()
    for number in range(REVIEWS_ON_ONE_PULL - 1):
        author = ("lia-r", "sven-o", "jon-a")[number % 3]
        tale.after(seconds=50).review(author, COMMENTED, body=f"Remark {number + 1}")
    tale.after(minutes=5).review("lia-r", APPROVED)


def _apply_run_again(tale: Tale) -> None:
    merged(tale).after(seconds=30).start(APPLY).after(minutes=2).finish(APPLY, "failure")
    tale.lose_webhooks().after(minutes=40).rerun(APPLY, by="ops-lead").after(minutes=4).finish(APPLY)


def _cleanup_merge_unheard(tale: Tale) -> None:
    cleaned(tale).archive().lose_webhooks().after(hours=4).merge_cleanup_pull("sven-o")


def _close_unheard(tale: Tale) -> None:
    planned(tale).lose_webhooks().after(hours=5).close("elif-d")


def _cleanup_failed_unheard(tale: Tale) -> None:
    destroyed(tale).after(seconds=20).dispatch_cleanup().lose_webhooks().after(minutes=1).finish(CLEANUP, "failure")


PLOTS: Final = (
    Plot("req_dev_rds_t6cw3n", DATA, "elif-d", timedelta(days=23), _cleanup_merge_unheard),
    Plot("req_dev_sqs_e4ky8b", PAYMENTS, "tomas-w", timedelta(days=14), _cleanup_failed_unheard),
    Plot("req_staging_ec2_m9zr6w", DATA, "dev-dana", timedelta(days=6.5), _close_unheard),
    Plot("req_staging_iam_x7ud5f", PLATFORM, "jon-a", timedelta(days=5.2), applied),
    Plot("req_dev_ecr_n9cm2p", CORE, "priya-s", timedelta(days=3.4), _destroy_end_unheard),
    Plot("req_dev_ecr_p2jq5m", PLATFORM, "tomas-w", timedelta(days=2.2), _plan_failed_unheard),
    Plot("req_dev_iam_d8sv4q", DATA, "jon-a", timedelta(days=2.1), _destroy_run_unknown),
    Plot("req_prod_s3_c2hy7g", PAYMENTS, "priya-s", timedelta(days=1.8), _long_discussion),
    Plot("req_staging_sqs_f5pm9x", CORE, "elif-d", timedelta(hours=30), _merge_unheard),
    Plot("req_prod_iam_j6wt2k", DATA, "maya-k", timedelta(hours=27), _objection_unheard),
    Plot("req_staging_ecr_v4nb8r", PAYMENTS, "jon-a", timedelta(hours=25), _dismissal_unheard),
    Plot("req_prod_ec2_m8cx2r", CORE, "tomas-w", timedelta(hours=20), _apply_run_again),
    Plot("req_dev_ec2_u3gk7z", DATA, "dev-dana", timedelta(hours=9), _review_unheard),
    Plot("req_staging_s3_w5rd9c", PAYMENTS, "elif-d", timedelta(hours=8), _planned_with_split_facts),
    Plot("req_prod_rds_k8vq3h", DATA, "priya-s", timedelta(hours=4.5), _apply_intent_only),
    Plot("req_prod_ecr_y2fx6t", PAYMENTS, "tomas-w", timedelta(hours=3.3), _apply_end_unheard),
    Plot(HERO, CORE, "maya-k", timedelta(hours=2, minutes=56), _hero),
    Plot("req_staging_sqs_b7nt3e", DATA, "elif-d", timedelta(hours=1.7), _plan_with_legacy_behind),
    Plot("req_dev_s3_h4kz8w", CORE, "jon-a", timedelta(minutes=44), _plan_failed_unheard),
    Plot("req_dev_ecr_y6cs4u", PAYMENTS, "dev-dana", timedelta(minutes=38), _plan_never_heard_of),
    Plot("req_dev_sqs_q9wm5a", CORE, "maya-k", timedelta(minutes=33), _pull_never_heard_of),
    Plot("req_staging_iam_r3vd9k", DATA, "tomas-w", timedelta(minutes=20), _apply_run_unknown),
)
