"""With whose token a page writes: never with one that its visitor can't see, never for another site."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest

from resnet.errors import Refusal
from ui.accounts import has_login, token_for, where
from ui.publish_part import _slug


def asked(**headers: str) -> Any:
    return SimpleNamespace(headers={name.replace("_", "-"): value for name, value in headers.items()})


@pytest.fixture(autouse=True)
def nobody_signed_in(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_OIDC_RESOURCE", "SYSTEM", "OAUTH_CLIENT_ID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", "/nowhere/token")


@pytest.mark.parametrize(
    ("server", "share", "headers", "place"),
    [
        ("127.0.0.1", False, {"host": "127.0.0.1:7860"}, "local"),
        ("127.0.0.1", False, {"host": "localhost:7860", "origin": "http://localhost:7860"}, "local"),
        ("::1", False, {"host": "[::1]:7860"}, "local"),
        ("127.0.0.1", True, {"host": "127.0.0.1:7860"}, "elsewhere"),
        ("0.0.0.0", False, {"host": "127.0.0.1:7860"}, "elsewhere"),
        ("192.168.0.7", False, {"host": "192.168.0.7:7860"}, "elsewhere"),
        # A name that another site chose for this machine, and another site's script.
        ("127.0.0.1", False, {"host": "evil.example:7860"}, "elsewhere"),
        ("127.0.0.1", False, {"host": "127.0.0.1:7860", "origin": "https://evil.example"}, "elsewhere"),
        ("127.0.0.1", False, {"host": "127.0.0.1:7860", "origin": "null"}, "elsewhere"),
        ("127.0.0.1", False, {"host": "127.0.0.1.evil.example"}, "elsewhere"),
        # Behind a proxy that hides who asks.
        ("127.0.0.1", False, {"host": "127.0.0.1:7860", "x_forwarded_for": "9.9.9.9"}, "elsewhere"),
        ("127.0.0.1", False, {}, "elsewhere"),
    ],
)
def test_a_page_is_local_only_to_who_sits_at_the_machine(
    server: str, share: bool, headers: dict[str, str], place: str
) -> None:
    page: Any = SimpleNamespace(server_name=server, share=share)
    assert where(page, asked(**headers)) == place


def test_a_page_that_is_not_launched_is_nobodys() -> None:
    with gr.Blocks() as page:
        pass
    assert where(page, asked(host="127.0.0.1")) == "elsewhere"


def test_a_space_signs_in_where_its_card_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    page: Any = SimpleNamespace(server_name="127.0.0.1", share=False)
    monkeypatch.setenv("SYSTEM", "spaces")
    assert not has_login() and where(page, asked(host="127.0.0.1")) == "elsewhere"
    monkeypatch.setenv("OAUTH_CLIENT_ID", "x")
    assert has_login() and where(page, asked(host="someone.hf.space")) == "space"


def test_the_token_of_the_machine_is_for_its_own_page_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_machine")
    signed_in = gr.OAuthToken("hf_visitor", "openid contribute-repos", 2**40)
    assert token_for("local", "", None) == "hf_machine"
    assert token_for("local", " hf_typed ", None) == "hf_typed"
    assert token_for("space", "", signed_in) == "hf_visitor"
    for place, typed, code in (
        ("space", "hf_typed", "account.sign_in"),
        ("elsewhere", "hf_typed", "account.elsewhere"),
        ("elsewhere", "", "account.elsewhere"),
    ):
        with pytest.raises(Refusal) as caught:
            token_for(place, typed, None)  # type: ignore[arg-type]
        assert caught.value.code == code
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(Refusal) as caught:
        token_for("local", " ", None)
    assert caught.value.code == "account.no_token"


@pytest.mark.parametrize(
    ("name", "slug"),
    [("drawn-shapes", "drawn-shapes-resnet"), ("Blüten & Co.zip", "Bluten-Co-zip-resnet"), ("花", "my-resnet"),
     ("../..", "my-resnet"), ("_x_", "x-resnet"), ("__", "my-resnet"), ("a" * 300, "a" * 60 + "-resnet")],
)  # fmt: skip
def test_a_dataset_gives_a_name_that_can_be(name: str, slug: str) -> None:
    assert _slug(name) == slug
