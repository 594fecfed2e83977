"""Step 4, Run: how far a reset or its undo is, and what can be done where it stopped."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Final

import streamlit as st

from tfpilot.core.reset_journal import Stage
from tfpilot.core.reset_phases import PhaseLine, PhaseState, current_phase
from tfpilot.core.reset_plan import StateMode
from tfpilot.core.reset_plan_report import plan_lines
from tfpilot.core.reset_steps import Phase
from tfpilot.core.terraform import LockMode
from tfpilot.edges import Edges
from tfpilot.ui import reset_acts, reset_address, reset_looks, reset_undo, shell, tables, words
from tfpilot.ui.reset_desk import ResetDesk, Verb
from tfpilot.ui.reset_looks import INTERRUPTED, PHASES, second, short
from tfpilot.ui.reset_seen import SeenReset

_TICK: Final = timedelta(seconds=1)
_QUIET_AFTER: Final = timedelta(seconds=20)
_UNDO_NAMES: Final = {
    Phase.DIGEST: "Write the digest item back",
    Phase.STATE: "Put the state back",
    Phase.REQUESTS: "Requests back from history",
    Phase.INDEX: "Put the index entries back",
}
_COUNTED: Final = {
    Phase.LOCK: ("lock", "taken"),
    Phase.COMPARE: ("comparison", "made"),
    Phase.BACKUP: ("object", "backed up and read back"),
    Phase.DIGEST: ("digest item", "removed"),
    Phase.STATE: ("state", "done"),
    Phase.REQUESTS: ("request", "archived and verified"),
    Phase.INDEX: ("entry", "removed"),
    Phase.UNLOCK: ("lock", "released"),
}


def show_running(
    edges: Edges, desk: ResetDesk, seen: SeenReset, *, look: Callable[[], object], goes_on: Callable[[], bool]
) -> None:
    """Its progress, looked at every second; asks for a new page when it is over. `look` has it read again."""

    @st.fragment(run_every=_TICK)
    def tick() -> None:
        look()
        desk.seen.collect(edges.clock(), patience=0)
        now_seen = desk.seen.value_of(seen.reset_id) or seen
        if desk.seen.error is not None or not (now_seen.is_running or goes_on()):
            st.rerun()
        if desk.errand is not None and desk.errand.work.done():
            st.rerun()
        _show_card(edges, desk, now_seen, is_running=True)
        _show_journal(now_seen)

    tick()


def show_interrupted(edges: Edges, desk: ResetDesk, seen: SeenReset) -> None:
    """What happened, how far it came, and the two ways on."""
    target = words.plain(seen.target)
    undoes = seen.view.stage is Stage.UNDO_UNFINISHED
    what = "The undo of the reset" if undoes else "The reset"
    how = "was stopped" if seen.stop is not None else "was interrupted"
    st.warning(_what_happened(seen), title=f"{what} of {target} {how}", icon=":material/pause_circle:")
    _show_card(edges, desk, seen, is_running=False)
    left, right = st.columns(2)
    with left:
        _show_resume(edges, desk, seen, undoes=undoes)
    if not undoes:
        with right:
            reset_undo.show(edges, desk, seen)
    _show_journal(seen)


def lines_table(seen: SeenReset, *, is_running: bool) -> None:
    """The phases with their results and times."""
    rows = [
        {
            "": str(number),
            "State": _badge(line, is_running=is_running),
            "Step": _name(line, seen),
            "Result": _result(line, seen),
            "Began": second(line.began) if line.began else "",
            "Took": reset_looks.took(line.took) if line.took is not None else "",
        }
        for number, line in enumerate(seen.lines, 1)
    ]
    settled = sum(line.settled == line.total for line in seen.lines)
    tables.show(rows, alt=f"Steps of the reset: {settled} of {len(rows)} done")


def _show_card(edges: Edges, desk: ResetDesk, seen: SeenReset, *, is_running: bool) -> None:
    record = seen.view.record
    undoes = seen.view.progress.undo_began
    with st.container(border=True, gap="small"):
        with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
            verb = "Undoing the reset of" if undoes else "Resetting"
            st.markdown(f"**{verb} {words.plain(seen.target)}**", width="content")
            began = words.clock_time(record.started_at, edges.clock()).removesuffix(f"{record.started_at:%H:%M}")
            st.markdown(f":small[{words.plain(record.reset_id)} · by {words.plain(record.operator)} · started "
                        f"{began}{second(record.started_at)} UTC]", width="content")  # fmt: skip
        st.progress(_share(seen), text=_headline(seen))
        lines_table(seen, is_running=is_running)
        if is_running:
            _show_stop(edges, desk, seen)


def _share(seen: SeenReset) -> float:
    total = sum(line.total for line in seen.lines)
    return sum(line.settled for line in seen.lines) / total if total else 0.0


def _headline(seen: SeenReset) -> str:
    number = current_phase(seen.lines)
    if number is None:
        return f"All {len(seen.lines)} steps are through."
    line = seen.lines[number]
    noun, verb = _COUNTED[line.phase]
    if seen.view.progress.undo_began and line.phase in _UNDO_NAMES:
        verb = "put back"
    many = noun.replace("entry", "entries") if noun == "entry" else f"{noun}s"
    told = f"{words.number(line.items_done)} of {words.counted(line.items, noun, many)} {verb}"
    return f"Step {number + 1} of {len(seen.lines)}: {told}"


def _badge(line: PhaseLine, *, is_running: bool) -> str:
    if line.state is PhaseState.BEGUN and not is_running:
        return INTERRUPTED.badge
    if line.state is PhaseState.LEFT and line.items_done:
        return f":orange-badge[:material/warning: Done, {words.number(len(line.left))} left]"
    return PHASES[line.state].badge


def _name(line: PhaseLine, seen: SeenReset) -> str:
    if seen.view.progress.undo_began and line.phase in _UNDO_NAMES:
        return _UNDO_NAMES[line.phase]
    if line.phase is Phase.STATE and seen.view.plan.state_mode is StateMode.EMPTY:
        return "Empty the state"
    return line.phase.value


def _result(line: PhaseLine, seen: SeenReset) -> str:
    """What came of a phase, or will."""
    if line.left:
        first = line.left[0]
        more = f" and {words.number(len(line.left) - 1)} more" if len(line.left) > 1 else ""
        done = "" if line.phase in {Phase.LOCK, Phase.COMPARE} else f"{_of(line)}; "
        return f"{done}left: {words.plain(first.reason)}{more}"
    if seen.view.progress.undo_began:
        return _undo_result(line, seen)
    return _apply_result(line, seen)


def _apply_result(line: PhaseLine, seen: SeenReset) -> str:
    if line.state is PhaseState.DONE:
        return _came_of(line, seen)
    coming = {
        Phase.LOCK: f"{_of(line)}, with the operator's name in it",
        Phase.COMPARE: f"everything is read again, digest {short(seen.digest)} has to be the reviewed one",
        Phase.BACKUP: _of(line),
        Phase.DIGEST: _happens(seen, "Digest item"),
        Phase.STATE: _happens(seen, "Terraform state"),
        Phase.REQUESTS: _of(line) if line.began else f"{_of(line)}, moved to `history/`",
        Phase.INDEX: f"{_of(line)}, backed up",
        Phase.UNLOCK: "conditional delete of our own lock, then the receipt",
    }
    return coming[line.phase]


def _came_of(line: PhaseLine, seen: SeenReset) -> str:
    record, mode = seen.view.record, seen.view.plan.target.lock_mode
    held = f"held as {words.plain(record.operator)} at tfpilot-ops, {_LOCK_WORDS[mode]}"
    done = {
        Phase.LOCK: f"lock id {short(record.lock_id)}, {held}",
        Phase.COMPARE: f"everything read again, digest {short(seen.digest)} as reviewed",
        Phase.BACKUP: f"{_of(line)}, bytes equal",
        Phase.DIGEST: "value kept in the journal",
        Phase.STATE: _state_result(seen),
        Phase.REQUESTS: _of(line),
        Phase.INDEX: f"{_of(line)}, backed up",
        Phase.UNLOCK: "our own lock by conditional delete",
    }
    return done[line.phase]


def _undo_result(line: PhaseLine, seen: SeenReset) -> str:
    if line.phase is Phase.LOCK:
        return f"lock id {short(seen.view.record.lock_id)}"
    if line.phase is Phase.UNLOCK:
        return "conditional delete of our own lock"
    return f"{_of(line)}, only where the place is as the reset left it"


_LOCK_WORDS: Final = {LockMode.DYNAMODB: "table", LockMode.LOCKFILE: "lockfile", LockMode.BOTH: "table and lockfile"}


def _state_result(seen: SeenReset) -> str:
    if seen.view.plan.state_mode is StateMode.EMPTY:
        return "an empty state of the same lineage follows it"
    versions = [state.state.version_id for state in seen.view.plan.states if state.state and state.state.version_id]
    if len(versions) == 1:
        return f"version {short(versions[0])} stays in the bucket"
    return f"{len(versions)} versions stay in the bucket" if versions else "the backup is in the state bucket"


def _happens(seen: SeenReset, what: str) -> str:
    return next((line.happens for line in plan_lines(seen.view.plan) if line.what == what), "")


def _of(line: PhaseLine) -> str:
    return f"{words.number(line.items_done)} of {words.number(line.items)}"


def _show_stop(edges: Edges, desk: ResetDesk, seen: SeenReset) -> None:
    refusal = reset_acts.why_not(edges, shell.operator(), seen.view.plan.target.environment)
    is_asked = seen.stop is not None
    is_storing = desk.errand is not None and desk.errand.verb is Verb.STOP
    with st.container(horizontal=True, vertical_alignment="center"):
        st.button("Stop after this step", key="reset_stop", icon=":material/pause_circle:",
                  disabled=bool(refusal) or is_asked or is_storing, on_click=_stop,
                  args=(edges, desk, seen.reset_id))  # fmt: skip
        text = "Stopping is safe: the journal knows every step, and you can resume or undo. You may close this page; "
        text += "it goes on."
        if seen.stop is not None:
            by, at = words.plain(seen.stop.by), second(seen.stop.at)
            text = f"{by} asked to stop at {at} UTC. It stops when the present step is through."
        elif refusal:
            text = words.plain(refusal)
        st.markdown(f":small[{text}]", width="stretch")
    _show_silence(edges, seen)


def _show_silence(edges: Edges, seen: SeenReset) -> None:
    """Where the journal is silent for long, whoever carried it out may be gone."""
    lease, last_at = seen.view.at_work, seen.view.progress.last_at or seen.view.record.started_at
    silent = edges.clock() - last_at
    if lease is None or silent < _QUIET_AFTER:
        return
    st.markdown(
        f":orange-badge[:material/hourglass_top: No news] for {words.lasting(silent)}. A large step takes a while. If "
        f"its process is gone, its hold ends at {second(lease.until)} UTC, and it can be resumed or undone here."
    )


def _show_journal(seen: SeenReset) -> None:
    count = len(seen.view.stored.entries)
    with st.expander(f"Journal: {words.counted(count, 'record')}", key="reset_journal",
                     icon=":material/receipt_long:"):  # fmt: skip
        if not seen.journal:
            st.markdown("Nothing was tried yet.")
            return
        st.code("\n".join(seen.journal), language=None)


def _what_happened(seen: SeenReset) -> str:
    """By the journal: whoever stopped, or could not go on, gave Terraform's lock back; whoever is gone did not."""
    if seen.holds_lock:
        why = "Whoever carried it out is gone, or a store did not answer. Terraform's lock still has this reset's name "
        why += "in it: nobody can plan or apply until it is resumed or undone."
    elif seen.stop is not None:
        by, at = words.plain(seen.stop.by), second(seen.stop.at)
        why = f"{by} asked to stop at {at} UTC. Terraform's lock was given back."
    elif seen.view.progress.last_at is None:
        why = "Nothing was tried yet: whoever was to carry it out is gone."
    else:
        why = (
            "It ended its turn before the end, as it does where the portal is frozen. Terraform's lock was given back."
        )
    return f"{why} Nothing is lost: the journal knows every step."


def _show_resume(edges: Edges, desk: ResetDesk, seen: SeenReset, *, undoes: bool) -> None:
    refusal = reset_acts.why_not(edges, shell.operator(), seen.view.plan.target.environment)
    with st.container(border=True, gap="small"):
        st.markdown("**Resume the undo**" if undoes else "**Resume**")
        if undoes:
            st.markdown(
                ":small[Takes Terraform's lock, or finds it still ours, and puts back what is left, each place only as "
                "the reset left it.]"
            )
        else:
            st.markdown(
                ":small[Takes Terraform's lock, or finds it still ours, checks every guard again, looks again at the "
                "copies, then does what is left.]"
            )
        st.button(
            "Resume the undo" if undoes else f"Resume: {words.counted(seen.steps_left, 'step')} left",
            key="reset_resume",
            icon=":material/play_arrow:",
            type="primary",
            disabled=bool(refusal) or desk.is_busy,
            on_click=_resume,
            args=(edges, desk, seen),
        )
        if refusal:
            st.markdown(words.plain(refusal))


def _stop(edges: Edges, desk: ResetDesk, reset_id: str) -> None:
    reset_address.touched()
    reset_acts.begin_stop(edges, desk, shell.operator(), reset_id=reset_id)


def _resume(edges: Edges, desk: ResetDesk, seen: SeenReset) -> None:
    reset_address.touched()
    reset_acts.begin_resume(edges, desk, shell.operator(), reset_id=seen.reset_id, target=seen.target,
                            digest=seen.digest)  # fmt: skip
