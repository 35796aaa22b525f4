"""Estimate depth from one video that holds both views, save it and show it.

Answer its prompt with a file, a web address (YouTube too), or the number of a camera.
Keys: q quits, space pauses, "." shows the next frame, s saves the view. Each setting below has a
flag that overrides it for one run, see --help.
"""

from crestereo.app.commands import estimate_video
from crestereo.app.script import run_script
from crestereo.app.settings import UnifiedVideoSettings, read_settings

# -------------------------------------------------------------------------------------------------
iters = 5  # refinement steps: 2, 5, 10, 20 (published networks), 1..32 (bundled network)
model_shape = (240, 320)  # height, width the network works at [px]
version = "auto"  # "auto", "lite" (bundled), "init" or "combined" (published, downloaded once)
device = "auto"  # "auto", "cpu", "cuda", "tensorrt", "coreml", "openvino", "directml"
colormap = "magma"  # "magma", "turbo", "viridis", or another colour map of OpenCV
max_distance = None  # far end of the colours [m], for example 10.0; None: range of the scene
swap = None  # True: the left view is in the right half, False: in the left; None: ask
align = "auto"  # "auto": detect and correct misalignment; "off": assume a rectified pair
layout = "auto"  # "auto", "sbs_full", "sbs_half", "tb_full", "tb_half", each also with "_rl"
baseline_m = None  # distance of the cameras [m], for example 0.12; None: relative depth only
focal_px = None  # focal length at the width of one half [px]; None: relative depth only
calibration = None  # instead of the two: "calib.txt" (Middlebury), K.txt or an OpenCV .yml
video_sample = "input_files/street_SBS.mp4"  # offered as the answer to the first prompt
# -------------------------------------------------------------------------------------------------


def main() -> None:
    settings, given = read_settings(UnifiedVideoSettings, globals(), __doc__, ("video",))
    estimate_video(settings, given, video_sample)


if __name__ == "__main__":
    run_script(main)
