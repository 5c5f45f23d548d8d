"""The settings page over HTTP: classes, guidelines, and every setting that there is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from services.ui.explanations import LEFT_OUT
from shared.configuring import Settings
from shared.db import guidelines, projects
from shared.domain import Class, ProjectSettings, RoundMode
from shared.selection import catalog
from tests.browser.gallery import digits, hang, open_for_labelling
from tests.integration.ui_support import ELSEWHERE, PAGE, Ui, open_ui, text_of
from tests.world import World


@pytest.fixture
def ui(migrated_database_url: str, tmp_path: Path) -> Iterator[Ui]:
    with open_ui(migrated_database_url, tmp_path) as opened:
        yield opened


@pytest.fixture
def draft(ui: Ui) -> World:
    return hang(ui.system, digits(12), ["cat", "dog", "cow"], initial=4)


def settings(ui: Ui, world: World) -> ProjectSettings:
    with ui.system.database.transaction() as tx:
        return projects.get(tx, world.id).settings


def classes(ui: Ui, world: World) -> list[Class]:
    with ui.system.database.transaction() as tx:
        return projects.classes(tx, world.id)


def save(ui: Ui, world: World, part: str = "", **form: str) -> tuple[int, str]:
    answer = ui.ann.post(f"/projects/{world.id}/settings{part}", data=form, headers=PAGE)
    return answer.status_code, answer.headers.get("location") or text_of(answer.text)


def train(world: World) -> None:
    open_for_labelling(world)
    world.answer(4)
    world.system.rounds.nudge(world.id)


def test_every_setting_and_every_strategy_with_its_options_is_there(ui: Ui, draft: World) -> None:
    page = ui.ann.get(f"/projects/{draft.id}/settings").text
    for name in Settings.model_fields.keys() - LEFT_OUT:
        assert f'name="{name}"' in page, name
    for name in catalog.names():
        assert f'value="{name}"' in page
        for option in catalog.entry(name).options:
            assert f'name="option.{name}.{option}"' in page


def test_only_what_differs_is_changed_and_noted(ui: Ui, draft: World) -> None:
    form = {"shown": "batch_size label_budget mode", "batch_size": "25", "label_budget": "", "mode": "rolling"}
    assert save(ui, draft, **form) == (303, f"/projects/{draft.id}/settings?saved=settings")
    assert (settings(ui, draft).batch_size, settings(ui, draft).mode) == (25, RoundMode.ROLLING)
    assert ui.events(draft.id)[0].data == {"batch_size": 25, "mode": "rolling"}
    assert save(ui, draft, **form)[1].endswith("saved=nothing") and len(ui.events(draft.id)) == 1


def test_a_field_that_was_not_shown_stays_as_it_is(ui: Ui, draft: World) -> None:
    save(ui, draft, shown="label_budget", label_budget="500")
    save(ui, draft, shown="batch_size", batch_size="30")
    assert (settings(ui, draft).label_budget, settings(ui, draft).batch_size) == (500, 30)


def test_a_box_that_is_not_checked_means_no(ui: Ui, draft: World) -> None:
    assert settings(ui, draft).batch_norm
    save(ui, draft, shown="batch_norm")
    assert not settings(ui, draft).batch_norm


def test_a_strategy_comes_with_its_own_options(ui: Ui, draft: World) -> None:
    form = {"shown": "strategy", "strategy": "hybrid", "option.hybrid.alpha": "0.5", "option.hybrid.clusters": "7"}
    save(ui, draft, **form, **{"option.hybrid.measure": "entropy"})
    now = settings(ui, draft)
    assert (now.alpha, now.clusters, now.measure) == (0.5, 7, "entropy")
    save(ui, draft, shown="strategy", strategy="entropy")
    assert settings(ui, draft).strategy == "entropy"


@pytest.mark.parametrize(
    ("form", "says"),
    [
        ({"shown": "batch_size", "batch_size": "0"}, "greater than or equal to 1"),
        ({"shown": "batch_size", "batch_size": "many"}, "valid integer"),
        ({"shown": "target_accuracy", "target_accuracy": "90"}, "less than or equal to 1"),
        ({"shown": "recipe", "recipe": "{mixup"}, "this is not JSON"),
        ({"shown": "recipe", "recipe": '{"no_such": 1}'}, "no_such"),
        ({"shown": "strategy", "strategy": "hybrid", "option.hybrid.alpha": "7"}, "must be from 0 to 1"),
        ({"shown": "strategy", "strategy": "hybrid", "option.hybrid.clusters": "x"}, "is not a number"),
        ({"shown": "arch", "arch": "../../etc"}, "pattern"),
    ],
)
def test_what_can_t_be_is_said_beside_its_field_and_nothing_is_saved(
    ui: Ui, draft: World, form: dict[str, str], says: str
) -> None:
    before = settings(ui, draft)
    status, page = save(ui, draft, **{**form, "shown": form["shown"] + " seed", "seed": "9"})
    assert status == 422 and "Nothing was saved" in page and says in page
    assert settings(ui, draft) == before


def test_what_images_were_prepared_with_says_why_it_is_fixed(ui: Ui, draft: World) -> None:
    train(draft)
    page = ui.ann.get(f"/projects/{draft.id}/settings")
    assert "Images were prepared with this value" in page.text
    assert "It was used when the project was started" in page.text
    shown = page.text.split('name="shown" value="')[1].split('"')[0].split()
    assert not {"image_size", "channels", "shard_size", "initial", "holdout_size"} & set(shown)
    status, said = save(ui, draft, shown="image_size", image_size="64")
    assert status == 409 and "can't change any more" in said


def test_classes_change_their_names_colours_keys_and_places(ui: Ui, draft: World) -> None:
    cat, dog, cow = (one.id for one in draft.classes)
    form = {f"name.{cat}": "dog", f"name.{dog}": "cat", f"hotkey.{cat}": "2", f"hotkey.{dog}": "1"}
    form |= {f"colour.{cow}": "#123abc", f"place.{cow}": "1", f"place.{cat}": "2", f"place.{dog}": "3"}
    form |= {f"hotkey.{cow}": "k", f"description.{cow}": "gives milk"}
    assert save(ui, draft, "/classes", **form)[1].endswith("saved=classes")
    now = [(one.id, one.name, one.hotkey) for one in classes(ui, draft)]
    assert now == [(cow, "cow", "k"), (cat, "dog", "2"), (dog, "cat", "1")], "they swapped names and keys"
    assert classes(ui, draft)[0].colour == "#123abc"
    with ui.system.database.transaction() as tx:
        assert guidelines.get(tx, draft.id).classes[0].description == "gives milk"
    assert ui.events(draft.id)[0].kind == "classes.changed"


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("name", "dog", "two classes are named"),
        ("name", " ", "needs a name"),
        ("name", "a\x00b", "needs a name"),
        ("hotkey", "2", "two classes have the key"),
        ("hotkey", "f", "does something else"),
        ("hotkey", "?", "not one letter or digit"),
        ("colour", "red", "not a colour"),
    ],
)
def test_a_class_that_can_t_be_is_refused_with_what_was_typed_still_there(
    ui: Ui, draft: World, field: str, value: str, says: str
) -> None:
    before = classes(ui, draft)
    status, page = save(ui, draft, "/classes", **{f"{field}.{draft.classes[0].id}": value})
    assert status == 422 and says in page and classes(ui, draft) == before


def test_the_order_of_classes_is_fixed_once_a_model_depends_on_it(ui: Ui, draft: World) -> None:
    train(draft)
    first, last = draft.classes[0].id, draft.classes[2].id
    assert "The order is fixed" in ui.ann.get(f"/projects/{draft.id}/settings").text
    save(ui, draft, "/classes", **{f"place.{last}": "1", f"place.{first}": "3", f"name.{first}": "kitten"})
    assert [one.name for one in classes(ui, draft)] == ["kitten", "dog", "cow"]


def test_a_class_is_added_at_the_end(ui: Ui, draft: World) -> None:
    train(draft)
    assert save(ui, draft, "/classes/add", name=" horse ")[0] == 303
    last = classes(ui, draft)[-1]
    assert (last.name, last.position, last.hotkey) == ("horse", 3, "4")
    assert save(ui, draft, "/classes/add", name="horse")[0] == 422
    assert save(ui, draft, "/classes/add", name="")[0] == 422


def test_guidelines_are_saved_as_they_were_written(ui: Ui, draft: World) -> None:
    assert save(ui, draft, "/guidelines", text="A cat\r\nhas whiskers. <b>")[0] == 303
    with ui.system.database.transaction() as tx:
        assert guidelines.get(tx, draft.id).text == "A cat\nhas whiskers. <b>"
    assert "whiskers. &lt;b&gt;" in ui.ann.get(f"/projects/{draft.id}/settings").text
    assert save(ui, draft, "/guidelines", text="x" * 20_001)[0] == 422


def test_a_class_of_another_project_is_out_of_reach(ui: Ui, draft: World) -> None:
    other = hang(ui.system, digits(3), ["x", "y"], name="other")
    assert save(ui, draft, "/classes", **{f"name.{other.classes[0].id}": "mine"})[1].endswith("nothing")
    assert [one.name for one in classes(ui, other)] == ["x", "y"]


def test_unknown_projects_strangers_and_other_sites_are_refused(ui: Ui, draft: World) -> None:
    for part in ("", "/classes", "/classes/add", "/guidelines"):
        assert ui.ann.post(f"/projects/999/settings{part}", data={"name": "x"}).status_code == 404
        path = f"/projects/{draft.id}/settings{part}"
        assert ui.ann.post(path, data={"name": "x"}, headers=ELSEWHERE).status_code == 403
        assert ui.stranger().post(path, data={"name": "x"}).status_code == 401
    assert ui.stranger().get(f"/projects/{draft.id}/settings").status_code == 303
