"""Whose account on the Hub a page may write to, and with whose token; a token is handed on, never kept.

A page asks for a token only where it is its visitor's own: where it listens on the very machine that the browser runs
on, or on a Space, where Hugging Face itself signs visitors in and says how far the token goes.
"""

from __future__ import annotations

import os
from typing import Literal
from urllib.parse import urlsplit

import gradio as gr
from huggingface_hub import get_token

from resnet.errors import Refusal

#: ``local``: a token is typed, or is the one of this machine. ``space``: of whoever has signed in. ``elsewhere``: none.
Where = Literal["local", "space", "elsewhere"]
LOOPBACK = ("127.0.0.1", "localhost", "::1")


def has_login() -> bool:
    """Whether Hugging Face signs visitors in here: on a Space whose card says ``hf_oauth: true``."""
    return os.environ.get("SYSTEM") == "spaces" and bool(os.environ.get("OAUTH_CLIENT_ID"))


def where(page: gr.Blocks, request: gr.Request | None) -> Where:
    """Where the page is for whoever asks.

    Args:
        page: as it was launched.
        request: the asker's. One that some other site's page has sent, or that came by a name which that site chose,
            is not local, so that no site can write to an account behind its owner's back.
    """
    if has_login():
        return "space"
    if os.environ.get("SYSTEM") == "spaces" or page.share or getattr(page, "server_name", "") not in LOOPBACK:
        return "elsewhere"
    headers = request.headers if request is not None else {}
    origin = headers.get("origin")
    names = [urlsplit(f"//{headers.get('host', '')}").hostname]
    names += [urlsplit(origin).hostname] if origin else []
    forwarded = any(headers.get(name) for name in ("forwarded", "x-forwarded-for", "x-forwarded-host"))
    return "local" if all(name in LOOPBACK for name in names) and not forwarded else "elsewhere"


def token_for(place: Where, typed: str | None, signed_in: gr.OAuthToken | None) -> str:
    """The token to write with.

    Args:
        place: as `where` says.
        typed: what stands in the field.
        signed_in: what Hugging Face gave for the visitor.

    Raises:
        Refusal: if there is none that may be used here.
    """
    if place == "space":
        if signed_in is None:
            raise Refusal("account.sign_in", "Nobody is signed in; sign in with Hugging Face and publish again.")
        return str(signed_in.token)
    if place == "elsewhere":
        raise Refusal(
            "account.elsewhere", "This page is not on your own machine, so it takes no token; download the model and "
            "publish it with `python -m weights publish`.",
        )  # fmt: skip
    token = (typed or "").strip() or get_token()
    if not token:
        raise Refusal(
            "account.no_token", "There is no token to write with; type one that has the right to write, or sign in "
            "with `hf auth login`.",
        )  # fmt: skip
    return token
