"""People, invitations and keys as they are used in a browser, which names its origin and so needs form tokens."""

from __future__ import annotations

from collections.abc import Callable

from playwright.sync_api import Browser, expect

from shared.db import members, users
from shared.domain import Role
from shared.system import System
from tests.browser.axe import assert_usable
from tests.browser.conftest import Visitor
from tests.browser.gallery import PASSWORD, digits, hang, open_for_labelling
from tests.browser.labelling_support import TAKEN, all_saved, counts, open_page, press
from tests.world import World

Visit = Callable[..., Visitor]


def project(system: System) -> World:
    return open_for_labelling(hang(system, digits(24), ["even", "odd"], name="Numbers", initial=12))


def test_somebody_is_invited_joins_and_labels(visit: Visit, system: System, chromium: Browser, address: str) -> None:
    world = project(system)
    page = visit().page
    page.goto(f"/projects/{world.id}/people")
    page.get_by_label("For whom").fill("Emil")
    page.get_by_role("button", name="Make a link").click()
    link = page.get_by_label("Link of the invitation").input_value()
    assert link.startswith(address)
    guest = chromium.new_context(base_url=address).new_page()
    guest.goto(link)
    assert_usable(guest)
    guest.get_by_label("User name").fill("emil")
    guest.get_by_label("Your name").fill("Emil K.")
    guest.get_by_label("Password, 8").fill("quite long enough")
    guest.get_by_label("The same again").fill("quite long enough")
    guest.get_by_role("button", name="Make my account").click()
    guest.wait_for_url(f"**/projects/{world.id}/label")
    expect(guest.get_by_alt_text(TAKEN)).to_be_visible()
    press(guest, "1")
    all_saved(guest)
    guest.goto("/")
    expect(guest.get_by_role("navigation", name="Winnow")).not_to_contain_text("System")
    guest.context.close()
    page.reload()
    expect(page.get_by_role("table").first).to_contain_text("Emil K.")
    with system.database.transaction() as tx:
        emil = users.credentials(tx, "emil")
        assert emil is not None and members.of_user(tx, emil.user.id)[world.id].role is Role.ANNOTATOR


def test_a_key_is_made_with_the_keyboard_shown_once_and_revoked(visit: Visit, system: System) -> None:
    world = project(system)
    page = visit().page
    page.goto(f"/projects/{world.id}/keys")
    page.get_by_label("What it is for").focus()
    page.keyboard.type("nightly export")
    page.keyboard.press("Enter")
    shown = page.get_by_label("The new key")
    assert shown.input_value().startswith("wnw_")
    assert_usable(page)
    page.goto(f"/projects/{world.id}/keys")
    expect(page.get_by_label("The new key")).to_have_count(0)
    page.get_by_label("Revoke nightly export").click()
    page.get_by_role("button", name="Revoke wnw_").click()
    expect(page.get_by_role("status")).to_contain_text("revoked")


def test_a_page_goes_on_after_its_reader_signed_in_anew_in_another_tab(visit: Visit, system: System) -> None:
    world = project(system)
    visitor = visit()
    page = visitor.page
    open_page(visitor, world)
    other = visitor.context.new_page()
    other.goto("/account")
    other.get_by_role("button", name="Sign out").click()
    other.get_by_label("User name").fill("ann")
    other.get_by_label("Password").fill(PASSWORD)
    other.get_by_role("button", name="Sign in").click()
    other.wait_for_url("**/")
    page.bring_to_front()
    press(page, "1")
    all_saved(page)
    assert counts(world).human == 1
    # The one refusal, after which the page took the new token, is the only thing that the browser complains about.
    assert len(visitor.complaints) <= 1
    visitor.complaints.clear()
