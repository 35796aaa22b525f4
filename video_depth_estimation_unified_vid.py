"""Estimate depth from a video of both eyes and show it, or write it where there is no screen.

Answer its prompt with a file, a web address (YouTube too), or the number of a camera.
Keys: q leaves, space pauses, "." goes one frame on, s saves the view. Each setting below has a
flag that overrides it for one run, see --help.
"""

from crestereo.app.load_model import check_model
from crestereo.app.prompts import STEREO_VIDEO, ask_source, sample
from crestereo.app.script import run_script
from crestereo.app.settings import UnifiedVideoSettings, read_flags
from crestereo.app.sources import parse_video

# -------------------------------------------------------------------------------------------------
iters = 5  # refinement steps: 2, 5, 10, 20 (published networks), 1..32 (bundled network)
model_shape = (240, 320)  # height, width the network works at [px]
version = "auto"  # "auto", "lite" (bundled), "init" or "combined" (published, downloaded once)
device = "auto"  # "auto", "cpu", "cuda", "tensorrt", "coreml", "openvino", "directml"
colormap = "magma"  # "magma", "turbo", "viridis", or another colour map of OpenCV
max_distance = 10.0  # what is farther away is black [m]; counts with a camera only
swap = None  # True: the left eye is in the right half, False: in the left; None: ask
align = "auto"  # "auto": look at the pair and mend what is not rectified; "off": take it as it is
layout = "auto"  # "auto", "sbs_full", "sbs_half", "tb_full", "tb_half", each also with "_rl"
baseline_m = None  # distance of the cameras [m], for example 0.12; None: relative depth only
focal_px = None  # focal length at the width of one half [px]; None: relative depth only
calibration = None  # instead of the two: "calib.txt" (Middlebury), K.txt or an OpenCV .yml
video_sample = "input_files/street_SBS.mp4"  # offered as the answer to the first prompt
# -------------------------------------------------------------------------------------------------


def main() -> None:
    settings, (given,) = read_flags(
        UnifiedVideoSettings(
            iters=iters,
            model_shape=model_shape,
            version=version,
            device=device,
            colormap=colormap,
            max_distance=max_distance,
            swap=swap,
            align=align,
            layout=layout,
            baseline_m=baseline_m,
            focal_px=focal_px,
            calibration=calibration,
        ),
        __doc__,
        ("video",),
    )
    load_model = check_model(settings)
    source = ask_source(STEREO_VIDEO, given, parse_video, sample(video_sample))
    from crestereo.app.run_video import estimate_one_video  # noqa: PLC0415  slow to import: after the prompts

    estimate_one_video(source, load_model, settings)


if __name__ == "__main__":
    run_script(main)
