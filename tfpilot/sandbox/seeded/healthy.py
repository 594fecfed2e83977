"""Requests with which nothing is wrong, or only something that both sides know: a repair changes none of them."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from tfpilot.sandbox.seeded.chapters import (
    APPLY,
    APPROVED,
    CHANGES_REQUESTED,
    DESTROY,
    DRIFT_PLAN,
    PLAN,
    applied,
    approved,
    cleaned,
    gone,
    merged,
    opened,
    planned,
)
from tfpilot.sandbox.seeded.stage import CORE, DATA, PAYMENTS
from tfpilot.sandbox.seeded.tale import Plot, Tale


def _just_made(_tale: Tale) -> None:
    """Nothing has happened yet."""


def _planning(tale: Tale) -> None:
    opened(tale).after(seconds=40).start(PLAN)


def _plan_queued(tale: Tale) -> None:
    opened(tale).after(seconds=40).start(PLAN, status="queued")


def _approved_in_the_web_app(tale: Tale) -> None:
    planned(tale).after(minutes=9).approve("lia-r")


def _objected_to(tale: Tale) -> None:
    planned(tale).after(minutes=20).review("ines-r", CHANGES_REQUESTED, body="Why is this one public?")


def _approved_by_two(tale: Tale) -> None:
    approved(tale).after(minutes=3).review("Lia-R", APPROVED).document["status"] = "approved"


def _applying(tale: Tale) -> None:
    merged(tale).after(seconds=30).start(APPLY)


def _applying_slowly(tale: Tale) -> None:
    """A database that really takes its time: GitHub says so too."""
    _applying(tale)


def _destroying(tale: Tale) -> None:
    applied(tale).after(hours=26).start(DESTROY)


def _destroy_queued(tale: Tale) -> None:
    applied(tale).after(hours=3).start(DESTROY, status="queued")


def _queued_behind_another(tale: Tale) -> None:
    """GitHub runs one apply of an environment at a time, and another request's is still running."""
    merged(tale).after(seconds=30).start(APPLY, status="pending")


def _waiting_to_be_applied(tale: Tale) -> None:
    merged(tale).after(seconds=30).start(APPLY, status="waiting")


def _plan_needs_permission(tale: Tale) -> None:
    """GitHub lets nobody run this plan before a person allowed it."""
    opened(tale).after(seconds=40).start(PLAN, status="queued").after(seconds=3).finish(
        PLAN, "action_required", had_job=False
    )


def _matching_word(tale: Tale) -> None:
    applied(tale).document["status"] = "applied"


def _drifting_word(tale: Tale) -> None:
    """The web app wrote what it saw once, and never again."""
    applied(tale).document["status"] = "planning"


def _merged_but_says_approved(tale: Tale) -> None:
    merged(tale).document["status"] = "approved"


def _drifted(tale: Tale) -> None:
    """Somebody changed the resources by hand: the drift plan found it."""
    applied(tale).after(hours=16).start(DRIFT_PLAN).after(minutes=2).finish(DRIFT_PLAN)
    run = tale.document["github"]["workflows"]["drift_plan"]
    tale.document["drift"] = {
        "status": "detected",
        "lastCheckedAt": run["updatedAt"],
        "runId": run["runId"],
        "runUrl": run["htmlUrl"],
        "summary": "1 to change",
    }


def _applied_but_locked(tale: Tale) -> None:
    """The process that applied it ended before it released the request."""
    applied(tale).leave_lock("apply")


def _revised(tale: Tale) -> None:
    """Applied, then edited: the first pull request's merge and apply count no more."""
    applied(tale).after(days=2).revise()
    tale.after(seconds=40).start(PLAN).after(minutes=3).finish(PLAN)


def _plan_failed(tale: Tale) -> None:
    opened(tale).after(seconds=40).start(PLAN).after(minutes=1).finish(PLAN, "failure")


def _apply_failed(tale: Tale) -> None:
    _applying(tale)
    tale.after(minutes=7).finish(APPLY, "failure")
    tale.document["errorMessage"] = "Error: creating RDS DB Instance: InsufficientDBInstanceCapacity"


def _abandoned(tale: Tale) -> None:
    planned(tale).after(days=1).close("maya-k")


def _cleaning_up(tale: Tale) -> None:
    """Destroyed; somebody has to merge the cleanup."""
    cleaned(tale).archive()


def _days(days: float) -> timedelta:
    return timedelta(days=days)


def _hours(hours: float) -> timedelta:
    return timedelta(hours=hours)


def _minutes(minutes: float) -> timedelta:
    return timedelta(minutes=minutes)


PLOTS: Final = (
    Plot("req_prod_rds_h2mv8c", PAYMENTS, "priya-s", _days(83), applied),
    Plot("req_prod_s3_x5qn3t", DATA, "tomas-w", _days(71), _matching_word),
    Plot("req_dev_iam_m6rz2p", CORE, "maya-k", _days(58), gone),
    Plot("req_prod_ecr_f3kw9b", CORE, "jon-a", _days(47), applied),
    Plot("req_dev_ec2_x3rm8g", CORE, "dev-dana", _days(39), gone),
    Plot("req_prod_iam_w8yf3m", DATA, "jon-a", _days(21), _drifted),
    Plot("req_staging_ec2_t2pk6h", CORE, "maya-k", _days(18), _drifting_word),
    Plot("req_dev_rds_j5xs9d", DATA, "dev-dana", _days(15), _cleaning_up),
    Plot("req_staging_ecr_d9kq5v", CORE, "jon-a", _days(9), _abandoned),
    Plot("req_prod_ec2_b6nt7x", PAYMENTS, "priya-s", _days(8), _apply_failed),
    Plot("req_dev_iam_k7hd3c", DATA, "maya-k", _days(5), _revised),
    Plot("req_prod_s3_q6wd4m", PAYMENTS, "priya-s", _days(4), _approved_in_the_web_app),
    Plot("req_dev_ecr_r5fz9h", CORE, "dev-dana", _days(3), _applied_but_locked),
    Plot("req_staging_iam_v3tm8q", DATA, "elif-d", _days(2.4), _plan_failed),
    Plot("req_staging_s3_u8wk2c", CORE, "jon-a", _days(2), _just_made),
    Plot("req_dev_sqs_p6yd2k", CORE, "maya-k", _hours(31), _objected_to),
    Plot("req_dev_ec2_f6jq4n", CORE, "tomas-w", _hours(26.4), _destroying),
    Plot("req_staging_rds_z4vc6r", DATA, "priya-s", _hours(22), _approved_by_two),
    Plot("req_prod_rds_y7bk2s", PAYMENTS, "tomas-w", _hours(19), approved),
    Plot("req_prod_ecr_s9dm4j", DATA, "jon-a", _hours(11), _plan_needs_permission),
    Plot("req_staging_s3_j7bn4f", CORE, "maya-k", _hours(7), applied),
    Plot("req_dev_sqs_h8rt6v", DATA, "dev-dana", _hours(3.4), _destroy_queued),
    Plot("req_staging_iam_b2xr6d", CORE, "tomas-w", _hours(2.6), _merged_but_says_approved),
    Plot("req_prod_rds_t7mq2x", PAYMENTS, "priya-s", _hours(2.5), _applying_slowly),
    Plot("req_prod_iam_q3hw8d", PAYMENTS, "lia-r", _hours(2.2), _queued_behind_another),
    Plot("req_prod_sqs_l5zn8e", DATA, "jon-a", _hours(1.8), _waiting_to_be_applied),
    Plot("req_dev_s3_a9fk3u", CORE, "dev-dana", _minutes(50), merged),
    Plot("req_dev_sqs_v8np3k", CORE, "elif-d", _minutes(28), planned),
    Plot("req_staging_rds_k3vz7p", DATA, "tomas-w", _minutes(21), _applying),
    Plot("req_staging_ec2_l4hx7d", PAYMENTS, "maya-k", _minutes(9), _plan_queued),
    Plot("req_dev_rds_w2tp6y", CORE, "jon-a", _minutes(6), _planning),
    Plot("req_dev_iam_z5gh9t", CORE, "dev-dana", _minutes(4), _just_made),
)
