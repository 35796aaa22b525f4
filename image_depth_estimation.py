"""Estimate depth from a left and a right picture, save it and show it.

Answer its two prompts (an empty answer takes the samples); the result is shown and lies in
output/. Each setting below has a flag that overrides it for one run, see --help.
"""

from crestereo.app.load_model import check_model
from crestereo.app.prompts import LEFT_IMAGE, RIGHT_IMAGE, ask_pair
from crestereo.app.script import run_script
from crestereo.app.settings import ImageSettings, read_flags
from crestereo.app.sources import parse_picture

# -------------------------------------------------------------------------------------------------
iters = 5  # refinement steps: 2, 5, 10, 20 (published networks), 1..32 (bundled network)
model_shape = (480, 640)  # height, width the network works at [px]
version = "auto"  # "auto", "lite" (bundled), "init" or "combined" (published, downloaded once)
device = "auto"  # "auto", "cpu", "cuda", "tensorrt", "coreml", "openvino", "directml"
colormap = "magma"  # "magma", "turbo", "viridis", or another colour map of OpenCV
align = "auto"  # "auto": look at the pair and mend what is not rectified; "off": take it as it is
swap = None  # True: exchange left and right; False: never; None: warn where they look swapped
baseline_m = None  # distance of the cameras [m], for example 0.12; None: relative depth only
focal_px = None  # focal length at the width of the pictures [px]; None: relative depth only
calibration = None  # instead of the two: "calib.txt" (Middlebury), K.txt or an OpenCV .yml
left_sample = "input_files/table_left.png"  # offered as the answer to the first prompt
right_sample = "input_files/table_right.png"  # and to the second
# -------------------------------------------------------------------------------------------------


def main() -> None:
    settings, given = read_flags(
        ImageSettings(
            iters=iters,
            model_shape=model_shape,
            version=version,
            device=device,
            colormap=colormap,
            align=align,
            swap=swap,
            baseline_m=baseline_m,
            focal_px=focal_px,
            calibration=calibration,
        ),
        __doc__,
        ("left", "right"),
    )
    load_model = check_model(settings)
    samples = (left_sample, right_sample)
    left, right = ask_pair((LEFT_IMAGE, RIGHT_IMAGE), given, parse_picture, samples)
    from crestereo.app.run_image import estimate_pictures  # noqa: PLC0415  slow to import: after the prompts

    estimate_pictures(left, right, load_model, settings)


if __name__ == "__main__":
    run_script(main)
