"""What a file is, told by its inputs and outputs and never by its name."""

from pathlib import Path

import numpy as np
import pytest

from crestereo import ModelFileError
from crestereo.session import Tensor, recognise

FLOAT, HALF, INT = "tensor(float)", "tensor(float16)", "tensor(int64)"
NAME = Path("crestereo_combined_iter5_480x640.onnx")  # says the wrong thing throughout


def image(name, height=480, width=640, kind=FLOAT):
    return Tensor(name, kind, (1, 3, height, width))


def plane(name, channels, height=480, width=640):
    return Tensor(name, FLOAT, (1, channels, height, width))


PAIR = [image("left"), image("right")]
FREE = [image("left", None, None), image("right", None, None)]
OUTPUT = [plane("output", 2)]
HALVES = [image("init_left", 240, 320), image("init_right", 240, 320)]
WHOLES = [image("next_left"), image("next_right")]


@pytest.mark.parametrize(
    ("inputs", "outputs", "kind", "shape"),
    [
        (PAIR, OUTPUT, "init", (480, 640)),
        (FREE, [plane("output", 2, None, None)], "init", None),
        ([*HALVES, *WHOLES], [plane("next_output", 2)], "combined", (480, 640)),
        ([*FREE, Tensor("iters", INT, ())], [plane("disparity", 1)], "lite", None),
        (
            [*FREE, Tensor("prior", FLOAT, (1, 1, None, None))],
            [plane("disparity", 1)],
            "lite",
            None,
        ),
    ],
)
def test_the_kind_follows_from_the_inputs(inputs, outputs, kind, shape):
    face = recognise(inputs, outputs, {}, NAME)
    assert (face.kind, face.shape) == (kind, shape)
    assert face.disparity == outputs[0].name


def test_named_inputs_may_come_in_any_order():
    face = recognise([*WHOLES[::-1], *HALVES[::-1]], OUTPUT, {}, NAME)
    assert face.half == ("init_left", "init_right")
    assert (face.left, face.right) == ("next_left", "next_right")
    face = recognise([Tensor("iters", INT, ()), *PAIR[::-1]], OUTPUT, {}, NAME)
    assert (face.left, face.right) == ("left", "right")


def test_unnamed_inputs_are_taken_in_order():
    face = recognise([image("x"), image("a")], OUTPUT, {}, NAME)
    assert (face.left, face.right) == ("x", "a")


def test_confidence_is_never_taken_for_the_disparity():
    outputs = [plane("confidence", 1), plane("disparity", 1)]
    face = recognise(PAIR, outputs, {}, NAME)
    assert (face.disparity, face.confidence) == ("disparity", "confidence")
    face = recognise(PAIR, [plane("Confidence", 1), plane("1234", 2)], {}, NAME)
    assert (face.disparity, face.confidence) == ("1234", "Confidence")


def test_metadata_may_name_the_kind_and_the_order():
    face = recognise(PAIR, OUTPUT, {"kind": "lite", "channel_order": "RGB"}, NAME)
    assert (face.kind, face.channel_order) == ("lite", "RGB")
    assert recognise(PAIR, OUTPUT, {}, NAME).channel_order == "BGR"  # on record for this name


def test_the_type_of_the_images_is_kept():
    pair = [image("left", kind=HALF), image("right", kind=HALF)]
    assert recognise(pair, OUTPUT, {}, NAME).dtype == np.float16


@pytest.mark.parametrize(
    ("inputs", "outputs"),
    [
        ([Tensor("input:0", FLOAT, (None, 2, None, None))], OUTPUT),  # HITNet
        ([image("left")], OUTPUT),
        ([*PAIR, image("third")], OUTPUT),
        ([*PAIR, Tensor("camera", FLOAT, (3, 3))], OUTPUT),
        ([image("left", kind="tensor(uint8)"), image("right", kind="tensor(uint8)")], OUTPUT),
        ([image("left"), image("right", 240, 320)], OUTPUT),
        (PAIR, [Tensor("classes", FLOAT, (1, 1000))]),
        (PAIR, [plane("output", 3)]),
        ([*PAIR, *WHOLES], OUTPUT),  # the first two are not half the size
        ([*FREE, *WHOLES], OUTPUT),
        ([image("left", None, 640), image("right", None, 640)], OUTPUT),
    ],
)
def test_other_networks_are_refused_with_the_reason(inputs, outputs):
    with pytest.raises(ModelFileError, match=NAME.name):
        recognise(inputs, outputs, {}, NAME)


def test_optional_inputs_that_nobody_knows_are_left_alone():
    extra = Tensor("temperature", FLOAT, (1,), optional=True)
    assert recognise([*PAIR, extra], OUTPUT, {}, NAME).kind == "init"
