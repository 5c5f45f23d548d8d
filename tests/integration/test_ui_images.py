"""The images page over HTTP: what it shows, what is done from it, and what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image as Picture

from shared.db import labels
from shared.domain import ImageId, ProjectId, Split
from shared.imaging import decode
from shared.store.base import thumb_key
from tests.browser.gallery import digits, hang, open_for_labelling, photos
from tests.integration.ui_support import ELSEWHERE, PAGE, Ui, open_ui, text_of
from tests.world import World


@pytest.fixture
def ui(migrated_database_url: str, tmp_path: Path) -> Iterator[Ui]:
    with open_ui(migrated_database_url, tmp_path) as opened:
        yield opened


@pytest.fixture
def world(ui: Ui) -> World:
    world = open_for_labelling(hang(ui.system, digits(70), ["even", "odd", "a & b"], initial=20))
    world.answer(3)
    return world


def label(ui: Ui, image: int) -> str | None:
    with ui.system.database.transaction() as tx:
        found = labels.of_image(tx, ImageId(image))
    return found.name if found else None


def act(ui: Ui, world: World, **form: object) -> tuple[int, str]:
    answer = ui.ann.post(f"/projects/{world.id}/images/actions", data=form, headers=PAGE)
    return answer.status_code, answer.headers.get("location", answer.text)


def test_a_page_shows_sixty_and_leads_on(ui: Ui, world: World) -> None:
    first = ui.ann.get(f"/projects/{world.id}/images").text
    assert first.count('name="id"') == 60 and "70 images" in text_of(first)
    after = sorted(image.id for image in world.images)[59]
    assert f"/images?after={after}" in first
    second = ui.ann.get(f"/projects/{world.id}/images?after={after}").text
    assert second.count('name="id"') == 10 and "Next page" not in second and "First page" in second


def test_a_filter_is_kept_from_page_to_page_and_in_its_fields(ui: Ui, world: World) -> None:
    page = ui.ann.get(f"/projects/{world.id}/images?state=unlabelled&name=png&longest=8").text
    assert "67 images pass this filter" in text_of(page)
    assert "state=unlabelled&amp;name=png&amp;longest=8&amp;after=" in page
    assert '<option value="unlabelled" selected>' in page and 'value="png"' in page


@pytest.mark.parametrize(
    "query", ["class=x", "class=0", "state=lost", "from=120", "source=me", "format=SVG", "longest=-1", "class=9e99"]
)
def test_a_filter_that_makes_no_sense_is_said_to(ui: Ui, world: World, query: str) -> None:
    page = ui.ann.get(f"/projects/{world.id}/images?{query}", headers=PAGE)
    assert page.status_code == 422 and "the filter" in text_of(page.text)


def test_a_class_of_another_project_finds_nothing(ui: Ui, world: World) -> None:
    other = hang(ui.system, digits(3), ["x", "y"], name="other")
    page = ui.ann.get(f"/projects/{world.id}/images?class={other.classes[0].id}").text
    assert "No image passes this filter" in text_of(page)


def test_an_empty_project_says_where_to_begin(ui: Ui) -> None:
    empty = hang(ui.system, [], ["x", "y"], name="empty")
    page = ui.ann.get(f"/projects/{empty.id}/images").text
    assert "No images yet" in page and f"/projects/{empty.id}/data" in page


def test_images_are_relabelled_at_once(ui: Ui, world: World) -> None:
    chosen = [world.images[40].id, world.images[41].id]
    status, place = act(ui, world, action="relabel", id=chosen, class_id=world.classes[2].id, query="split=pool")
    assert (status, place) == (303, f"/projects/{world.id}/images?split=pool&done=relabel&n=2")
    assert [label(ui, image) for image in chosen] == ["a & b", "a & b"]
    page = ui.ann.get(place).text
    assert "2 images were relabelled." in page and "a &amp; b" in page


def test_what_takes_a_label_away_is_asked_first(ui: Ui, world: World) -> None:
    with ui.system.database.transaction() as tx:
        (image,) = tx.all("SELECT image_id FROM labels LIMIT 1")
    status, page = act(ui, world, action="remove", id=[image["image_id"]])
    assert status == 200 and "Remove the label of 1 image?" in text_of(page)
    assert label(ui, image["image_id"]) is not None
    status, place = act(ui, world, action="remove", id=[image["image_id"]], confirmed="1")
    assert status == 303 and place.endswith("done=remove&n=1") and label(ui, image["image_id"]) is None


def test_all_that_pass_a_filter_are_counted_and_asked_for_first(ui: Ui, world: World) -> None:
    form = {"action": "relabel", "all": "1", "class_id": world.classes[1].id, "query": "state=unlabelled"}
    status, page = act(ui, world, **form)
    assert status == 200 and "Give 67 images the class “odd”?" in text_of(page)
    status, place = act(ui, world, **form, confirmed="1")
    assert status == 303 and place.endswith("n=67")
    assert "No image passes" in ui.ann.get(f"/projects/{world.id}/images?state=unlabelled").text


@pytest.mark.parametrize(
    ("form", "status", "says"),
    [
        ({"action": "relabel", "class_id": "1"}, 422, "no image was chosen"),
        ({"action": "relabel", "id": [1]}, 422, "choose the class"),
        ({"action": "burn", "id": [1]}, 422, "action"),
        ({"action": "remove", "id": ["x"]}, 422, "id"),
        ({"action": "remove", "id": [10**30]}, 422, "no image was chosen"),
        ({"action": "remove", "all": "1", "query": "state=lost"}, 422, "the filter"),
        ({"action": "holdout", "id": [1], "confirmed": "1"}, 409, "before the project is started"),
        ({"action": "relabel", "id": [1], "class_id": "999"}, 422, "class 999"),
    ],
)
def test_what_can_t_be_done_is_refused_in_words(
    ui: Ui, world: World, form: dict[str, object], status: int, says: str
) -> None:
    form = {**form, "id": [world.images[0].id]} if form.get("id") == [1] else form
    refused, page = act(ui, world, **form)
    assert refused == status and says in page
    assert len(ui.events(world.id)) == 1, "nothing but the start is on record"


def test_another_projects_images_are_out_of_reach(ui: Ui, world: World) -> None:
    other = hang(ui.system, digits(3), ["x", "y"], name="other")
    theirs = [image.id for image in other.images]
    assert act(ui, world, action="remove", id=theirs, confirmed="1")[0] == 422
    for path in (f"images/{theirs[0]}/details", f"images/{theirs[0]}/thumb"):
        assert ui.ann.get(f"/projects/{world.id}/{path}").status_code == 404
    assert ui.ann.post("/projects/999/images/actions", data={"action": "remove", "id": theirs}).status_code == 404


def test_images_move_while_the_project_is_a_draft(ui: Ui) -> None:
    draft = hang(ui.system, digits(5), ["x", "y"], name="draft")
    assert act(ui, draft, action="holdout", id=[draft.images[0].id], confirmed="1")[0] == 303
    with ui.system.database.transaction() as tx:
        rows = tx.all("SELECT id FROM images WHERE split = 'holdout'")
    assert [row["id"] for row in rows] == [draft.images[0].id]


def test_an_image_has_a_page_with_its_history(ui: Ui, world: World) -> None:
    with ui.system.database.transaction() as tx:
        (row,) = tx.all("SELECT image_id FROM labels ORDER BY image_id LIMIT 1")
    act(ui, world, action="relabel", id=[row["image_id"]], class_id=world.classes[1].id)
    page = text_of(ui.ann.get(f"/projects/{world.id}/images/{row['image_id']}/details").text)
    assert "odd by a person" in page and "8 × 8" in page and "PNG" in page
    for said in (
        "Ann Lee labelled 1 image “odd” by hand",
        "Ann Lee labelled it by hand",
        "Ann Lee answered",
        "Chosen at random for the first labels.",
        "It was uploaded.",
    ):
        assert said in page


def test_a_list_shows_small_pictures_made_once(ui: Ui) -> None:
    world = hang(ui.system, photos(1), ["x", "y"])
    image = world.images[0]
    answer = ui.ann.get(f"/projects/{world.id}/images/{image.id}/thumb")
    assert answer.headers["content-type"] == "image/jpeg" and "immutable" in answer.headers["cache-control"]
    small = decode(answer.content)
    assert isinstance(small, Picture.Image) and small.size == (320, 213)
    assert ui.system.store.get(thumb_key(ProjectId(world.id), image.sha256)) == answer.content
    again = ui.ann.get(answer.request.url.path, headers={"if-none-match": answer.headers["etag"]})
    assert again.status_code == 304


def test_a_small_file_is_its_own_small_picture(ui: Ui, world: World) -> None:
    image = world.images[0]
    assert image.split is Split.POOL
    path = f"/projects/{world.id}/images/{image.id}"
    assert ui.ann.get(f"{path}/thumb").content == ui.ann.get(path).content


def test_nobody_gets_in_without_a_session_and_no_other_site_acts(ui: Ui, world: World) -> None:
    stranger = ui.stranger()
    for path in ("images", f"images/{world.images[0].id}/details", f"images/{world.images[0].id}/thumb"):
        assert stranger.get(f"/projects/{world.id}/{path}").status_code == 303
    form = {"action": "remove", "id": [world.images[0].id], "confirmed": "1"}
    assert stranger.post(f"/projects/{world.id}/images/actions", data=form).status_code == 401
    assert ui.ann.post(f"/projects/{world.id}/images/actions", data=form, headers=ELSEWHERE).status_code == 403


def test_images_are_tagged_found_by_it_and_untagged(ui: Ui, world: World) -> None:
    chosen = [image.id for image in world.images[40:43]]
    status, place = act(ui, world, action="tag", id=chosen, tag=" Low  light ")
    assert status == 303 and place.endswith("done=tag&n=3&named=Low+light")
    assert "3 images were tagged: Low light." in text_of(ui.ann.get(place).text)
    page = ui.ann.get(f"/projects/{world.id}/images?tag=LOW+light").text
    assert "3 images pass this filter" in text_of(page) and "<option selected>Low light</option>" in page
    assert page.count('<span class="tag own">Low light</span>') == 3
    form = {"action": "untag", "all": "1", "tag": "low light", "query": "tag=low+light"}
    status, page = act(ui, world, **form)
    assert status == 200 and "Take the tag “low light” off 3 images?" in text_of(page)
    assert act(ui, world, **form, confirmed="1")[0] == 303
    assert "No image passes" in ui.ann.get(f"/projects/{world.id}/images?tag=low+light").text


def test_an_image_is_tagged_on_its_page_and_its_history_says_so(ui: Ui, world: World) -> None:
    base = f"/projects/{world.id}/images/{world.images[0].id}"
    ui.ann.post(f"{base}/tags", data={"tag": "a & b"}, headers=PAGE)
    page = ui.ann.get(f"{base}/details").text
    assert f'href="/projects/{world.id}/images?tag=a+%26+b"' in page
    assert "tagged 1 image “a &amp; b”" in page
    ui.ann.post(f"{base}/tags/remove", data={"tag": "A & B"}, headers=PAGE)
    assert "took the tag “a & b” off 1 image" in text_of(ui.ann.get(f"{base}/details").text)


@pytest.mark.parametrize("tag", ["", "a,b", "x" * 51])
def test_a_tag_that_can_t_be_is_refused_in_words(ui: Ui, world: World, tag: str) -> None:
    refused, page = act(ui, world, action="tag", id=[world.images[0].id], tag=tag)
    assert refused == 422 and "a tag" in page


def test_only_labels_by_people_and_imports_become_known_answers(ui: Ui, world: World) -> None:
    status, place = act(ui, world, action="gold", id=[image.id for image in world.images])
    assert status == 303 and place.endswith("done=gold&n=3")
    assert "The answers to 3 images are known now." in ui.ann.get(place).text
    assert "3 images" in text_of(ui.ann.get(f"/projects/{world.id}/quality").text)
    status, place = act(ui, world, action="gold", id=[world.images[-1].id])
    assert "none of these images has a label" in ui.ann.get(place).text


def test_an_image_is_made_gold_on_its_page_with_a_class_of_ones_own(ui: Ui, world: World) -> None:
    image = world.images[50].id
    base = f"/projects/{world.id}/images/{image}"
    ui.ann.post(f"{base}/gold", data={"class_id": world.classes[1].id}, headers=PAGE)
    assert label(ui, image) == "odd"
    assert "Not gold any more" in ui.ann.get(f"{base}/details").text
    sent = ui.ann.post(f"{base}/gold/remove", data={"back": "quality"}, headers=PAGE)
    assert (sent.status_code, sent.headers["location"]) == (303, f"/projects/{world.id}/quality#known")
    page = text_of(ui.ann.get(f"{base}/details").text)
    assert "Use as gold" in page and "took 1 image out of what is known" in page
    assert label(ui, image) == "odd"


def test_a_class_of_another_project_is_no_known_answer(ui: Ui, world: World) -> None:
    other = hang(ui.system, digits(3), ["x", "y"], name="other")
    base = f"/projects/{world.id}/images/{world.images[0].id}"
    assert ui.ann.post(f"{base}/gold", data={"class_id": other.classes[0].id}).status_code == 422
    theirs = f"/projects/{world.id}/images/{other.images[0].id}"
    assert ui.ann.post(f"{theirs}/gold", data={"class_id": world.classes[0].id}).status_code == 404
    assert ui.ann.post(f"{theirs}/tags", data={"tag": "mine"}).status_code == 404


@pytest.mark.parametrize("place", ["map", "review"])
def test_images_chosen_on_a_page_are_tagged_and_untagged(ui: Ui, world: World, place: str) -> None:
    ids = [image.id for image in world.images[:3]]
    base = f"/v1/projects/{world.id}/{place}"
    assert ui.ann.post(f"{base}/tag", json={"image_ids": ids[:2], "tag": "Blurry"}).json() == {"image_ids": ids[:2]}
    assert ui.ann.post(f"{base}/tag", json={"image_ids": ids, "tag": "blurry"}).json() == {"image_ids": ids[2:]}
    assert "3 images pass this filter" in text_of(ui.ann.get(f"/projects/{world.id}/images?tag=blurry").text)
    assert ui.ann.post(f"{base}/untag", json={"image_ids": ids, "tag": "blurry"}).json() == {"image_ids": ids}
    assert ui.ann.post(f"{base}/untag", json={"image_ids": ids, "tag": "blurry"}).json() == {"image_ids": []}
    assert ui.ann.post(f"{base}/tag", json={"image_ids": ids, "tag": "a,b"}).status_code == 422
