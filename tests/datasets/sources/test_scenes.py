"""Scenes of shapes are reproducible, and what is said of their objects is where it is said to be."""

import numpy as np
import pytest

from stoker.datasets.sources.scenes import COLOURS, MOST_OBJECTS, SHAPES, draw_scene

SCENES = [draw_scene(np.random.default_rng(seed), 64, 1 + seed % MOST_OBJECTS) for seed in range(40)]


def test_the_same_seed_draws_the_same_scene():
    again = draw_scene(np.random.default_rng(7), 64, 1 + 7 % MOST_OBJECTS)

    assert np.array_equal(again.pixels, SCENES[7].pixels)
    assert [each.box for each in again.objects] == [each.box for each in SCENES[7].objects]


def test_a_scene_has_the_number_of_objects_asked_for():
    assert [len(scene.objects) for scene in SCENES] == [1 + seed % MOST_OBJECTS for seed in range(40)]


def test_boxes_are_tight_around_masks_and_inside_of_the_picture():
    for each in (each for scene in SCENES for each in scene.objects):
        left, top, right, bottom = each.box
        inside = each.mask[top:bottom, left:right]
        assert inside.sum() == each.mask.sum() > 30
        assert inside[0].any()
        assert inside[-1].any()
        assert inside[:, 0].any()
        assert inside[:, -1].any()


def test_no_two_objects_share_a_pixel():
    for scene in SCENES:
        assert sum(each.mask.astype(int) for each in scene.objects).max() == 1


def test_pixels_of_an_object_have_its_colour():
    for scene in SCENES:
        for each in scene.objects:
            middle = np.median(scene.pixels[each.mask], axis=0)
            assert middle == pytest.approx(np.array(COLOURS[each.colour]), abs=12)


def test_all_shapes_and_colours_occur():
    objects = [each for scene in SCENES for each in scene.objects]

    assert {each.shape for each in objects} == set(SHAPES)
    assert {each.colour for each in objects} == set(COLOURS)


@pytest.mark.parametrize("side", [32, 64, 128])
def test_the_most_objects_find_a_place_at_any_size(side):
    assert len(draw_scene(np.random.default_rng(0), side, MOST_OBJECTS).objects) == MOST_OBJECTS
