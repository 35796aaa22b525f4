"""Estimate depth from a left and a right video and show it, or write it where there is no screen.

Answer its prompts with files, web addresses (YouTube too), or the numbers of two cameras. Keys: q
leaves, space pauses, "." goes one frame on, s saves the view. Flags override settings, see --help.
"""

from crestereo.app.load_model import check_model
from crestereo.app.prompts import LEFT_VIDEO, RIGHT_VIDEO, ask_pair
from crestereo.app.script import run_script
from crestereo.app.settings import TwoVideosSettings, read_flags
from crestereo.app.sources import parse_video

# -------------------------------------------------------------------------------------------------
iters = 5  # refinement steps: 2, 5, 10, 20 (published networks), 1..32 (bundled network)
model_shape = (240, 320)  # height, width the network works at [px]
version = "auto"  # "auto", "lite" (bundled), "init" or "combined" (published, downloaded once)
device = "auto"  # "auto", "cpu", "cuda", "tensorrt", "coreml", "openvino", "directml"
colormap = "magma"  # "magma", "turbo", "viridis", or another colour map of OpenCV
max_distance = 10.0  # what is farther away is black [m]; counts with a camera only
align = "auto"  # "auto": look at the pair and mend what is not rectified; "off": take it as it is
swap = None  # True: exchange left and right; False: never; None: warn where they look swapped
sync = "auto"  # "auto": from the motion they share; "off"; or frames the right is behind, "7"
baseline_m = None  # distance of the cameras [m], for example 0.12; None: relative depth only
focal_px = None  # focal length at the width of the videos [px]; None: relative depth only
calibration = None  # instead of the two: "calib.txt" (Middlebury), K.txt or an OpenCV .yml
samples = "input_files/clip1_left.mp4", "input_files/clip1_right.mp4"  # offered at the prompts
# -------------------------------------------------------------------------------------------------


def main() -> None:
    settings, given = read_flags(
        TwoVideosSettings(
            iters=iters,
            model_shape=model_shape,
            version=version,
            device=device,
            colormap=colormap,
            max_distance=max_distance,
            align=align,
            swap=swap,
            sync=sync,
            baseline_m=baseline_m,
            focal_px=focal_px,
            calibration=calibration,
        ),
        __doc__,
        ("left", "right"),
    )
    load_model = check_model(settings)
    prompts = (LEFT_VIDEO, RIGHT_VIDEO)
    left, right = ask_pair(prompts, given, parse_video, samples)
    from crestereo.app.run_video import estimate_two_videos  # noqa: PLC0415  slow to import: after the prompts

    estimate_two_videos(left, right, load_model, settings)


if __name__ == "__main__":
    run_script(main)
