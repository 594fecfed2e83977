"""What must hold before the server starts: that nobody is let in whom the settings do not know."""

from __future__ import annotations

from typing import Final

import streamlit as st

from tfpilot.config import check_provider, check_sign_in, load_settings
from tfpilot.config.fields import LOOPBACK
from tfpilot.core.sign_in import SignInMode
from tfpilot.errors import ConfigError

_TRUSTED_HEADERS: Final = "server.trustedUserHeaders"


def check_start() -> None:
    """Returns where visitors can be told apart, or only this machine is served. Raises ConfigError."""
    try:
        settings = load_settings()
    except ConfigError:
        if is_on_loopback():
            return  # the pages say what is wrong with the settings, to this machine
        raise
    if settings.auth is SignInMode.LOCAL:
        check_address()
        return
    check_sign_in(settings)
    if settings.auth is SignInMode.OIDC:
        # Streamlit would let a header that anybody can send take the place of what the provider says.
        if st.config.get_option(_TRUSTED_HEADERS):
            raise ConfigError(
                f"{_TRUSTED_HEADERS} is set in Streamlit's configuration, and TFPILOT_AUTH=oidc does not go with it.",
                "Remove it, or use TFPILOT_AUTH=proxy.",
            )
        check_provider(st.secrets["auth"] if st.secrets.load_if_toml_exists() and "auth" in st.secrets else None)


def check_address() -> None:
    """Returns where the server listens on loopback only. Raises ConfigError for any other address."""
    if not is_on_loopback():
        address = st.config.get_option("server.address")
        raise ConfigError(
            f"With TFPILOT_AUTH=local the portal does not listen on {address or 'every address'}: whoever reached it "
            "would be an admin.",
            "Set STREAMLIT_SERVER_ADDRESS=127.0.0.1, leave it to .streamlit/config.toml, or have visitors sign in "
            "(docs/SIGN_IN.md).",
        )


def is_on_loopback() -> bool:
    """Whether the server can be reached from this machine only."""
    return st.config.get_option("server.address") in LOOPBACK
