"""The page that somebody wanted before they signed in: the provider sends everybody back to the first page.

It is kept here by the token that Streamlit gives a browser against forged requests, which outlives the sign-in. Another
process knows nothing of it.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import streamlit as st
from streamlit.web.server.starlette.starlette_app_utils import decode_xsrf_token_string
from streamlit.web.server.starlette.starlette_server_config import XSRF_COOKIE_NAME

KEPT_FOR: Final = timedelta(minutes=15)

_AT_MOST: Final = 1000
_LONGEST_QUERY: Final = 2000
_LOCK: Final = threading.Lock()


@dataclass(frozen=True, slots=True)
class Wanted:
    """One page by its path, with its query, and when somebody wanted it."""

    path: str
    query: Mapping[str, str]
    at: datetime


_WANTED: Final[OrderedDict[bytes, Wanted]] = OrderedDict()


def keep(wanted: Wanted) -> bool:
    """Keeps it for this browser; False where that cannot be done."""
    browser = _browser()
    if browser is None or sum(len(name) + len(value) for name, value in wanted.query.items()) > _LONGEST_QUERY:
        return False
    with _LOCK:
        _WANTED[browser] = wanted
        _WANTED.move_to_end(browser)
        while len(_WANTED) > _AT_MOST:
            _WANTED.popitem(last=False)
    return True


def take(*, now: datetime) -> Wanted | None:
    """What this browser wanted a short while ago, once."""
    browser = _browser()
    with _LOCK:
        wanted = _WANTED.pop(browser, None) if browser is not None else None
    return wanted if wanted is not None and now - wanted.at <= KEPT_FOR else None


def _browser() -> bytes | None:
    """The token of this browser; None where it has none. Its cookie looks different each time."""
    cookie = st.context.cookies.get(XSRF_COOKIE_NAME)
    if not cookie:
        return None
    token, _ = decode_xsrf_token_string(cookie)
    return token or None
