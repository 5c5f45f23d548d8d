"""What an annotator does all day, in a browser."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import APIResponse, Page, Route, expect

from shared.db import tasks
from shared.system import System
from tests.browser.gallery import digits, hang, open_for_labelling, photos
from tests.browser.labelling_support import TAKEN, Visit, all_saved, by_class, counts, open_page, press, shown
from tests.waiting import wait_for
from tests.world import World


@pytest.fixture
def world(system: System) -> World:
    return open_for_labelling(hang(system, digits(60), [f"digit {n}" for n in range(10)], name="Digits", initial=40))


def test_ten_images_are_labelled_by_keyboard_and_the_last_is_taken_back(visit: Visit, world: World) -> None:
    page = open_page(visit(), world)
    seen = [press(page, key) for key in "1234567890"]
    assert len(set(seen)) == 10
    expect(page.locator("#answered")).to_have_text("10")
    all_saved(page)
    assert by_class(world) == [1] * 10
    page.keyboard.press("Backspace")
    expect(page.locator("#answered")).to_have_text("9")
    expect(page.get_by_alt_text(TAKEN)).to_have_attribute("src", seen[-1])
    assert by_class(world)[9] == 0
    press(page, "1")
    all_saved(page)
    assert by_class(world) == [2] + [1] * 8 + [0]


def test_ten_answers_can_be_taken_back_and_not_one_more(visit: Visit, world: World) -> None:
    page = open_page(visit(), world)
    seen = [press(page, "1") for _ in range(11)]
    all_saved(page)
    for before in reversed(seen[1:]):
        page.keyboard.press("Backspace")
        expect(page.get_by_alt_text(TAKEN)).to_have_attribute("src", before)
    wait_for(lambda: counts(world).human == 1, "ten answers to be withdrawn")


def test_an_older_answer_is_taken_back_by_its_picture(visit: Visit, world: World) -> None:
    page = open_page(visit(), world)
    first = press(page, "1")
    press(page, "2")
    all_saved(page)
    page.get_by_role("button", name="Take back: digit 0").click()
    expect(page.get_by_alt_text(TAKEN)).to_have_attribute("src", first)
    assert by_class(world)[:2] == [0, 1]


def test_space_skips_and_the_image_comes_again_at_the_end(visit: Visit, world: World) -> None:
    page = open_page(visit(), world)
    skipped = press(page, "Space")
    expect(page.locator("#answered")).to_have_text("0")
    seen = [press(page, "1") for _ in range(39)]
    assert skipped not in seen
    expect(page.get_by_alt_text(TAKEN)).to_have_attribute("src", skipped)


def test_a_click_answers_and_space_still_skips_after_it(visit: Visit, world: World) -> None:
    page = open_page(visit(), world)
    before = shown(page)
    page.get_by_role("button", name="digit 4").click()
    expect(page.get_by_alt_text(TAKEN)).not_to_have_attribute("src", before)
    press(page, "Space")
    expect(page.locator("#answered")).to_have_text("1")
    all_saved(page)
    assert by_class(world) == [0, 0, 0, 0, 1, 0, 0, 0, 0, 0]


def test_the_help_opens_with_its_key_and_no_answer_is_given_behind_it(visit: Visit, world: World) -> None:
    page = open_page(visit(), world)
    before = shown(page)
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("1")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    assert shown(page) == before
    press(page, "1")
    expect(page.locator("#answered")).to_have_text("1")


def test_answers_given_without_a_connection_all_arrive_once(visit: Visit, world: World) -> None:
    visitor = visit()
    page = open_page(visitor, world)
    press(page, "1")
    all_saved(page)
    visitor.context.set_offline(True)
    for key in "234":
        press(page, key)
    expect(page.locator("#sent")).to_have_text("3 answers waiting to be sent")
    assert counts(world).human == 1
    visitor.context.set_offline(False)
    all_saved(page)
    assert by_class(world) == [1, 1, 1, 1, 0, 0, 0, 0, 0, 0]
    expect(page.locator("#answered")).to_have_text("4")
    visitor.complaints[:] = [text for text in visitor.complaints if "ERR_INTERNET_DISCONNECTED" not in text]


def test_a_reload_goes_on_with_the_same_image_and_loses_no_answer(visit: Visit, world: World) -> None:
    visitor = visit()
    page = open_page(visitor, world)
    press(page, "1")
    all_saved(page)
    page.route("**/annotation", lambda route: route.abort("connectionfailed"))
    press(page, "2")
    before = shown(page)
    page.unroute("**/annotation")
    page.reload()
    expect(page.get_by_alt_text(TAKEN)).to_have_attribute("src", before)
    all_saved(page)
    assert by_class(world)[:2] == [1, 1]
    seen = [press(page, "3") for _ in range(3)]
    assert len(set(seen)) == 3
    wait_for(lambda: by_class(world)[:3] == [1, 1, 3], "the answers after the reload")
    visitor.complaints[:] = [text for text in visitor.complaints if "ERR_CONNECTION_FAILED" not in text]


def test_an_answer_that_arrives_while_a_reloaded_page_asks_for_tasks_is_not_asked_again(
    visit: Visit, world: World
) -> None:
    visitor = visit()
    page = open_page(visitor, world)
    answers: list[Route] = []
    leases: list[tuple[Route, APIResponse]] = []
    reloaded = False

    def hold_once_reloaded(route: Route) -> None:
        if reloaded:
            answers.append(route)
        else:
            route.abort("connectionfailed")

    page.route("**/annotation", hold_once_reloaded)
    answered = press(page, "1")
    before = shown(page)
    page.route("**/leases", lambda route: leases.append((route, route.fetch())))
    page.reload(wait_until="commit")
    reloaded = True
    deadline = time.monotonic() + 20
    while not (answers and leases):
        assert time.monotonic() < deadline, "the page has asked for nothing"
        page.wait_for_timeout(20)
    asked, reply = leases[0]
    assert answered in [task["image"]["url"] for task in reply.json()["tasks"]], "its answer has not yet come"
    answers[0].continue_()
    all_saved(page)
    asked.fulfill(response=reply)
    expect(page.get_by_alt_text(TAKEN)).to_have_attribute("src", before)
    visitor.complaints[:] = [text for text in visitor.complaints if "ERR_CONNECTION_FAILED" not in text]


def test_an_answer_that_was_heard_but_never_acknowledged_is_recorded_once(visit: Visit, world: World) -> None:
    visitor = visit()
    page = open_page(visitor, world)
    heard: list[int] = []

    def lose_the_reply(route: Route) -> None:
        if heard:
            route.continue_()
        else:
            heard.append(route.fetch().status)
            route.abort("connectionreset")

    page.route("**/annotation", lose_the_reply)
    press(page, "5")
    all_saved(page)
    assert heard == [201] and by_class(world)[4] == 1
    visitor.complaints[:] = [text for text in visitor.complaints if "ERR_CONNECTION_RESET" not in text]


def test_an_answer_that_comes_too_late_is_dropped_with_a_word(visit: Visit, world: World) -> None:
    visitor = visit()
    page = open_page(visitor, world)
    with world.system.ledger.transaction() as tx:
        tx.run("UPDATE tasks SET fence = fence + 1 WHERE state = 'leased'")
    press(page, "1")
    expect(page.locator("#toast")).to_contain_text("came too late")
    expect(page.locator("#answered")).to_have_text("0")
    assert counts(world).human == 0
    visitor.complaints[:] = [text for text in visitor.complaints if "409" not in text]


def test_leaving_the_page_gives_the_tasks_back(visit: Visit, world: World) -> None:
    page = open_page(visit(), world)

    def held() -> int:
        with world.system.ledger.transaction() as tx:
            return tasks.live_counts(tx, world.id).leased

    wait_for(lambda: held() == 6, "the image on show and five ahead to be held")
    page.goto("/")
    wait_for(lambda: held() == 0, "the tasks to be given back")


def test_who_waits_sees_why_and_goes_on_by_itself(visit: Visit, world: World) -> None:
    visitor = visit()
    with world.system.ledger.transaction() as tx:
        world.system.rounds.pause(tx, world.id, "test")
    visitor.page.goto(f"/projects/{world.id}/label")
    expect(visitor.page.locator("#pause")).to_contain_text("The project is paused.")
    world.start()
    expect(visitor.page.get_by_alt_text(TAKEN)).to_be_visible()


def test_two_annotators_see_different_images(visit: Visit, world: World) -> None:
    ann, bob = open_page(visit("ann"), world), open_page(visit("bob"), world)
    seen = {press(page, "1") for _ in range(8) for page in (ann, bob)}
    assert len(seen) == 16
    wait_for(lambda: counts(world).human == 16, "all answers")


def test_a_session_that_ended_keeps_the_answers_until_the_next(visit: Visit, world: World) -> None:
    visitor = visit()
    page = open_page(visitor, world)
    with world.system.ledger.transaction() as tx:
        tx.run("DELETE FROM sessions")
    page.keyboard.press("1")
    expect(page.locator("#pause")).to_contain_text("You were signed out")
    page.get_by_role("link", name="Sign in").click()
    page.get_by_label("User name").fill("ann")
    page.get_by_label("Password").fill("correct horse battery")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_alt_text(TAKEN)).to_be_visible()
    wait_for(lambda: by_class(world)[0] == 1, "the answer to arrive after all")
    visitor.complaints[:] = [text for text in visitor.complaints if "401" not in text]


def test_tiny_images_keep_their_pixels_and_large_ones_fit(visit: Visit, system: System, world: World) -> None:
    page = open_page(visit(), world)
    picture = page.get_by_alt_text(TAKEN)
    expect(picture).to_have_css("image-rendering", "pixelated")
    box = picture.bounding_box()
    assert box is not None and box["width"] % 8 == 0 and box["width"] >= 400
    large = open_for_labelling(hang(system, photos(6), ["building", "flower"], name="Photos", initial=6))
    page.goto(f"/projects/{large.id}/label")
    expect(picture).to_be_visible()
    box, room = picture.bounding_box(), page.locator("#canvas").bounding_box()
    assert box is not None and room is not None
    assert box["width"] <= room["width"] + 1 and box["height"] <= room["height"] + 1
    assert max(box["width"] / room["width"], box["height"] / room["height"]) > 0.99


def test_the_labelling_page_has_its_picture_taken(
    visit: Visit, system: System, picture_of: Callable[[Page, str], Path]
) -> None:
    classes = ["building", "flower", "landscape", "people", "vehicle", "none of these"]
    garden = open_for_labelling(hang(system, photos(40), classes, name="Park photos", initial=30))
    page = open_page(visit(), garden)
    for key in "12121":
        press(page, key)
    all_saved(page)
    expect(page.locator("#recent img")).to_have_count(5)
    row, button = page.locator(".turns").bounding_box(), page.locator("[data-press=pass]").bounding_box()
    assert row is not None and button is not None and button["width"] == row["width"]
    assert picture_of(page, "labelling.png").stat().st_size > 50_000
