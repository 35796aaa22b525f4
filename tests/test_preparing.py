"""How the pairs of a video are prepared while it runs: when the model is looked for again."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from crestereo.app import align as preparing
from crestereo.app.align import prepare_pictures, prepare_video
from crestereo.app.settings import ImageSettings
from crestereo.types import StereoPair
from tools.lib.moving_scene import Stage

SIZE = (200, 320)


@pytest.fixture(autouse=True)
def look_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preparing, "LOOK_EVERY", 4)
    monkeypatch.setattr(preparing, "LOOK_AGAIN_AFTER", 2)


def settings(**changes: object) -> ImageSettings:
    block = {
        "iters": 5, "model_shape": (480, 640), "version": "lite", "device": "cpu",
        "colormap": "magma", "baseline_m": 0.1, "focal_px": 300.0,
    }  # fmt: skip
    return ImageSettings(**{**block, **changes})  # type: ignore[arg-type]


def pair(rows: int = 0) -> StereoPair:
    """Return a pair whose right picture lies some rows lower."""
    stage = Stage(3, SIZE)
    return StereoPair(stage.view(False)[0], np.roll(stage.view(True)[0], rows, axis=0), "toy")


def dark() -> StereoPair:
    return StereoPair(np.zeros((*SIZE, 3), np.uint8), np.zeros((*SIZE, 3), np.uint8), "toy")


def test_a_dark_beginning_is_told_and_then_what_was_found(tmp_path: Path) -> None:
    # given a video that fades in, of cameras that do not stand alike
    prepare = prepare_video(settings(), [dark(), dark()])
    # when its first pair is prepared, one in the dark, and one that can be seen
    first, second, seen = prepare(dark()), prepare(dark()), prepare(pair(14))
    # then the verdict stays until there is a better one, which is told with its doubt
    assert "too little texture" in first.note or "the same picture" in first.note
    assert (second.note, second.doubt) == (first.note, "")
    assert "aligned" in seen.note
    assert "approximate" in seen.doubt


def test_a_near_thing_at_the_beginning_does_not_move_what_comes_later() -> None:
    # given a video whose first pair shows near things only
    near = pair()
    near.right[:, :-60] = near.right[:, 60:].copy()
    near.right[:, -60:] = 128
    assert "range moved" in prepare_pictures(settings())(near).note
    prepared = prepare_video(settings(), [near])(near)
    # then its pairs are not moved towards each other
    assert "range moved" not in prepared.note
    np.testing.assert_array_equal(prepared.pair.right, near.right)


def test_cameras_that_are_moved_get_another_model_after_some_looks() -> None:
    # given a video whose model is known
    prepare = prepare_video(settings(), [pair()])
    notes = [prepare(pair()).note]
    # when the right camera is moved for good
    notes += [prepare(pair(14)).note for _ in range(12)]
    # then the third look in a row that finds it so takes the new model, and says so once
    assert notes[0].startswith("pair check: rectified")
    changes = [b for a, b in pairwise(notes) if a != b]
    assert len(changes) == 1
    assert changes[0].startswith("pair check: aligned")
    assert changes[0].endswith("from here on the cameras stand otherwise")
    assert notes[4 : 4 + 5] == [notes[0]] * 4 + [changes[0]]


def test_a_short_disturbance_changes_nothing() -> None:
    # given a video whose model is known
    prepare = prepare_video(settings(), [pair(14)])
    first = prepare(pair(14))
    # when pairs in between cannot be told, or fit otherwise for two looks
    others = [pair(14)] * 3 + [pair(0)] * 4 + [pair(14)] * 4 + [dark()] * 9
    # then the model stays
    assert {prepare(other).note for other in others} == {first.note}
