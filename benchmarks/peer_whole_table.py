"""A page as it is usually written for Streamlit: the whole table goes to the browser, and again after each filter."""

from __future__ import annotations

import os

import pandas as pd
import streamlit as st

from benchmarks.measure import request_document


@st.cache_resource
def all_requests() -> pd.DataFrame:
    """Nine columns of every request."""
    columns = ("id", "project", "environment", "module", "status", "prNumber", "branchName", "targetRepo", "updatedAt")
    documents = (request_document(number) for number in range(int(os.environ["REQUESTS"])))
    return pd.DataFrame([{name: document[name] for name in columns} for document in documents])


requests = all_requests()
environments = [name for name in ("dev", "stage", "prod") if st.button(name, key=name)]
shown = requests[requests["environment"].isin(environments)] if environments else requests
st.dataframe(shown, hide_index=True, height=700)
st.markdown(f"{len(shown)} requests of {', '.join(environments) or 'all environments'}")
