"""A lead lets a program be told of what happens, tries it, and sees what became of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from standardwebhooks import Webhook

from shared.domain import ProjectId
from shared.system import System
from tests.browser.axe import assert_usable
from tests.browser.conftest import PHONE, Visitor
from tests.integration.webhooks_support import LOOPBACK, Post
from tests.receiver import Receiver, Reply, receiver
from tests.waiting import wait_for
from tests.world import build

Visit = Callable[..., Visitor]
LOOKS = [{"color_scheme": "light"}, {"color_scheme": "dark", **PHONE}]


@pytest.fixture(autouse=True)
def _loopback_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WINNOW_WEBHOOK_ALLOW_NETWORKS", f'["{LOOPBACK[0]}"]')


@pytest.fixture
def there() -> Iterator[Receiver]:
    with receiver() as found:
        yield found


@pytest.fixture
def delivering(system: System) -> Iterator[None]:
    """As the api does beside the pages."""
    deliverer = Post.of(system, ProjectId(1)).deliverer
    deliverer.start()
    yield
    deliverer.stop()


def look_again_until(page: Page, text: str) -> None:
    row = page.get_by_role("table")

    def there() -> bool:
        page.get_by_role("link", name="Look again").click()
        page.wait_for_load_state()
        return text in row.inner_text()

    wait_for(there, text, 20)


def test_a_webhook_is_made_tried_and_mended(
    visit: Visit, system: System, there: Receiver, delivering: None, picture_of: Callable[[Page, str], Path]
) -> None:
    build(system, pool=1, name="Garden")
    there.reply = lambda heard: Reply(503, body=b"down for the night")
    page = visit().page
    page.get_by_role("link", name="Webhooks").click()
    page.get_by_label("Of which project").select_option(label="Garden")
    page.get_by_label("URL").fill(there.url())
    page.get_by_role("checkbox", name=re.compile("a round is over")).check()
    page.get_by_role("button", name="Make it").click()
    secret = page.locator(".secret").inner_text()
    page.get_by_role("button", name="Send a test message").click()
    look_again_until(page, "503")
    expect(page.locator(".secret")).to_have_count(0)
    there.reply = lambda heard: Reply()
    page.get_by_role("link", name=re.compile("webhook.ping")).click()
    expect(page.get_by_text("down for the night")).to_be_visible()
    page.get_by_role("button", name="Deliver again").click()
    expect(page.get_by_role("status")).to_contain_text("delivered again")
    page.get_by_role("navigation", name="Where you are").get_by_role("link", name="1").click()
    look_again_until(page, "delivered")
    picture_of(page, "webhook.png")
    assert len(there.heard) == 2
    Webhook(secret).verify(there.heard[-1].body, dict(there.heard[-1].headers))


@pytest.mark.parametrize("look", LOOKS, ids=["desktop-light", "phone-dark"])
def test_the_pages_can_be_used_by_everybody(
    visit: Visit, system: System, there: Receiver, look: dict[str, object], tmp_path: Path
) -> None:
    world = build(system, pool=1, name="Garden")
    there.reply = lambda heard: Reply(500, body=b"<html>an error page that is longer than most</html>" * 9)
    post = Post.of(system, world.id)
    post.endpoint(there.url())
    long = there.url().replace("/hook", "/a-long-path" * 20)
    post.endpoint(long)
    post.emit(round=1)
    post.step()
    page = visit(**look).page
    for path in ("/webhooks", "/webhooks/1", "/webhooks/2", "/webhooks/1/deliveries/1"):
        page.goto(path)
        page.wait_for_load_state("networkidle")
        wider = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wider <= 0, f"{path} is {wider} pixels wider than the screen"
        assert_usable(page)
        page.screenshot(path=tmp_path / f"{path.replace('/', '_')}.png", full_page=True)
