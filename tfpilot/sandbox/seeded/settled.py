"""Requests of two repositories in which nothing is under way: what a dev reset can be tried on."""

from __future__ import annotations

import copy
from datetime import timedelta
from typing import Final

from tfpilot.sandbox.seeded.chapters import APPLY, DESTROY, applied, gone, merged, planned
from tfpilot.sandbox.seeded.stage import ORDERS, PAYMENTS_DEV
from tfpilot.sandbox.seeded.tale import Plot, Tale

CUT_OFF: Final = "req_dev_ec2_y6kc3n"
"""The request whose apply was cancelled: its runner never released Terraform's lock."""


def _older_copy(tale: Tale) -> None:
    """The archived copy is from the dispatch of a destroy that then failed: the request is still active."""
    applied(tale).after(days=5).start(DESTROY).archive().after(minutes=4).finish(DESTROY, "failure")


def _newer_copy(tale: Tale) -> None:
    """Somebody put the active document back from a backup that is older than the archived copy."""
    applied(tale)
    backup = copy.deepcopy(tale.document)
    tale.after(days=2).add_step("Tags corrected", "cost-centre is 4410 now").archive()
    tale.document = backup


def _apply_failed(tale: Tale) -> None:
    merged(tale).after(seconds=30).start(APPLY).after(minutes=3).finish(APPLY, "failure")
    tale.document["errorMessage"] = "Error: creating RDS DB Instance: DBSubnetGroupNotFoundFault"


def _apply_cut_off(tale: Tale) -> None:
    """Cancelled on GitHub while Terraform was at work."""
    merged(tale).after(seconds=30).start(APPLY).after(minutes=5).finish(APPLY, "cancelled")


PLOTS: Final = (
    Plot("req_dev_ec2_r4wt8n", PAYMENTS_DEV, "maya-k", timedelta(days=41), gone),
    Plot("req_dev_rds_d7xw3h", ORDERS, "priya-s", timedelta(days=33), applied),
    Plot("req_dev_sqs_c9hk5z", PAYMENTS_DEV, "elif-d", timedelta(days=24), _older_copy),
    Plot("req_dev_ecr_g6pn9t", ORDERS, "tomas-w", timedelta(days=20), gone),
    Plot("req_dev_s3_k2vt7m", PAYMENTS_DEV, "maya-k", timedelta(days=17), applied),
    Plot("req_dev_iam_y3qd6f", PAYMENTS_DEV, "ines-r", timedelta(days=12), _newer_copy),
    Plot("req_dev_sqs_m3vk8y", ORDERS, "jon-a", timedelta(days=10), applied),
    Plot("req_dev_rds_n8bs4j", PAYMENTS_DEV, "tomas-w", timedelta(days=6), _apply_failed),
    Plot("req_dev_ecr_u5mz2w", PAYMENTS_DEV, "dev-dana", timedelta(days=3), applied),
    Plot("req_dev_s3_t9cf2r", ORDERS, "elif-d", timedelta(days=2), planned),
    Plot(CUT_OFF, ORDERS, "jon-a", timedelta(hours=3, minutes=15), _apply_cut_off),
)
