"""Every key of the labelling page, and what it does."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Locator, Page, expect

from shared.db import events, flags, guidelines, projects
from shared.db import labels as label_rows
from shared.db.tasks import Lease
from shared.domain import Image
from shared.system import System
from tests.browser.conftest import PHONE
from tests.browser.gallery import digits, hang, open_for_labelling, photos, think
from tests.browser.labelling_support import TAKEN, Visit, all_saved, by_class, open_page, press, rows, shown, until
from tests.waiting import wait_for
from tests.world import World

COUNTRIES = ["norway", "sweden", "finland", "denmark", "iceland", "estonia", "latvia", "lithuania", "north macedonia"]
MANY = [*COUNTRIES, *(f"species {n:03}" for n in range(60))]


@pytest.fixture
def world(system: System) -> World:
    return open_for_labelling(hang(system, digits(60), [f"digit {n}" for n in range(10)], name="Digits", initial=40))


def transform(picture: Locator) -> str:
    return str(picture.evaluate("one => one.style.transform"))


def test_a_class_is_found_by_a_few_letters_and_enter_answers(visit: Visit, system: System) -> None:
    world = open_for_labelling(hang(system, digits(30), MANY, name="Many", initial=20))
    page = open_page(visit(), world)
    before = shown(page)
    page.keyboard.press("/")
    page.keyboard.type("mac")
    expect(page.get_by_role("option")).to_have_text(["north macedonia"])
    page.keyboard.press("Enter")
    expect(page.get_by_alt_text(TAKEN)).not_to_have_attribute("src", before)
    all_saved(page)
    assert by_class(world)[MANY.index("north macedonia")] == 1


def test_the_arrows_choose_among_the_classes_that_fit(visit: Visit, system: System) -> None:
    world = open_for_labelling(hang(system, digits(30), MANY, name="Many", initial=20))
    page = open_page(visit(), world)
    page.keyboard.press("/")
    page.keyboard.type("land")
    expect(page.get_by_role("option")).to_have_text(["finland", "iceland"])
    page.keyboard.press("ArrowDown")
    expect(page.get_by_role("option", name="iceland")).to_have_attribute("aria-selected", "true")
    page.keyboard.press("Enter")
    expect(page.locator("#answered")).to_have_text("1")
    all_saved(page)
    assert by_class(world)[MANY.index("iceland")] == 1


def test_a_search_that_is_given_up_answers_nothing(visit: Visit, system: System) -> None:
    world = open_for_labelling(hang(system, digits(30), MANY, name="Many", initial=20))
    page = open_page(visit(), world)
    before = shown(page)
    page.keyboard.press("/")
    page.keyboard.type("zebra")
    expect(page.get_by_text("No class is named like this.")).to_be_visible()
    page.keyboard.press("Enter")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    assert shown(page) == before


def test_shift_and_a_digit_answer_with_the_classes_after_the_tenth(visit: Visit, system: System) -> None:
    world = open_for_labelling(hang(system, digits(30), [f"kind {n}" for n in range(1, 19)], name="Kinds", initial=20))
    page = open_page(visit(), world)
    for key in ("0", "Shift+2", "Shift+9"):
        press(page, key)
    all_saved(page)
    assert [n for n, labelled in enumerate(by_class(world), start=1) if labelled] == [10, 11, 18]


@pytest.mark.parametrize(("key", "way", "reserved"), [("1", "me", True), ("2", "others", False)])
def test_an_image_is_passed_on_to_whom_the_menu_says(
    visit: Visit, world: World, key: str, way: str, reserved: bool
) -> None:
    world.user("ben")  # somebody else to pass it on to
    page = open_page(visit(), world)
    before = shown(page)
    page.keyboard.press("Shift+Space")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press(key)
    expect(page.get_by_alt_text(TAKEN)).not_to_have_attribute("src", before)
    image = int(before.rsplit("/", 1)[1])

    def passed() -> bool:
        (task,) = rows(world, f"SELECT state, reserved_for FROM tasks WHERE image_id = {image}")
        return task["state"] == "open" and (task["reserved_for"] is not None) == reserved

    wait_for(passed, "the image to be in the queue again")
    with world.system.ledger.transaction() as tx:
        (event,) = [one for one in events.newest(tx, world.id) if one.kind == "task.skipped"]
    assert event.data["way"] == way


def test_who_can_not_tell_says_why_and_the_lead_reads_it(visit: Visit, world: World) -> None:
    page = open_page(visit(), world)
    before = shown(page)
    page.keyboard.press("Shift+Space")
    page.keyboard.press("3")
    expect(page.get_by_role("heading", name="Why can’t you tell?")).to_be_visible()
    page.keyboard.press("3")
    expect(page.get_by_alt_text(TAKEN)).not_to_have_attribute("src", before)
    wait_for(lambda: len(rows(world, "SELECT 1 FROM passes WHERE way = 'cannot_tell'")) == 1, "the reason to be kept")
    page.goto(f"/projects/{world.id}/flags")
    expect(page.get_by_text("too dark, blurred or small")).to_be_visible()


def test_an_image_is_flagged_with_a_note_and_stays_to_be_answered(visit: Visit, world: World) -> None:
    page = open_page(visit(), world)
    before = shown(page)
    page.keyboard.press("f")
    page.keyboard.type("1 looks like 7")
    page.keyboard.press("Enter")
    expect(page.locator("#toast")).to_contain_text("Flagged")
    assert shown(page) == before

    def notes() -> list[str]:
        with world.system.ledger.transaction() as tx:
            return [one.note for one in flags.page(tx, world.id)]

    wait_for(lambda: notes() == ["1 looks like 7"], "the flag to be stored")
    page.goto(f"/projects/{world.id}/flags")
    expect(page.get_by_text("1 looks like 7")).to_be_visible()
    page.get_by_role("button", name="Seen to").click()
    expect(page.get_by_text("1 looks like 7")).to_be_hidden()
    assert notes() == []


def test_the_arrows_look_back_and_a_class_key_changes_the_answer_there(visit: Visit, world: World) -> None:
    page = open_page(visit(), world)
    seen = [press(page, key) for key in "123"]
    all_saved(page)
    here = shown(page)
    page.keyboard.press("ArrowLeft")
    expect(page.get_by_alt_text(TAKEN)).to_have_attribute("src", seen[2])
    page.keyboard.press("ArrowLeft")
    expect(page.get_by_alt_text(TAKEN)).to_have_attribute("src", seen[1])
    expect(page.locator("#ribbon")).to_have_text(re.compile("2 answers ago: digit 1"))
    page.keyboard.press("9")
    expect(page.locator("#ribbon")).to_have_text(re.compile("2 answers ago: digit 8"))
    all_saved(page)
    wait_for(lambda: by_class(world) == [1, 0, 1, 0, 0, 0, 0, 0, 1, 0], "the changed answer")
    page.keyboard.press("ArrowRight")
    expect(page.get_by_alt_text(TAKEN)).to_have_attribute("src", seen[2])
    page.keyboard.press("Escape")
    expect(page.get_by_alt_text(TAKEN)).to_have_attribute("src", here)
    expect(page.locator("#answered")).to_have_text("3")
    page.keyboard.press("4")
    wait_for(lambda: by_class(world)[3] == 1, "the answer to the image that was waiting")


def test_answers_from_before_the_page_was_opened_are_looked_back_at(visit: Visit, world: World) -> None:
    page = open_page(visit(), world)
    seen = [press(page, key) for key in "12"]
    all_saved(page)
    page.reload()
    expect(page.get_by_alt_text(TAKEN)).to_be_visible()
    page.keyboard.press("ArrowLeft")
    expect(page.get_by_alt_text(TAKEN)).to_have_attribute("src", seen[1])
    page.keyboard.press("ArrowLeft")
    expect(page.get_by_alt_text(TAKEN)).to_have_attribute("src", seen[0])
    page.keyboard.press("ArrowLeft")
    expect(page.locator("#toast")).to_have_text("There is no older answer of yours.")


def test_an_answer_that_a_lead_corrected_since_is_not_changed_back(visit: Visit, world: World) -> None:
    visitor = visit()
    page = open_page(visitor, world)
    seen = press(page, "1")
    all_saved(page)
    with world.system.ledger.transaction() as tx:
        tx.run("UPDATE labels SET class_id = %(id)s, annotation_id = NULL", {"id": world.classes[5].id})
    page.keyboard.press("ArrowLeft")
    expect(page.get_by_alt_text(TAKEN)).to_have_attribute("src", seen)
    page.keyboard.press("2")
    expect(page.locator("#toast")).to_contain_text("could not be changed")
    expect(page.locator("#ribbon")).to_have_text(re.compile("digit 0"))
    assert by_class(world)[5] == 1
    visitor.complaints[:] = [text for text in visitor.complaints if "409" not in text]


def test_an_answer_is_changed_while_there_is_no_connection(visit: Visit, world: World) -> None:
    visitor = visit()
    page = open_page(visitor, world)
    visitor.context.set_offline(True)
    press(page, "1")
    until(page, "document.querySelector('#sent').textContent.startsWith('1 answer waiting')")
    page.wait_for_timeout(800)  # it has been tried in vain, so that only the service could take it back
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("4")
    expect(page.locator("#ribbon")).to_have_text(re.compile("digit 3"))
    visitor.context.set_offline(False)
    all_saved(page)
    assert by_class(world) == [0, 0, 0, 1, 0, 0, 0, 0, 0, 0]
    visitor.complaints[:] = [text for text in visitor.complaints if "ERR_INTERNET_DISCONNECTED" not in text]


def test_the_image_is_brought_closer_moved_turned_and_put_back(visit: Visit, system: System) -> None:
    world = open_for_labelling(hang(system, photos(6), ["building", "flower"], name="Photos", initial=6))
    page = open_page(visit(), world)
    picture = page.get_by_alt_text(TAKEN)
    assert transform(picture) == ""
    page.keyboard.press("+")
    page.keyboard.press("+")
    assert "scale(1.69)" in transform(picture)
    page.keyboard.press("Shift+ArrowRight")
    assert "translate(-80px, 0px)" in transform(picture)
    page.keyboard.press("-")
    assert "scale(1.3)" in transform(picture)
    page.keyboard.press("r")
    assert "rotate(90deg)" in transform(picture)
    box, room = picture.bounding_box(), page.locator("#canvas").bounding_box()
    assert box is not None and room is not None and box["height"] > box["width"]
    page.keyboard.press("z")
    assert transform(picture) == ""
    press(page, "1")
    assert transform(page.get_by_alt_text(TAKEN)) == "", "the next image is shown as it is"


def test_the_wheel_brings_closer_what_is_under_the_pointer_and_dragging_moves_it(visit: Visit, system: System) -> None:
    world = open_for_labelling(hang(system, photos(6), ["building", "flower"], name="Photos", initial=6))
    page = open_page(visit(), world)
    picture, room = page.get_by_alt_text(TAKEN), page.locator("#canvas").bounding_box()
    assert room is not None
    x, y = room["x"] + room["width"] / 4, room["y"] + room["height"] / 2
    before = picture.bounding_box()
    page.mouse.move(x, y)
    page.mouse.wheel(0, -500)
    until(page, "document.querySelector('#canvas img').style.transform.includes('scale(2.1')")
    after = picture.bounding_box()
    assert before is not None and after is not None
    assert (x - before["x"]) / before["width"] == pytest.approx((x - after["x"]) / after["width"], abs=0.01)
    page.mouse.down()
    page.mouse.move(x + 60, y + 30, steps=4)
    page.mouse.up()
    moved = picture.bounding_box()
    assert moved is not None and moved["x"] - after["x"] == pytest.approx(60, abs=2)


def test_two_fingers_bring_closer(visit: Visit, system: System) -> None:
    world = open_for_labelling(hang(system, photos(6), ["building", "flower"], name="Photos", initial=6))
    visitor = visit(**PHONE)
    page = open_page(visitor, world)
    room = page.locator("#canvas").bounding_box()
    assert room is not None
    x, y = room["x"] + room["width"] / 2, room["y"] + room["height"] / 2
    fingers = visitor.context.new_cdp_session(page)
    for kind, apart in (("touchStart", 30), ("touchMove", 45), ("touchMove", 60)):
        points = [{"x": x - apart, "y": y, "id": 0}, {"x": x + apart, "y": y, "id": 1}]
        fingers.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    fingers.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    until(page, "/scale\\((1\\.[5-9]|2)/.test(document.querySelector('#canvas img').style.transform)")


def test_light_is_changed_by_keys_and_sliders_and_kept_for_the_session(visit: Visit, world: World) -> None:
    page = open_page(visit(), world)
    canvas = page.locator("#canvas")
    for key in ("b", "b", "Shift+c", "i"):
        page.keyboard.press(key)
    expect(canvas).to_have_css("filter", "brightness(1.2) contrast(0.9) invert(1)")
    page.keyboard.press("l")
    expect(page.get_by_role("slider", name="Brightness")).to_have_value("120")
    page.get_by_role("slider", name="Contrast").fill("150")
    expect(canvas).to_have_css("filter", "brightness(1.2) contrast(1.5) invert(1)")
    page.reload()
    expect(page.get_by_alt_text(TAKEN)).to_be_visible()
    expect(canvas).to_have_css("filter", "brightness(1.2) contrast(1.5) invert(1)")
    page.keyboard.press("l")
    page.get_by_role("button", name="As it is").click()
    expect(canvas).to_have_css("filter", "none")


def test_tiny_pixels_are_crisp_until_they_are_wanted_smooth(visit: Visit, world: World) -> None:
    page = open_page(visit(), world)
    picture = page.get_by_alt_text(TAKEN)
    expect(picture).to_have_css("image-rendering", "pixelated")
    page.keyboard.press("p")
    expect(picture).to_have_css("image-rendering", "auto")
    press(page, "1")
    expect(page.get_by_alt_text(TAKEN)).to_have_css("image-rendering", "auto")


def test_a_project_without_guidelines_teaches_how_to_add_some(visit: Visit, world: World) -> None:
    page = open_page(visit(), world)
    page.keyboard.press("g")
    expect(page.get_by_role("heading", name="This project has no guidelines yet")).to_be_visible()
    expect(page.locator("#guide pre")).to_contain_text(f"/v1/projects/{world.id}/guidelines")
    press(page, "1")
    expect(page.locator("#guide")).to_be_visible()
    page.keyboard.press("g")
    expect(page.locator("#guide")).to_be_hidden()


def test_guidelines_show_what_each_class_means_and_looks_like(visit: Visit, world: World) -> None:
    with world.system.ledger.transaction() as tx:
        guidelines.set_text(tx, world.id, "Read the digit.\n\nIf in doubt, flag it.")
        guidelines.set_description(tx, world.id, world.classes[7].id, "With or without a bar.")
        guidelines.set_examples(tx, world.id, world.classes[7].id, [world.images[7].id, world.images[17].id])
    page = open_page(visit(), world)
    page.keyboard.press("g")
    panel = page.get_by_role("complementary", name="Guidelines")
    expect(panel.locator(".told")).to_have_text(["Read the digit.", "If in doubt, flag it."])
    expect(panel.get_by_text("With or without a bar.")).to_be_visible()
    expect(panel.get_by_alt_text("An example of digit 7")).to_have_count(2)


def of_class(position: int, sure: float = 0.9) -> list[float]:
    return [sure if n == position else (1 - sure) / 9 for n in range(10)]


def with_model(world: World) -> World:
    """Every open question answered once, a model that takes everything for a 4, and new questions."""
    world.answer(40, world.user("ben"))
    world.system.rounds.nudge(world.id)

    def guess(image: Image) -> list[float]:
        return of_class(4)

    think(world, guess)
    world.do_select()
    return world


def test_a_suggestion_comes_only_when_it_is_asked_for_and_the_answer_says_that_it_was_seen(
    visit: Visit, system: System
) -> None:
    names = [f"digit {n}" for n in range(10)]
    world = with_model(
        open_for_labelling(hang(system, digits(80), names, name="D", initial=40, batch_size=20, suggestions=True))
    )
    page = open_page(visit(), world)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "suggestion" in request.url else None)
    blind = press(page, "1")
    assert asked == []
    page.keyboard.press("s")
    expect(page.locator("#ribbon")).to_have_text("The model says digit 4, 90% sure")
    swayed = press(page, "5")
    expect(page.locator("#ribbon")).to_be_hidden()
    all_saved(page)
    suggested = {
        f"/projects/{world.id}/images/{row['image_id']}": row["suggested"]
        for row in rows(world, "SELECT image_id, suggested FROM annotations ORDER BY id DESC LIMIT 2")
    }
    assert suggested == {blind: None, swayed: world.classes[4].id}
    assert len(asked) == 1


def test_where_the_project_shows_no_suggestions_none_can_be_had(visit: Visit, system: System) -> None:
    names = [f"digit {n}" for n in range(10)]
    world = with_model(open_for_labelling(hang(system, digits(80), names, name="D", initial=40, batch_size=20)))
    visitor = visit()
    page = open_page(visitor, world)
    expect(page.get_by_role("button", name=re.compile("What the model thinks"))).to_have_count(0)
    page.keyboard.press("s")
    expect(page.locator("#ribbon")).to_be_hidden()
    (task,) = world.system.labelling.lease(world.id, world.user("ann").id, count=1)
    held = Lease(task_id=task.id, fence=task.fence)
    refused = visitor.context.request.post(
        f"/v1/projects/{world.id}/tasks/{held.task_id}/suggestion", data={"fence": held.fence}
    )
    assert refused.status == 403


def test_time_away_is_not_counted_as_time_at_the_image(visit: Visit, world: World) -> None:
    visitor = visit()
    visitor.page.clock.install()
    page = open_page(visitor, world)
    page.clock.fast_forward(10_000)
    page.mouse.move(300, 300)
    page.clock.fast_forward(20 * 60_000)
    expect(page.locator("#pace")).to_contain_text("paused")
    page.keyboard.press("1")
    wait_for(lambda: len(rows(world, "SELECT 1 FROM annotations")) == 1, "the answer")
    (answer,) = rows(world, "SELECT duration_ms FROM annotations")
    assert 60_000 <= int(str(answer["duration_ms"])) < 80_000, "ten seconds, and a minute until it stood still"


def test_images_taken_along_are_held_and_given_back(visit: Visit, system: System) -> None:
    world = open_for_labelling(hang(system, digits(120), ["a", "b"], name="Along", initial=100))
    page = open_page(visit(), world)

    def held() -> int:
        return len(rows(world, "SELECT 1 FROM tasks WHERE state = 'leased'"))

    wait_for(lambda: held() == 6, "the image on show and five ahead")
    page.keyboard.press("o")
    expect(page.locator("#along-text")).to_have_text("61 images here")
    assert held() == 61
    page.keyboard.press("o")
    wait_for(lambda: held() == 6, "the others to be given back")
    seen = {press(page, "1") for _ in range(8)}
    assert len(seen) == 8


def pass_to_others(page: Page) -> None:
    page.keyboard.press("Shift+Space")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("2")
    expect(page.get_by_role("dialog")).to_be_hidden()


def test_who_passed_everything_on_is_told_so(visit: Visit, system: System) -> None:
    world = open_for_labelling(hang(system, digits(10), ["a", "b"], name="Few", initial=2))
    world.user("ben")
    page = open_page(visit(), world)
    first = shown(page)
    pass_to_others(page)
    expect(page.get_by_alt_text(TAKEN)).not_to_have_attribute("src", first)
    pass_to_others(page)
    expect(page.locator("#pause")).to_contain_text("2 images left: passed on by you")


def test_keys_of_classes_go_before_other_keys(visit: Visit, system: System) -> None:
    world = hang(system, digits(20), ["fish", "bird"], name="Letters", initial=10)
    with system.ledger.transaction() as tx:
        tx.run("UPDATE classes SET hotkey = 'f' WHERE id = %(id)s", {"id": world.classes[0].id})
        assert [one.hotkey for one in projects.classes(tx, world.id)] == ["f", "2"]
    page = open_page(visit(), open_for_labelling(world))
    press(page, "f")
    all_saved(page)
    with system.ledger.transaction() as tx:
        assert [one.labels for one in label_rows.by_class(tx, world.id)] == [1, 0]


def test_a_finger_answers_on_a_phone(visit: Visit, world: World) -> None:
    page: Page = open_page(visit(**PHONE), world)
    before = shown(page)
    page.get_by_role("button", name="digit 3").tap()
    expect(page.get_by_alt_text(TAKEN)).not_to_have_attribute("src", before)
    all_saved(page)
    assert by_class(world)[3] == 1
