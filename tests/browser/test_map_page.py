"""The map in a browser: drawn, coloured, filtered, drawn around with the pointer and with keys, acted on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect
from sklearn.datasets import load_digits

from shared.db import labels
from shared.domain import Image, JobKind
from shared.system import System
from tests.browser.axe import assert_usable
from tests.browser.conftest import PHONE, Visitor
from tests.browser.gallery import digits, hang, open_for_labelling
from tests.drawing import ask, draw, look
from tests.world import World

Visit = Callable[..., Visitor]
Picture = Callable[[Page, str], Path]
IMAGES = 240
LOOKS: dict[str, dict[str, Any]] = {
    "desktop-light": {"color_scheme": "light"},
    "desktop-dark": {"color_scheme": "dark"},
    "phone-light": {"color_scheme": "light", **PHONE},
    "phone-dark": {"color_scheme": "dark", **PHONE},
    "twice-its-size": {"viewport": {"width": 640, "height": 400}},
}


FRAMES = """async () => {
    const canvas = document.getElementById("points");
    const box = canvas.getBoundingClientRect();
    canvas.setPointerCapture = () => {};
    const send = (kind, x) => canvas.dispatchEvent(new PointerEvent(kind, {
        pointerId: 1, button: kind === "pointermove" ? -1 : 0, bubbles: true,
        clientX: box.left + x, clientY: box.top + 200,
    }));
    const rate = (each) => new Promise((resolve) => {
        let frames = 0;
        const begun = performance.now();
        const next = (now) => {
            frames += 1;
            each(frames);
            if (now - begun < 4000) requestAnimationFrame(next);
            else resolve((1000 * frames) / (now - begun));
        };
        requestAnimationFrame(next);
    });
    const idle = await rate(() => {});
    send("pointerdown", 300);
    const drag = await rate((frame) => send("pointermove", 300 + 150 * Math.sin(frame / 20)));
    send("pointerup", 300);
    document.getElementById("whole").click();
    return {idle, drag};
}"""


def guess(image: Image) -> list[float]:
    """Sure of most digits, and rather unsure of every seventh."""
    digit = int(load_digits().target[int(image.filename.split(".")[0])])
    sure = 0.45 if image.id % 7 == 0 else 0.91
    said = np.full(10, (1 - sure) / 9)
    said[digit] = sure
    return said.tolist()


@pytest.fixture
def learning(system: System) -> World:
    """A model has looked at the pool."""
    names = [str(digit) for digit in range(10)]
    return open_for_labelling(hang(system, digits(IMAGES), names, name="Digits", initial=20))


@pytest.fixture
def world(learning: World) -> World:
    """A map is drawn."""
    learn(learning)
    ask(learning)
    draw(learning)
    return learning


def learn(world: World) -> None:
    target = load_digits().target
    known = {i.sha256: world.classes[target[int(i.filename.split(".")[0])]].id for i in world.images[:40]}
    with world.system.ledger.transaction() as tx:
        labels.import_known(tx, world.id, known)
    world.answer(20, world.user("ben"))
    world.system.rounds.nudge(world.id)
    look(world, guess)


def open_map(visitor: Visitor, world: World) -> Page:
    visitor.page.goto(f"/projects/{world.id}/map")
    visitor.page.wait_for_selector("#view[data-ready]")
    return visitor.page


def circle(page: Page) -> None:
    """Draw a line around everything, with Shift and the mouse."""
    page.evaluate("document.getElementById('view').scrollIntoView({block: 'center'})")
    box = page.locator("#points").bounding_box()
    assert box is not None
    left, top = box["x"] + 4, box["y"] + 4
    right, low = box["x"] + box["width"] - 4, box["y"] + box["height"] - 4
    page.keyboard.down("Shift")
    page.mouse.move(left, top)
    page.mouse.down()
    for x, y in ((right, top), (right, low), (left, low)):
        page.mouse.move(x, y, steps=3)
    page.mouse.up()
    page.keyboard.up("Shift")


def test_a_line_around_images_chooses_those_that_are_shown(visit: Visit, world: World, picture_of: Picture) -> None:
    page = open_map(visit(), world)
    circle(page)
    expect(page.locator("#chosen-title")).to_have_text(f"{IMAGES} images chosen")
    expect(page.locator("#shots li")).to_have_count(60)
    page.get_by_role("button", name="Show 60 more").click()
    expect(page.locator("#shots li")).to_have_count(120)
    page.get_by_role("button", name="Choose none").click()
    expect(page.locator("#chosen-part")).to_be_hidden()

    page.get_by_label("Colour").select_option("prediction")
    page.locator(".atlas-legend").get_by_role("button", name="None").click()
    row = page.locator("#legend li").first
    row.get_by_role("checkbox").check()
    count = int(row.locator(".muted").inner_text())
    circle(page)
    expect(page.locator("#chosen-title")).to_have_text(f"{count} images chosen")

    page.locator(".atlas-legend").get_by_role("button", name="All").click()
    page.locator("#points").focus()
    for _ in range(14):
        page.keyboard.press("+")
    page.keyboard.press("Escape")
    page.keyboard.press("0")
    page.locator("#points").hover()
    page.mouse.wheel(0, 600)
    circle(page)
    expect(page.locator("#chosen-title")).to_have_text(f"{IMAGES} images chosen")

    page.get_by_role("button", name="Whole map").click()
    page.get_by_role("button", name="Choose all that the model takes for 4").click()
    page.evaluate("scrollTo(0, 0)")
    box = page.locator("#points").bounding_box()
    assert box is not None
    for at in range(400):
        page.mouse.move(box["x"] + 40 + 17 * at % (box["width"] - 80), box["y"] + 40 + 29 * at % (box["height"] - 80))
        if page.locator("#tip").is_visible():
            break
    expect(page.locator("#tip")).to_contain_text("The model says")
    page.wait_for_function("() => document.querySelector('#tip img').naturalWidth > 0")
    picture_of(page, "map.png")


def test_the_keyboard_alone_chooses_and_labels(visit: Visit, world: World) -> None:
    page = open_map(visit(), world)
    page.locator("#points").focus()
    page.keyboard.press("f")
    for _ in range(12):
        page.keyboard.press("Shift+ArrowRight")
        page.keyboard.press("Shift+ArrowUp")
    page.keyboard.press("Enter")
    expect(page.locator("#chosen-title")).to_contain_text("images chosen")
    page.get_by_label("Class to give").select_option(label="3")
    page.get_by_role("button", name="Label", exact=True).press("Enter")
    page.keyboard.press("Enter")
    expect(page.locator("#toast")).to_contain_text("labelled “3”.")
    page.goto(f"/projects/{world.id}/images?class={world.classes[3].id}&source=human")
    expect(page.locator("#matching")).to_contain_text("images pass this filter")
    page.goto(f"/projects/{world.id}/activity")
    expect(page.locator(".events")).to_contain_text("Ann labelled")


def test_what_the_model_is_unsure_of_is_asked(visit: Visit, world: World) -> None:
    page = open_map(visit(), world)
    page.get_by_role("button", name="Choose the unsure of what the model takes for 4").click()
    expect(page.locator("#chosen-title")).to_contain_text("chosen")
    expect(page.locator("#shots li").first).to_contain_text("The model says 4, 45% sure")
    page.get_by_role("button", name="Ask people").click()
    page.get_by_role("button", name="Yes").click()
    expect(page.locator("#toast")).to_contain_text("will be asked next")
    page.goto(f"/projects/{world.id}/images?state=asked")
    expect(page.locator(".shot").first).to_contain_text("being asked")


def test_a_no_changes_nothing(visit: Visit, world: World) -> None:
    page = open_map(visit(), world)
    circle(page)
    page.get_by_role("button", name="Ask people").click()
    page.keyboard.press("Escape")
    expect(page.locator("#sure")).to_be_hidden()
    page.goto(f"/projects/{world.id}/images?state=asked")
    expect(page.get_by_text("No image passes this filter")).to_be_visible()


def test_a_finger_draws_too(visit: Visit, world: World) -> None:
    page = open_map(visit(**PHONE), world)
    page.get_by_role("button", name="Lasso").tap()
    page.evaluate(
        """() => {
            const canvas = document.getElementById("points");
            const box = canvas.getBoundingClientRect();
            const send = (kind, x, y) => canvas.dispatchEvent(new PointerEvent(kind, {
                pointerId: 1, pointerType: "touch", button: kind === "pointermove" ? -1 : 0,
                clientX: box.left + x, clientY: box.top + y, bubbles: true,
            }));
            canvas.setPointerCapture = () => {};
            send("pointerdown", 2, 2);
            send("pointermove", box.width - 2, 2);
            send("pointermove", box.width - 2, box.height - 2);
            send("pointermove", 2, box.height - 2);
            send("pointerup", 2, box.height - 2);
        }"""
    )
    expect(page.locator("#chosen-title")).to_have_text(f"{IMAGES} images chosen")


def test_everybody_can_use_it(visit: Visit, world: World) -> None:
    for name, look_ in LOOKS.items():
        page = open_map(visit(name, **look_), world)
        page.get_by_label("Colour").select_option("prediction")
        page.get_by_role("button", name="Choose all that the model takes for 7").click()
        expect(page.locator("#chosen-title")).to_contain_text("chosen")
        page.wait_for_load_state("networkidle")
        wider = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wider <= 0, f"{name} is {wider} pixels wider than the screen"
        assert_usable(page)


def test_before_there_is_a_model_the_page_teaches(visit: Visit, learning: World) -> None:
    page = visit().page
    page.goto(f"/projects/{learning.id}/map")
    expect(page.get_by_role("heading", name="The pool at a glance")).to_be_visible()
    expect(page.get_by_role("link", name="Label images")).to_be_visible()
    assert_usable(page)


def test_a_map_is_asked_for_watched_and_given_up(visit: Visit, learning: World) -> None:
    learn(learning)
    page = visit().page
    page.goto(f"/projects/{learning.id}/map")
    page.get_by_role("button", name="Draw the map").click()
    expect(page.locator("#drawing-state")).to_have_text("Waiting for a scorer that is free")
    assert_usable(page)
    page.get_by_role("button", name="Cancel").click()
    expect(page.get_by_text("The drawing of the last map was stopped.")).to_be_visible()
    expect(page.get_by_role("alert")).to_have_count(0)
    assert_usable(page)
    page.get_by_role("button", name="Draw the map").click()
    draw(learning)
    page.wait_for_selector("#view[data-ready]")
    assert JobKind.MAP not in learning.queued()


def test_without_webgl_it_is_drawn_all_the_same(visit: Visit, world: World) -> None:
    visitor = visit()
    visitor.page.add_init_script(
        """const plain = HTMLCanvasElement.prototype.getContext;
        HTMLCanvasElement.prototype.getContext = function (kind, ...more) {
            return kind === "webgl2" ? null : plain.call(this, kind, ...more);
        };"""
    )
    page = open_map(visitor, world)
    assert page.get_attribute("#view", "data-ready") == "flat"
    expect(page.locator("#flat")).to_contain_text("no WebGL")
    circle(page)
    expect(page.locator("#chosen-title")).to_have_text(f"{IMAGES} images chosen")


def test_it_is_drawn_by_webgl_where_there_is_any(chromium: Browser, visit: Visit, world: World) -> None:
    page = open_map(visit(), world)
    if not page.evaluate("Boolean(document.createElement('canvas').getContext('webgl2'))"):
        pytest.skip("this browser has no WebGL")
    assert page.get_attribute("#view", "data-ready") == "webgl"
    drawn = page.evaluate(
        """() => new Promise((resolve) => requestAnimationFrame(() => {
            const flat = document.createElement("canvas");
            const canvas = document.getElementById("points");
            Object.assign(flat, {width: canvas.width, height: canvas.height});
            document.getElementById("whole").click();
            requestAnimationFrame(() => {
                const context = flat.getContext("2d");
                context.drawImage(canvas, 0, 0);
                const pixels = context.getImageData(0, 0, flat.width, flat.height).data;
                resolve(pixels.filter((value, at) => at % 4 === 3 && value > 0).length);
            });
        }))"""
    )
    assert drawn > 5 * IMAGES, "points have covered pixels"


def test_fifty_thousand_points_move_while_they_are_dragged(visit: Visit, world: World) -> None:
    """The points are made up and sent in the place of the project's; what draws them is what draws all others."""
    count, random = 50_000, np.random.default_rng(0)
    kinds = random.integers(0, 10, count)
    places = random.normal(size=(10, 2))[kinds] * 40 + random.normal(size=(count, 2)) * 8
    columns = [
        np.arange(1, count + 1, dtype="<f8"), *places.astype("<f4").T, np.full(count, -1, "<i2"), kinds.astype("<i2"),
        np.full(count, -1, "<i2"), random.integers(50, 200, count).astype("u1"), np.full(count, 4, "u1"),
    ]  # fmt: skip
    body = b"".join(column.tobytes() for column in columns)
    page = visit().page
    page.route("**/thumb", lambda route: route.fulfill(body=digits(1)[0], content_type="image/png"))
    page.route("**/map/points", lambda route: route.fulfill(body=body, content_type="application/octet-stream"))
    page.goto(f"/projects/{world.id}/map")
    page.wait_for_selector("#view[data-ready]")
    page.get_by_label("Colour").select_option("prediction")
    frames = page.evaluate(FRAMES)
    print(f"{frames['drag']:.1f} frames/s while {count:,} points are dragged, {frames['idle']:.1f} while nothing moves")
    assert frames["drag"] > 2
    circle(page)
    expect(page.locator("#chosen-title")).to_contain_text("images chosen")
    expect(page.locator("#chosen-note")).to_contain_text("At most 10,000 images")


def test_what_is_drawn_around_is_tagged_seen_as_such_and_untagged(visit: Visit, world: World) -> None:
    page = open_map(visit(), world)
    page.get_by_role("button", name="Choose all that the model takes for 7").click()
    expect(page.locator("#chosen-title")).to_contain_text("chosen")
    count = page.locator("#chosen-title").inner_text().split()[0]
    page.get_by_label("Tag to put on or take off").fill("odd sevens")
    page.keyboard.press("Enter")
    expect(page.locator("#toast")).to_have_text(f"{count} tagged “odd sevens”.")
    page.get_by_label("Colour").select_option("tag")
    expect(page.locator("#legend li").first).to_have_text(f"odd sevens{count}")
    expect(page.locator("#legend li").last).to_have_text(f"no tag{IMAGES - int(count)}")
    page.get_by_label("Tag to put on or take off").fill("crossed")
    page.get_by_role("button", name="Tag", exact=True).click()
    expect(page.locator("#legend li").first).to_have_text(f"several tags{count}")
    page.get_by_role("button", name="Untag").click()
    expect(page.locator("#toast")).to_have_text(f"“crossed” taken off {count}.")
    expect(page.locator("#legend li").first).to_have_text(f"odd sevens{count}")
    page.get_by_role("button", name="Untag").click()
    expect(page.locator("#toast")).to_have_text("None of these is tagged “crossed”.")
    page.goto(f"/projects/{world.id}/images?tag=Odd+Sevens")
    expect(page.locator("#matching")).to_have_text(f"{count} images pass this filter")
