"""Whatever is stored or sent: a parser answers, or refuses it in words that a person can use."""

from __future__ import annotations

import os
from typing import Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.mutation import mutated
from tests.fuzz.parsers import PARSERS, Parser
from tfpilot.errors import TfPilotError

TIMES: Final = int(os.environ.get("TFPILOT_FUZZ_CASES", "1"))
"""How many times as many cases are tried. Beyond 1 they are other ones each time."""
CASES: Final = 10_000
PER_PARSER: Final = -(-CASES // len(PARSERS))
MAX_TOLD: Final = 1000


def refusal(parser: Parser, content: bytes) -> TfPilotError | None:
    try:
        parser.parse(content)
    except TfPilotError as error:
        return error
    return None


@pytest.mark.parametrize("parser", PARSERS, ids=lambda parser: parser.name)
def test_a_sample_that_nobody_changed_is_taken(parser: Parser):
    for sample in parser.samples:
        assert parser.parse(sample) is not None


@pytest.mark.parametrize("parser", PARSERS, ids=lambda parser: parser.name)
def test_any_bytes_are_answered_or_refused_with_what_to_do_next(parser: Parser):
    @settings(
        max_examples=PER_PARSER * TIMES,
        derandomize=TIMES == 1,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        print_blob=True,
    )
    @given(content=mutated(parser.samples, as_json=parser.as_json) | st.binary(max_size=40))
    def holds(content: bytes) -> None:
        refused = refusal(parser, content)
        if refused is not None:
            assert refused.message
            assert refused.hint
            assert len(f"{refused.message} {refused.hint}".encode(errors="replace")) <= MAX_TOLD

    holds()
