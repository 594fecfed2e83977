"""The audit of the run index: what is wrong, what to do about it, and what is ignored."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

import pandas as pd
import streamlit as st
from streamlit.column_config import LinkColumn, TextColumn

from tfpilot.core.index_audit import IndexFinding
from tfpilot.core.index_report import AuditReport, AuditSource, report_answer
from tfpilot.core.model import Severity
from tfpilot.core.roles import Right
from tfpilot.edges import Edges
from tfpilot.operations.index_fixes import plan_fixes
from tfpilot.ui import index_acts, index_address, index_fix_view, index_rows, looks, shell, tables, words
from tfpilot.ui.grid import PAGER_WIDTH, ROW_HEIGHT, chips, frame, page_numbers, selected_rows
from tfpilot.ui.index_desk import IndexDesk, Shelf
from tfpilot.ui.index_rows import AuditView, FindingRow, entry_name

ROWS_PER_PAGE: Final = 10
RECORDS: Final = "index_source_records"
VERSIONS: Final = "index_source_versions"
REASON: Final = "index_reason"
_DETAILS: Final = 6
_IGNORED_SHOWN: Final = 100


def show(edges: Edges, desk: IndexDesk, shelf: Shelf) -> None:
    """The card, whether or not an audit was run yet."""
    with st.container(border=True, gap="small"):
        report = shelf.report
        # The view keeps its report alive, so no other one can have that id.
        view = shelf.audit_view.get(id(report), lambda: index_rows.view_of(report)) if report is not None else None
        with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
            st.markdown("**Audit**", width="content")
            with st.container(horizontal=True, horizontal_alignment="right", vertical_alignment="center",
                              width="content"):  # fmt: skip
                if view is not None:
                    st.markdown(f":small[{_summary(view, edges)}]", width="content")
                _show_options()
        if report is None or view is None:
            _show_none_yet(edges)
            index_fix_view.show_earlier(edges, desk)
            return
        if not view.folded:
            _show_nothing_wrong(report)
        else:
            _show_findings(edges, desk, shelf, view)
        _show_ignored(edges, desk, report)
        index_fix_view.show_earlier(edges, desk)
        _show_downloads(report)


def wanted_sources() -> list[AuditSource]:
    """What the next audit is to look at beside entries and requests."""
    ticked = {AuditSource.RECORDS: RECORDS, AuditSource.VERSIONS: VERSIONS}
    return [source for source, key in ticked.items() if st.session_state.get(key)]


def _show_options() -> None:
    with st.popover("Also look at", icon=":material/tune:"):
        st.markdown("An audit compares entries with requests. Two things more, to find what was `OVERWRITTEN`:")
        st.checkbox("Our records of dispatches", key=RECORDS)
        st.markdown(":small[Costs one listing, and one read per record.]")
        st.checkbox("Object versions", key=VERSIONS)
        st.markdown(":small[Costs one call per 1,000 versions, and one read per earlier version.]")
        st.markdown(":small[They count from the next audit on.]")


def _summary(view: AuditView, edges: Edges) -> str:
    report = view.report
    told = words.counted(len(report.findings), "finding")
    harmless = view.severities[Severity.INFO]
    info = f", {words.number(harmless)} of them information" if harmless else ""
    sources = "".join(f", {_SOURCE_WORDS[source]}" for source in AuditSource if source in report.sources)
    if report.versions_kept is False:
        sources += " (the bucket keeps no versions)"
    entries, requests = report.audit.objects, report.audit.requests
    return (
        f"{words.clock_time(report.at, edges.clock())} UTC · {words.counted(entries, 'entry', 'entries')}, "
        f"{words.counted(requests, 'request')}{sources} · {told}{info}"
    )


_SOURCE_WORDS: Final[Mapping[AuditSource, str]] = {
    AuditSource.RECORDS: "our dispatch records",
    AuditSource.VERSIONS: "object versions",
}


def _show_none_yet(edges: Edges) -> None:
    listing = edges.index_listings.current()
    unread = listing.bodies_missing
    cost = (
        f"{words.counted(unread, 'entry is', 'entries are')} read once for it; later audits read what is new."
        if unread
        else "Every entry was read already."
    )
    st.markdown(
        "No audit was run yet since the portal started. It compares "
        f"{words.counted(listing.objects, 'entry', 'entries')} with all requests and writes nothing. {cost}"
    )


def _show_nothing_wrong(report: AuditReport) -> None:
    beside = f" {words.counted(len(report.ignored), 'finding is', 'findings are')} ignored." if report.ignored else ""
    st.markdown(f":green-badge[:material/check_circle: Nothing found] Entries and requests fit together.{beside}")


def _show_findings(edges: Edges, desk: IndexDesk, shelf: Shelf, view: AuditView) -> None:
    _show_codes(view)
    rows = view.rows(index_address.code())
    first, shown, pages = page_numbers(len(rows), index_address.FINDINGS_PAGE, size=ROWS_PER_PAGE)
    page = rows[first : first + shown]
    key = _table_key(view, page)
    chosen = [page[number] for number in selected_rows(key, len(page))]
    st.dataframe(
        _frame(edges, shelf, page),
        key=key,
        hide_index=True,
        height="content",
        row_height=ROW_HEIGHT,
        column_config=_config(),
        on_select="rerun",
        selection_mode="multi-row",
        alt=_described(page),
    )
    _show_place(first, shown, len(rows), pages)
    if not chosen:
        st.markdown(
            "Select findings to plan their fix or to ignore them. A fix shows its plan first, keeps a backup and can "
            f"be undone. Where **Fix** is {words.NOTHING}, a person decides."
        )
        return
    if len(chosen) == 1:
        _show_details(edges, shelf, chosen[0])
    _show_selection(edges, desk, [finding for row in chosen for finding in row.findings])


def _show_codes(view: AuditView) -> None:
    if len(view.by_code) < 2 and index_address.code() is None:
        return
    labels = {code.value: f"{code.value} {words.number(count)}" for code, count in view.counts.items()}
    chosen = index_address.code()
    if chosen is not None:
        labels.setdefault(chosen.value, f"{chosen.value} 0")
    st.pills(
        "Code",
        list(labels),
        key=index_address.CODE,
        label_visibility="collapsed",
        format_func=labels.__getitem__,
        on_change=index_address.chose,
        args=(index_address.FINDINGS_PAGE,),
    )


def _table_key(view: AuditView, page: Sequence[FindingRow]) -> str:
    """Another one whenever the rows are others: a table knows positions, which mean nothing in other rows."""
    told = "|".join([str(view.report.at), str(st.session_state[index_address.ROUND]),
                     *(f"{row.first.code} {row.first.key} {len(row.findings)}" for row in page)])  # fmt: skip
    return f"index_findings_{hashlib.sha256(told.encode()).hexdigest()[:16]}"


def _frame(edges: Edges, shelf: Shelf, page: Sequence[FindingRow]) -> pd.DataFrame:
    return frame(_cells(edges, shelf, row) for row in page)


def _cells(edges: Edges, shelf: Shelf, row: FindingRow) -> Mapping[str, Any]:
    finding, single = row.first, len(row.findings) == 1
    request_id = finding.requests[0] if single and finding.requests else ""
    known = shelf.request_row(edges, request_id) if request_id else None
    return {
        "Severity": [looks.SEVERITIES[finding.severity].chip],
        "Code": finding.code.value,
        "Entry": row.entry,
        "Evidence": row.evidence,
        "Request": shell.request_link(request_id) if known else "",
        "Fix": row.fix,
        "Run": index_rows.run_address(known, finding.run_id),
    }


def _config() -> Mapping[str, Any]:
    return {
        "Severity": chips(looks.SEVERITIES.values(), width=92),
        "Code": TextColumn(width=148),
        "Entry": TextColumn(width=168),
        "Evidence": TextColumn(width=364),
        "Request": LinkColumn(width=164, display_text=r"id=(.+)"),
        "Fix": TextColumn(width=84),
        "Run": LinkColumn(width=64, display_text="GitHub"),
    }


def _described(page: Sequence[FindingRow]) -> str:
    told = "; ".join(f"{row.first.code.value} {row.entry}, fix: {row.fix}" for row in page)
    return f"Findings, worst first, then oldest: {told}"


def _show_place(first: int, shown: int, total: int, pages: int) -> None:
    if pages < 2:
        return
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
        st.markdown(
            f"{words.number(first + 1)} to {words.number(first + shown)} of {words.number(total)}, worst first, then "
            "oldest",
            width="content",
        )
        pager = f"index_findings_pager_{st.session_state[index_address.ROUND]}"
        st.pagination(
            pages,
            default=st.session_state[index_address.FINDINGS_PAGE],
            key=pager,
            width=PAGER_WIDTH,
            on_change=index_address.turn_page,
            args=(index_address.FINDINGS_PAGE, pager),
        )


def _show_details(edges: Edges, shelf: Shelf, row: FindingRow) -> None:
    """What is selected, as text that can be read and copied."""
    finding = row.first
    look = looks.SEVERITIES[finding.severity]
    with st.container(gap="xsmall"):
        if len(row.findings) > 1:
            _show_some(row)
            return
        st.markdown(f"{look.badge} {words.code(finding.code.value)} {words.code(finding.key, longest=120)}")
        for evidence in finding.evidence:
            st.markdown(f"- {words.plain(evidence)}")
        st.markdown(f"**Next:** {words.plain(finding.next_action)}")
        _show_ways(edges, shelf, finding)


def _show_some(row: FindingRow) -> None:
    code = words.code(row.first.code.value)
    some = ", ".join(words.code(entry_name(finding)) for finding in row.findings[:_DETAILS])
    more = len(row.findings) - _DETAILS
    rest = f" and {words.number(more)} more" if more > 0 else ""
    st.markdown(f"{looks.SEVERITIES[row.first.severity].badge} {code} {some}{rest}")
    st.markdown(f"**Next:** {words.plain(row.first.next_action)} Choose {code} above to see each.")


def _show_ways(edges: Edges, shelf: Shelf, finding: IndexFinding) -> None:
    """To the requests concerned, as far as they exist, and to the run."""
    rows = [row for each in finding.requests[:_DETAILS] if (row := shelf.request_row(edges, each)) is not None]
    with st.container(horizontal=True, vertical_alignment="center"):
        for row in rows:
            st.page_link(shell.REQUEST_PAGE, label=words.plain(row.id), icon=":material/inbox:",
                         query_params={"id": row.id})  # fmt: skip
        address = next((found for row in rows if (found := index_rows.run_address(row, finding.run_id))), "")
        if address:
            st.page_link(address, label=f"Run {finding.run_id}", icon=":material/open_in_new:")


def _show_selection(edges: Edges, desk: IndexDesk, findings: Sequence[IndexFinding]) -> None:
    fixable = [finding for finding in findings if finding.fix is not None]
    operator = shell.operator()
    refusal = index_acts.why_not(edges, operator, Right.FIX_INDEX)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.button(
            f"Plan fix of {words.number(len(fixable))}" if fixable else "Plan fix",
            key="index_plan",
            icon=":material/build:",
            type="primary" if desk.plan is None else "secondary",
            disabled=not fixable or desk.is_busy,
            on_click=_plan,
            args=(edges, desk, fixable),
        )
        reason, ignored = _ask_to_ignore(len(findings), disabled=bool(refusal) or desk.is_busy)
        told = [f"{words.counted(len(findings), 'finding')} selected, {words.number(len(fixable))} with a safe fix."]
        told += [words.plain(refusal)] if refusal else ["A plan writes nothing."]
        st.markdown(f":small[{' '.join(told)}]", width="content")
    if ignored:
        index_acts.begin_marks(edges, desk, operator, findings=findings, reason=reason, ignored=True)
        st.rerun()


def _ask_to_ignore(count: int, *, disabled: bool) -> tuple[str, bool]:
    """(the reason, whether it was sent off)."""
    form = st.form("index_ignore", border=False, width="content")
    with form.container(horizontal=True, vertical_alignment="bottom"):
        reason = st.text_input(
            "Reason",
            key=REASON,
            label_visibility="collapsed",
            placeholder="Why is it as it should be?",
            max_chars=500,
            width=260,
            disabled=disabled,
        )
        sent = st.form_submit_button(
            f"Ignore {words.number(count)}",
            key="index_ignore_these",
            icon=":material/visibility_off:",
            disabled=disabled,
        )
    return reason, sent


def _plan(edges: Edges, desk: IndexDesk, findings: Sequence[IndexFinding]) -> None:
    desk.outcome = None
    desk.plan = plan_fixes(findings, now=edges.clock())


def _show_ignored(edges: Edges, desk: IndexDesk, report: AuditReport) -> None:
    if not report.ignored:
        return
    with st.expander(
        f"{words.counted(len(report.ignored), 'finding')} ignored, with a reason", key="index_ignored", type="compact"
    ):
        shown = report.ignored[:_IGNORED_SHOWN]
        names = {number: f"{each.finding.code.value} {entry_name(each.finding)}" for number, each in enumerate(shown)}
        tables.show(
            [
                {
                    "Finding": words.code(each.finding.code.value),
                    "Entry": words.plain(entry_name(each.finding)),
                    "Evidence": " · ".join(words.plain(text) for text in each.finding.evidence),
                    "Reason": words.plain(each.mark.reason),
                    "By": words.plain(each.mark.by),
                    "At (UTC)": words.clock_time(each.mark.at, edges.clock()),
                }
                for each in shown
            ],
            alt=f"Ignored findings: {words.counted(len(shown), 'row')}",
        )
        if len(report.ignored) > len(shown):
            st.markdown(f"The first {len(shown)} are shown; the CSV has all.")
        refusal = index_acts.why_not(edges, shell.operator(), Right.FIX_INDEX)
        with st.form("index_unignore", border=False), st.container(horizontal=True, vertical_alignment="bottom"):
            chosen = st.multiselect("Findings", list(names), key="index_unignore_which",
                                    format_func=names.__getitem__, placeholder="Which ones?", width=420)  # fmt: skip
            reason = st.text_input("Reason", key="index_unignore_reason", max_chars=500, width=260)
            stopped = st.form_submit_button("Stop ignoring", key="index_stop_ignoring", icon=":material/visibility:",
                                            disabled=bool(refusal) or desk.is_busy)  # fmt: skip
            if refusal:
                st.markdown(f":small[{words.plain(refusal)}]", width="content")
        if stopped and chosen:
            findings = [shown[number].finding for number in chosen]
            index_acts.begin_marks(edges, desk, shell.operator(), findings=findings, reason=reason, ignored=False)
            st.rerun()


def _show_downloads(report: AuditReport) -> None:
    if not report.findings and not report.ignored:
        return
    with st.container(horizontal=True, horizontal_alignment="right"):
        st.download_button(
            "CSV",
            data=lambda: index_rows.findings_csv(report),
            file_name="run-index-audit.csv",
            mime="text/csv",
            key="index_csv",
            icon=":material/download:",
            on_click="ignore",
        )
        st.download_button(
            "JSON",
            data=lambda: json.dumps(report_answer(report), indent=2),
            file_name="run-index-audit.json",
            mime="application/json",
            key="index_json",
            icon=":material/download:",
            on_click="ignore",
        )
