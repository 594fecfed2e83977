"""Objects under `requests/` that are no request: each is shown as a row with its error."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from tfpilot.core.document import MAX_DEPTH

UNREADABLE: Final[Mapping[str, bytes]] = {
    # The upload ended early.
    "req_dev_s3_b0rk3n": b'{\n  "id": "req_dev_s3_b0rk3n",\n  "version": 4,\n  "project": "co',
    # An editor saved it as Latin-1.
    "req_dev_sqs_l4t1n1": '{"id": "req_dev_sqs_l4t1n1", "project": "Zürich"}'.encode("latin-1"),
    # Somebody exported a list over it.
    "req_prod_iam_l1st3d": b'[{"id": "req_prod_iam_l1st3d", "version": 2}]',
    # A copy of another request.
    "req_staging_ec2_c0p13d": b'{"id": "req_staging_ec2_t2pk6h", "version": 3, "environment": "staging"}',
    # Deeper than any request can be.
    "req_dev_ecr_d33p3r": b'{"id": "req_dev_ecr_d33p3r", "nested": %s1%s}'
    % (b'{"in": ' * (MAX_DEPTH + 50), b"}" * (MAX_DEPTH + 50)),
}
"""By the id that the key holds."""
