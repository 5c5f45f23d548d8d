"""What is chosen by the number of labels, the kind of images and what trains."""

from __future__ import annotations

from typing import Any

import pytest

from shared.learning.config import LearnConfig

DIGITS, THINGS = ("0", "1", "digit 2"), ("cat", "dog")
SCRATCH = LearnConfig()
FINETUNE = LearnConfig(arch="resnet18", mode="finetune")


def test_signs_are_never_mirrored_and_grey_pictures_neither() -> None:
    assert SCRATCH.recipe_for(100, THINGS, gpu=False).flip
    assert not SCRATCH.recipe_for(100, DIGITS, gpu=False).flip
    assert not SCRATCH.recipe_for(100, THINGS, grey=True, gpu=False).flip


@pytest.mark.parametrize("config", [SCRATCH, FINETUNE], ids=["scratch", "finetune"])
def test_a_gpu_gives_networks_more_steps(config: LearnConfig) -> None:
    fast, slow = (config.recipe_for(100, THINGS, gpu=gpu) for gpu in (True, False))
    assert fast.min_steps > slow.min_steps
    assert not fast.reads_unlabelled and not slow.reads_unlabelled


def test_a_large_network_is_not_kept_longer_than_was_measured() -> None:
    large = LearnConfig(arch="resnet50")
    assert large.recipe_for(100, DIGITS, gpu=True) == large.recipe_for(100, DIGITS, gpu=False)


def test_on_a_gpu_signs_are_learned_from_the_pool_as_well() -> None:
    assert SCRATCH.recipe_for(100, DIGITS, gpu=True).reads_unlabelled
    assert not SCRATCH.recipe_for(100, DIGITS, gpu=False).reads_unlabelled
    assert not FINETUNE.recipe_for(100, DIGITS, gpu=True).reads_unlabelled


@pytest.mark.parametrize("recipe", [{"min_steps": 7}, {"consistency": 0.0}, {"pseudo_labels": 0.9}])
def test_what_a_project_says_goes_before_what_is_chosen(recipe: dict[str, Any]) -> None:
    chosen = LearnConfig(recipe=recipe).recipe_for(100, DIGITS, gpu=True)
    assert {name: getattr(chosen, name) for name in recipe} == recipe
