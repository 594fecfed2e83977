"""Work outside a page's script."""

from __future__ import annotations

import threading

import pytest

from tfpilot.ui.background import Background


def test_work_under_way_is_joined_and_not_started_again():
    background, release, started = Background(workers=2), threading.Event(), []

    def work():
        started.append(1)
        assert release.wait(10)
        return len(started)

    first = background.submit("key", work)
    second = background.submit("key", work)
    release.set()
    assert first is second
    assert first.result(10) == 1


def test_work_that_has_ended_can_be_done_again():
    background = Background(workers=1)
    assert background.submit("key", lambda: 1).result(10) == 1
    assert background.submit("key", lambda: 2).result(10) == 2


def test_a_failure_reaches_whoever_asked_and_frees_the_key():
    background = Background(workers=1)

    def fail():
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        background.submit("key", fail).result(10)
    assert background.submit("key", lambda: 3).result(10) == 3
