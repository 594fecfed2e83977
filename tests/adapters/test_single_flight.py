"""One run at a time, shared by everybody who waits for it."""

from __future__ import annotations

import threading

import pytest

from tfpilot.adapters.single_flight import SingleFlight


class Work:
    """Counts its runs. A run goes on when `go_on` is set, and succeeds unless `outcomes` says otherwise."""

    def __init__(self, *outcomes: bool) -> None:
        self.runs = 0
        self.entered = threading.Event()
        self.go_on = threading.Event()
        self._outcomes = list(outcomes)
        self._running = threading.Lock()

    def __call__(self) -> bool:
        assert self._running.acquire(blocking=False), "two runs at the same time"
        try:
            self.runs += 1
            self.entered.set()
            assert self.go_on.wait(30)
            return self._outcomes.pop(0) if self._outcomes else True
        finally:
            self._running.release()


def test_who_waits_for_a_run_shares_one_that_begins_after_they_came() -> None:
    work = Work()
    run_with_waiters(work, SingleFlight(work), waiters=7)
    assert work.runs == 2


def test_who_waits_for_a_run_that_fails_does_not_repeat_it() -> None:
    work = Work(False)
    run_with_waiters(work, SingleFlight(work), waiters=7)
    assert work.runs == 1


def test_nothing_runs_where_what_is_there_is_enough() -> None:
    work = Work()
    SingleFlight(work).ensure(lambda: True)
    assert work.runs == 0


def test_a_run_that_breaks_off_is_seen_by_its_caller_and_blocks_nobody() -> None:
    def fail() -> bool:
        raise ZeroDivisionError

    flight = SingleFlight(fail)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            flight.ensure(lambda: False)


def test_after_closing_nothing_runs() -> None:
    work = Work()
    flight = SingleFlight(work)
    flight.close()
    flight.ensure(lambda: False)
    assert work.runs == 0


def run_with_waiters(work: Work, flight: SingleFlight, *, waiters: int) -> None:
    """One run that goes on only when so many others wait for it."""
    threads = [threading.Thread(target=flight.ensure, args=(lambda: False,)) for _ in range(waiters + 1)]
    threads[0].start()
    assert work.entered.wait(30)
    for thread in threads[1:]:
        thread.start()
    while len(flight._turn._waiters) < waiters:
        threading.Event().wait(0.001)
    work.go_on.set()
    for thread in threads:
        thread.join()
