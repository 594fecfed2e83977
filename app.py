"""The process: the frame of all pages for Streamlit's script runs, and the ASGI application for the server."""

from __future__ import annotations

import streamlit as st

if __name__ == "__main__":
    from tfpilot.ui import shell, sign_in

    shell.configure_page("TfPilot Ops")
    requests = st.Page("pages/requests.py", title="Requests", icon=":material/inbox:", default=True)
    request = st.Page("pages/request.py", title="Request")
    run_index = st.Page("pages/run_index.py", title="Run index", icon=":material/tag:")
    locks = st.Page("pages/locks.py", title="Locks", icon=":material/lock:")
    dev_reset = st.Page("pages/dev_reset.py", title="Dev reset", icon=":material/restart_alt:")
    pages = [requests, request, run_index, locks, dev_reset]
    page = st.navigation(pages, position="hidden")
    with shell.explained("app"):
        sign_in.gate(page, pages)
        shell.sidebar({"TfPilot Ops": [requests, run_index, locks], "Danger zone": [dev_reset]})
        shell.banner()
        page.run()
else:
    import sys
    from pathlib import Path

    from streamlit.runtime.pages_manager import PagesManager

    from tfpilot import wiring
    from tfpilot.errors import ConfigError
    from tfpilot.http import guards, lifespan, routes
    from tfpilot.ui import shell
    from tfpilot.ui.sign_in_start import check_start

    # Else a link to a page, as the first visit of a new process, runs that page's file alone: until this script has run
    # once, Streamlit takes pages/ for its older way of navigation.
    PagesManager.uses_pages_directory = False

    try:
        check_start()
        shell.tell_address()
    except ConfigError as error:
        sys.exit(f"{error.message} {error.hint}")

    # The server finds this call in the source, so it stays a plain assignment.
    app = st.App(Path(__file__).resolve(), routes=routes, middleware=guards(wiring.door_rules()), lifespan=lifespan)
