"""What Dev reset says while no target is configured."""

from __future__ import annotations

from typing import Final

import streamlit as st

EXAMPLE: Final = """\
[[targets]]
name = "payments-dev"
environment = "dev"
repo = "northwind-infra/payments-terraform"
state_bucket = "tfpilot-tfstate-payments-dev"
lock_mode = "both"                # dynamodb, lockfile or both
lock_table = "tfpilot-locks-dev"  # not with lockfile

[[targets.states]]
key = "dev/terraform.tfstate"
target_env_path = "envs/dev"
"""
"""The least that a file of targets needs."""


def show() -> None:
    """How to get a target."""
    st.info(
        "`TFPILOT_RESET_TARGETS` names no file, or the file lists no target. Nothing can be reset until it does: exact "
        "buckets and keys, written out by somebody who knows them. `docs/DEV_RESET.md` says what each field means.",
        title="No target is configured",
        icon=":material/inventory_2:",
    )
    st.markdown("The least that the file needs; restart the portal after it is written:")
    st.code(EXAMPLE, language=None)
