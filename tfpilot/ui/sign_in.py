"""Who uses the pages, and what is shown to whom nothing else may be shown (SPEC §8)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import streamlit as st
import structlog
from streamlit.navigation.page import Page

from tfpilot import wiring
from tfpilot.config.fields import PROXY_PROOF_HEADER
from tfpilot.core.model import Door, Operator
from tfpilot.core.sign_in import SignedIn, SignInMode, login_from_proxy, read_claims, sign_in_key, signed_out
from tfpilot.errors import MissingRightError, ProxyError, RefusedError, SignInError, StorageError, TfPilotError
from tfpilot.operations.admission import admit
from tfpilot.ui import sign_in_wanted, words
from tfpilot.ui.sign_in_wanted import Wanted
from tfpilot.wiring import Portal

LOOK_EVERY: Final = timedelta(seconds=30)
"""How often a tab asks the bucket whether its sign-in was ended."""
TRUSTED_FOR: Final = timedelta(minutes=5)
"""For how long the bucket's last answer counts where it gives no other."""

_LOOKED: Final = "sign_in_looked"
_PAGE: Final = "sign_in_page"
_UNTOLD: Final = "sign_in_untold"
_TOLD: Final = "sign_in_told"

_LOG: Final = structlog.get_logger("tfpilot.sign_in")


@dataclass(frozen=True, slots=True)
class _Look:
    """When this tab last asked about its sign-in, and when it last learned that it was not ended."""

    key: str
    tried_at: datetime
    answered_at: datetime


def operator() -> Operator:
    """Who uses the page now.

    Raises SignInError (nobody, or the sign-in does not count any more), ProxyError, another RefusedError (they may not
    come in), GitHubError or StorageError (it could not be asked whether they may).
    """
    here = wiring.portal()
    mode = here.settings.auth
    if mode is SignInMode.PROXY:
        return admit(here.edges, _login_from_proxy(here), door=Door.PAGE)
    if mode is SignInMode.OIDC:
        who = _signed_in(here)
        return admit(here.edges, who.login, door=Door.PAGE, signed_in_at=who.at)
    return _local_operator()


def gate(page: Page, pages: Sequence[Page]) -> None:
    """Returns where the visitor may see pages; else shows why not with the way to sign in, and ends the script.

    Raises as `operator` for what signing in does not help with.
    """
    st.session_state[_PAGE] = page.url_path
    try:
        who = operator()
    except (SignInError, ProxyError, MissingRightError) as refusal:
        if wiring.portal().settings.auth is SignInMode.LOCAL:
            raise
        _log_once(f"not let in: {refusal.message}")
        _show_way_in(refusal)
        st.stop()
    _log_once(f"came in: {who.login} as {who.role.value}")
    if wiring.portal().settings.auth is SignInMode.OIDC:
        _go_to_what_was_wanted(pages)
        _watch()


def show_way_out() -> None:
    """The button that signs out, where one signs in."""
    if wiring.portal().settings.auth is SignInMode.OIDC:
        st.button("Sign out", key="sign_in_out", icon=":material/logout:", type="tertiary", on_click=_sign_out)


def show_sign_in_again(*, key: str) -> None:
    """The button for a fresh sign-in, which leads back to this page."""
    st.button("Sign in again", key=key, icon=":material/login:", type="primary", on_click=_begin)


# Who it is


def _local_operator() -> Operator:
    address = st.context.ip_address  # None where the visitor is on this machine
    if address is not None:
        raise RefusedError(
            f"A visitor from {address} may not come in: with TFPILOT_AUTH=local the portal serves this machine only",
            "Open it on the machine it runs on, for example through an SSH tunnel.",
        )
    return wiring.LOCAL_OPERATOR


def _login_from_proxy(here: Portal) -> str:
    headers, secret = st.context.headers, here.settings.proxy_secret
    return login_from_proxy(
        headers.get_all(here.settings.proxy_header or ""),
        headers.get_all(PROXY_PROOF_HEADER),
        secret=secret.get_secret_value() if secret is not None else "",
    )


def _signed_in(here: Portal) -> SignedIn:
    claims = st.user.to_dict()
    if claims.get("is_logged_in") is not True:
        raise SignInError("Nobody has signed in", "Sign in.")
    who = read_claims(claims, login_claim=here.settings.login_claim, now=here.edges.clock())
    _check_not_ended(here, who)
    return who


def _check_not_ended(here: Portal, who: SignedIn) -> None:
    """Raises SignInError where its owner has signed out of it, in whichever process; StorageError where this tab has
    not learned for a while whether they did."""
    sign_outs, now = here.edges.sign_outs, here.edges.clock()
    if sign_outs.has_here(who.key):
        raise signed_out()
    last: _Look | None = st.session_state.get(_LOOKED)
    if last is not None and last.key != who.key:
        last = None
    is_trusted = last is not None and now - last.answered_at < TRUSTED_FOR
    if last is not None and is_trusted and now - last.tried_at < LOOK_EVERY:
        return
    try:
        is_ended = sign_outs.has(who.key)
    except StorageError as error:
        if last is None or not is_trusted:
            raise
        _LOG.warning("whether a sign-in was ended could not be asked", error=error.message)
        st.session_state[_LOOKED] = _Look(who.key, tried_at=now, answered_at=last.answered_at)
        return
    if is_ended:
        raise signed_out()
    st.session_state[_LOOKED] = _Look(who.key, tried_at=now, answered_at=now)


@st.fragment(run_every=LOOK_EVERY)
def _watch() -> None:
    """An open tab ends with its sign-in, also where nobody clicks."""
    try:
        operator()
    except (SignInError, MissingRightError):
        st.rerun()
    except TfPilotError as error:  # whoever clicks next is told
        _LOG.warning("whether a sign-in still counts could not be asked", error=error.message)


# What is shown instead of pages


def _show_way_in(refusal: RefusedError) -> None:
    here = wiring.portal()
    with st.container(width=520, gap="medium"):
        st.title("TfPilot Ops")
        st.markdown("Understand, sync and repair the requests of a Terraform platform.")
        if here.settings.auth is SignInMode.PROXY:
            _show_refusal(refusal)
            return
        claims = st.user.to_dict()
        if claims.get("is_logged_in") is True:
            _show_refusal(refusal)
        _show_untold()
        wanted = _wanted(here)
        is_kept = sign_in_wanted.keep(wanted)
        with st.container(horizontal=True, vertical_alignment="center"):
            label = "Sign in as somebody else" if isinstance(refusal, MissingRightError) else "Sign in"
            st.button(label, key="sign_in", icon=":material/login:", type="primary", on_click=_begin)
            if isinstance(refusal, MissingRightError):
                st.button("Sign out", key="sign_in_out", icon=":material/logout:", on_click=_sign_out)
        if wanted.path or wanted.query:
            st.markdown(
                ":small[You then come to the page that you asked for.]"
                if is_kept
                else ":small[You then come to the first page. Open your link again there.]"
            )


def _show_refusal(refusal: RefusedError) -> None:
    text = words.plain(words.sentence(refusal.message))
    if isinstance(refusal, SignInError):
        st.warning(text, title="Please sign in again", icon=":material/lock_clock:")
        return
    st.error(f"{text}\n\n{words.plain(words.sentence(refusal.hint))}", title="You may not come in",
             icon=":material/lock:")  # fmt: skip


def _show_untold() -> None:
    """That a sign-out is known to this process only."""
    untold: TfPilotError | None = st.session_state.get(_UNTOLD)
    if untold is None:
        return
    st.warning(
        f"You are signed out here, but that could not be stored: {words.plain(words.sentence(untold.message))} Another "
        "process of the portal would still take a copy of your cookie, for 12 hours after you signed in.",
        icon=":material/cloud_off:",
    )
    st.button("Store it now", key="sign_in_store", icon=":material/refresh:", on_click=_sign_out)


# What a click does


def _begin() -> None:
    """Off to the provider, and back to this page."""
    sign_in_wanted.keep(_wanted(wiring.portal()))
    st.login()


def _sign_out() -> None:
    """Ends this sign-in everywhere, then in this browser."""
    here = wiring.portal()
    claims: Mapping[str, Any] = st.user.to_dict()
    try:
        here.edges.sign_outs.add(sign_in_key(claims), at=here.edges.clock())
    except StorageError as error:
        _LOG.error("a sign-out could not be stored", error=error.message)
        st.session_state[_UNTOLD] = error
        return
    _LOG.info("signed out", sign_in=sign_in_key(claims)[:12])
    st.session_state.pop(_UNTOLD, None)
    st.logout()


def _wanted(here: Portal) -> Wanted:
    return Wanted(st.session_state.get(_PAGE, ""), st.query_params.to_dict(), here.edges.clock())


def _go_to_what_was_wanted(pages: Sequence[Page]) -> None:
    """Leaves for the page that was asked for before signing in; only from where the provider leads back to."""
    if st.session_state[_PAGE] or st.query_params.to_dict():
        return
    wanted = sign_in_wanted.take(now=wiring.portal().edges.clock())
    page = next((page for page in pages if wanted is not None and page.url_path == wanted.path), None)
    if wanted is not None and page is not None and (wanted.path or wanted.query):
        st.switch_page(page, query_params=dict(wanted.query))


def _log_once(what: str) -> None:
    """One line for each thing that becomes so in a tab."""
    if st.session_state.get(_TOLD) != what:
        st.session_state[_TOLD] = what
        _LOG.info("visit", outcome=what)
