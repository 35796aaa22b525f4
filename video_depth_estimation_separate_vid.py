"""Estimate depth from a left and a right video, save it and show it.

Answer its prompts with files, web addresses (YouTube too), or the numbers of two cameras. Keys: q
quits, space pauses, "." shows the next frame, s saves the view. Flags override settings: --help.
"""

from crestereo.app.commands import estimate_videos
from crestereo.app.script import run_script
from crestereo.app.settings import TwoVideosSettings, read_settings

# -------------------------------------------------------------------------------------------------
iters = 5  # refinement steps: 2, 5, 10, 20 (published networks), 1..32 (bundled network)
model_shape = (240, 320)  # height, width the network works at [px]
version = "auto"  # "auto", "lite" (bundled), "init" or "combined" (published, downloaded once)
device = "auto"  # "auto", "cpu", "cuda", "tensorrt", "coreml", "openvino", "directml"
colormap = "magma"  # "magma", "turbo", "viridis", or another colour map of OpenCV
max_distance = None  # far end of the colours [m], for example 10.0; None: range of the scene
align = "auto"  # "auto": detect and correct misalignment; "off": assume a rectified pair
swap = None  # True: exchange left and right; False: never; None: detected
sync = "auto"  # "auto": estimated; "off"; or frames that the right video is behind, 7
baseline_m = None  # distance of the cameras [m], for example 0.12; None: relative depth only
focal_px = None  # focal length at the width of the videos [px]; None: relative depth only
calibration = None  # instead of the two: "calib.txt" (Middlebury), K.txt or an OpenCV .yml
samples = "input_files/clip1_left.mp4", "input_files/clip1_right.mp4"  # offered at the prompts
# -------------------------------------------------------------------------------------------------


def main() -> None:
    settings, given = read_settings(TwoVideosSettings, globals(), __doc__, ("left", "right"))
    estimate_videos(settings, given, samples)


if __name__ == "__main__":
    run_script(main)
