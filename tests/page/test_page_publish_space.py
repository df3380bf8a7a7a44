"""On a Space: published with the token that Hugging Face gave for the visitor, and with no other."""

from __future__ import annotations

import base64
import hashlib
import json
import time
from collections.abc import Iterator
from typing import Any

import itsdangerous
import pytest
from playwright.sync_api import Browser, Page, expect

from tests import local_models
from tests.hub.local_hub import LocalHub
from tests.page.conftest import TOKEN, Site, started
from tests.page.test_page_publish import open_part, push, train

pytestmark = pytest.mark.page

SECRET = "of-the-space"
#: What a Space's builder sets for a card that says ``hf_oauth: true``. The Space's own token must not be used.
SPACE = {
    "SYSTEM": "spaces", "SPACE_ID": "owner/space", "SPACE_HOST": "127.0.0.1", "OAUTH_CLIENT_ID": "client",
    "OAUTH_CLIENT_SECRET": SECRET, "OAUTH_SCOPES": "openid profile contribute-repos",
    "OPENID_PROVIDER_URL": "http://127.0.0.1:9", "HF_TOKEN": "hf_of_the_space",
}  # fmt: skip


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A Hub on which TOKEN is the visitor's, and the Space's own is none."""
    root = tmp_path_factory.mktemp("hub")
    local_models.write_base(root / "imagenet/base")
    with LocalHub(root, token=TOKEN) as served:
        yield served


@pytest.fixture(scope="module")
def site(hub: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with started(hub, tmp_path_factory.mktemp("space"), **SPACE) as served:
        yield served


@pytest.fixture
def page(browser: Browser, site: Site) -> Iterator[Page]:
    """A visitor's; what Gradio adds to a page on a Space may want fonts from elsewhere, which is not ours to forbid."""
    context = browser.new_context(locale="en-US", viewport={"width": 1280, "height": 900})
    context.set_default_timeout(30_000)
    context.route(lambda url: not url.startswith((site.url, "data:", "blob:")), lambda route: route.abort())
    opened = context.new_page()
    opened.goto(site.url)
    yield opened
    context.close()


def session(token: str, expires_in: float) -> str:
    """The cookie that Gradio sets when Hugging Face has signed a visitor in."""
    person = {
        "name": "Tester",
        "preferred_username": "tester",
        "profile": "https://huggingface.co/tester",
        "picture": "",
    }
    signed_in = {
        "access_token": token, "scope": SPACE["OAUTH_SCOPES"], "expires_at": int(time.time() + expires_in),
        "userinfo": person,
    }  # fmt: skip
    data = base64.b64encode(json.dumps({"oauth_info": signed_in}).encode())
    key = hashlib.sha256(f"{SECRET}-v4".encode()).hexdigest()
    return itsdangerous.TimestampSigner(key).sign(data).decode()


def sign_in(page: Page, site: Site, expires_in: float = 3600) -> None:
    page.context.clear_cookies(name="session")
    page.context.add_cookies([{"name": "session", "value": session(TOKEN, expires_in), "url": site.url}])
    page.reload()
    page.wait_for_selector("#facts .facts b")
    page.get_by_role("tab").nth(1).click()
    open_part(page)


def test_signed_in_a_visitor_publishes_in_their_own_account(page: Page, hub: Any, site: Site) -> None:
    train(page)
    open_part(page)
    expect(page.locator("#publish-note")).to_contain_text("Sign in below")
    expect(page.locator("#sign-in")).to_contain_text("Sign in with Hugging Face")
    expect(page.locator("#publish-token")).to_have_count(0)
    push(page, "tester/shapes")
    expect(page.locator("#published [role=alert]")).to_contain_text("Nobody is signed in")
    sign_in(page, site, expires_in=-1)
    push(page, "tester/shapes")
    expect(page.locator("#published [role=alert]")).to_contain_text("Nobody is signed in")
    assert not any("/api/repos" in path for _, path in hub.log)

    sign_in(page, site)
    expect(page.locator("#sign-in")).to_contain_text("tester")
    name = page.locator("#publish-name input, #publish-name textarea")
    expect(name).to_have_value("tester/drawn-shapes-resnet")
    page.locator("#publish-start").click()
    expect(page.locator("#published .done")).to_contain_text("for you alone: tester/drawn")
    assert "predict.py" in hub.files("models", "tester/drawn-shapes-resnet")
    assert hub.private == {"tester/drawn-shapes-resnet"}
    assert site.log is not None
    said = page.content() + site.log.read_text()
    assert TOKEN not in said and SPACE["HF_TOKEN"] not in said
