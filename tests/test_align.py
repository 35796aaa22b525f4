"""Alignment of the pairs of a run: what is reported, corrected, and re-estimated along a video."""

from __future__ import annotations

from itertools import pairwise
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from crestereo.app import align
from crestereo.app.align import MOVED, Aligner, ReadyPair, advise
from crestereo.app.settings import ImageSettings
from crestereo.types import BGRImage, DisparityResult, StereoPair
from tools.lib.moving_scene import Stage

SIZE = (200, 320)


def settings(**changes: object) -> ImageSettings:
    return ImageSettings(**changes)  # type: ignore[arg-type]


def views() -> tuple[BGRImage, BGRImage]:
    stage = Stage(3, SIZE)
    return stage.view(False)[0], stage.view(True)[0]


def pair(rows: int = 0, columns: int = 0) -> StereoPair:
    """Return a pair whose right image is lower and whose disparities are smaller."""
    left, right = views()
    return StereoPair(left, np.roll(right, (rows, columns), axis=(0, 1)), "toy")


def near_pair(by_px: int) -> StereoPair:
    """Return a pair whose disparities are larger."""
    left, right = views()
    closer = np.full_like(right, 128)
    closer[:, :-by_px] = right[:, by_px:]
    return StereoPair(left, closer, "toy")


def dark() -> StereoPair:
    return StereoPair(np.zeros((*SIZE, 3), np.uint8), np.zeros((*SIZE, 3), np.uint8), "toy")


def result(ready: ReadyPair, disparity_px: float, confidence: float = 0.8) -> DisparityResult:
    shape = ready.aligned.left.shape[:2]
    return DisparityResult(
        np.full(shape, disparity_px, np.float32), np.full(shape, confidence, np.float32), 0, "", ""
    )


def notes_of(aligner: Aligner, pairs: list[StereoPair], disparity_px: float = 20) -> list[str]:
    """Run an aligner over pairs, with results that give no reason for a check."""
    notes = []
    for each in pairs:
        ready = aligner(each)
        aligner.observe(ready, result(ready, disparity_px))
        notes.append(ready.note)
    return notes


def test_a_dark_beginning_is_reported_and_then_what_was_found() -> None:
    # given a video that fades in, of cameras that differ in height
    aligner = Aligner(settings(baseline_m=0.1, focal_px=300.0), [dark(), dark()])
    # when dark pairs come, and later one that shows something
    first, second = aligner(dark()), aligner(dark())
    notes = notes_of(aligner, [pair(14)] * (align.RETRY_AFTER + 1))
    # then the first verdict stays until there is a better one, reported with its doubt
    assert first.note.startswith("WARNING: too little texture")
    assert (second.note, second.doubt) == (first.note, "")
    assert "corrected (vertical disparity 14" in notes[-1]
    assert "approximate" in aligner(pair(14)).doubt


def test_the_dark_edge_of_a_still_is_no_bar_of_a_film() -> None:
    left, right = views()
    left[:10], right[:10] = 3, 3
    dark_edge = StereoPair(left, right, "toy")
    assert "black bars: top" in Aligner(settings(), [dark_edge])(dark_edge).note
    assert "black bars" not in Aligner(settings(), [dark_edge], still=True)(dark_edge).note


def test_a_near_thing_at_the_beginning_does_not_move_what_comes_later() -> None:
    # given a video whose first pair shows near things only, within the network's range
    near = near_pair(60)
    assert "range shifted" in Aligner(settings(), [near], still=True)(near).note
    ready = Aligner(settings(), [near])(near)
    # then its pairs are not moved towards each other
    assert "range shifted" not in ready.note
    np.testing.assert_array_equal(ready.aligned.right, near.right)


def test_moved_cameras_get_another_alignment_that_is_reported_once() -> None:
    # given a video of rectified pairs
    aligner = Aligner(settings(), [pair()])
    notes = notes_of(aligner, [pair()] * 3)
    # when the right camera is moved for good
    notes += notes_of(aligner, [pair(14)] * (align.CHECK_EVERY + align.SUSPECTED_AFTER + 2))
    # then the alignment follows within two seconds, and one note tells
    assert notes[0] == "pair: rectified"
    changes = [b for a, b in pairwise(notes) if a != b]
    assert changes == [f"pair: rectified; {MOVED}"]
    ready = aligner(pair(14))
    assert ready.aligned.plan is not None
    assert ready.aligned.plan.check.vertical_offset_px == pytest.approx(14, abs=0.3)


def test_cameras_that_keep_moving_are_followed_closely() -> None:
    # given a video of two hand-held phones, of which one sinks by a row every third frame
    aligner = Aligner(settings(), [pair()])
    behind = []
    for number in range(48):
        ready = aligner(pair(number // 3))
        aligner.observe(ready, result(ready, 20))
        plan = ready.aligned.plan
        assert plan is not None
        behind.append(number // 3 - plan.check.vertical_offset_px)
    # then, once that is noticed, the alignment is never more than two rows behind
    assert max(behind[28:]) <= 2.1


def test_a_short_disturbance_changes_nothing() -> None:
    # given a video of pairs that are corrected
    aligner = Aligner(settings(), [pair(14)])
    plan = aligner(pair(14)).aligned.plan
    # when single pairs between them are dark, or differ
    others = [*[pair(14)] * 20, pair(), *[pair(14)] * 30, *[dark()] * 60]
    notes = notes_of(aligner, others)
    # then the alignment stays
    assert len(set(notes)) == 1
    assert aligner(pair(14)).aligned.plan is plan


@pytest.mark.parametrize("disparity_px", [-1.0, 127.0])
def test_results_at_the_ends_of_the_range_move_it(disparity_px: float) -> None:
    # given a video whose disparities are in the network's range
    aligner = Aligner(settings(), [pair()])
    notes_of(aligner, [pair()] * 12)
    # when they become negative or too large, and the results end at the range
    later = near_pair(125) if disparity_px > 0 else pair(columns=40)
    notes = notes_of(aligner, [later] * 25, disparity_px)
    # then the pairs are shifted, and the result is restored with its sign and size
    assert notes[-1].endswith(MOVED)
    ready = aligner(later)
    assert ready.aligned.plan is not None
    assert np.sign(ready.aligned.plan.shift_px) == np.sign(disparity_px)
    restored = ready.aligned.restore(result(ready, 10).disparity)
    assert restored.shape == SIZE
    assert restored[100, 200] == 10 + ready.aligned.plan.shift_px


def test_results_without_reason_for_a_check_cause_none(monkeypatch: pytest.MonkeyPatch) -> None:
    # given a video under way, and a count of its checks
    aligner = Aligner(settings(), [pair()])
    notes_of(aligner, [pair()] * 120)
    checks: list[int] = []
    original = align.match_copies
    monkeypatch.setattr(align, "match_copies", lambda c: checks.append(1) or original(c))
    # when results show nothing unusual
    notes_of(aligner, [pair()] * (2 * align.CHECK_EVERY))
    # then pairs are checked at long intervals only
    assert len(checks) <= 3


def test_fallen_confidence_asks_for_a_check() -> None:
    # given a video under way
    aligner = Aligner(settings(), [pair()])
    notes_of(aligner, [pair()] * 120)
    # when the right camera moves and the confidence of the results falls
    for _ in range(align.CHECK_EVERY + align.SUSPECTED_AFTER):
        ready = aligner(pair(14))
        aligner.observe(ready, result(ready, 20, 0.4))
    # then the alignment follows
    assert ready.note.endswith(MOVED)


def test_turned_and_mirrored_right_images_are_named_and_undone() -> None:
    # given pairs whose right image is mirrored or upside down
    left, right = views()
    for changed, word in ((right[:, ::-1], "mirrored"), (right[::-1, ::-1], "upside down")):
        given = StereoPair(left, np.ascontiguousarray(changed), "toy")
        # when they are aligned
        ready = Aligner(settings(), [given], still=True)(given)
        # then the note names it, and the network gets the right image as it should be
        assert ready.note.startswith("WARNING")
        assert word in ready.note
        got = ready.aligned.right[20:-20, 20:-20].astype(int)
        assert np.abs(got - right[20:-20, 20:-20]).mean() < 2


def test_a_scene_deeper_than_the_networks_range_is_reported() -> None:
    # given a pair of disparities from 6 to 0.45 of the width
    left, right = views()
    deep = right.copy()
    deep[120:, :-125] = right[120:, 125:]
    given = StereoPair(left, deep, "toy")
    ready = Aligner(settings(), [given], still=True)(given)
    # then the note says that parts are beyond the network's range
    assert "beyond the network's range" in ready.note


def test_swapped_stills_are_exchanged_unless_forbidden() -> None:
    # given a still pair in the wrong order
    stage = Stage(1, (300, 400), cards=5)
    left, right = stage.view(False)[0], stage.view(True)[0]
    swapped = StereoPair(right, left, "toy")
    # when it is aligned with and without permission to exchange
    ready, kept = (
        Aligner(settings(swap=swap), [swapped], still=True)(swapped) for swap in (None, False)
    )
    # then it is exchanged and said, or kept
    assert "are exchanged" in ready.note
    assert ready.original.left is left
    assert "exchanged" not in kept.note
    assert kept.original.left is right


def test_a_step_that_fails_is_reported_and_ends_nothing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # given a pair check that fails inside OpenCV
    def failing(*_: object, **__: object) -> None:
        raise cv2.error("assertion")

    monkeypatch.setattr(align, "check_pair", failing)
    # when a pair is aligned
    ready = Aligner(settings(), [pair()], still=True)(pair())
    # then the pair goes on as it came, and one sentence says so
    np.testing.assert_array_equal(ready.aligned.left, ready.original.left)
    assert "could not be checked" in capsys.readouterr().err
    assert advise("layout", lambda: SimpleNamespace(x=1), None) == SimpleNamespace(x=1)
