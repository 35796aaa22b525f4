"""Estimate depth from a left and a right image, save it and show it.

Answer its two prompts (Enter takes the samples); the results are written to output/. One file that
holds both views, such as an MPO, is enough. Each setting below has a flag, see --help.
"""

from crestereo.app.commands import estimate_images
from crestereo.app.script import run_script
from crestereo.app.settings import ImageSettings, read_settings

# -------------------------------------------------------------------------------------------------
iters = 10  # refinement steps: 2, 5, 10, 20 (published networks), 1..32 (bundled network)
model_shape = (720, 960)  # height, width the network works at [px]
version = "auto"  # "auto", "lite" (bundled), "init" or "combined" (published, downloaded once)
device = "auto"  # "auto", "cpu", "cuda", "tensorrt", "coreml", "openvino", "directml"
colormap = "magma"  # "magma", "turbo", "viridis", or another colour map of OpenCV
max_distance = None  # far end of the colours [m], for example 10.0; None: range of the scene
align = "auto"  # "auto": detect and correct misalignment; "off": assume a rectified pair
swap = None  # True: exchange left and right; False: never; None: detected
baseline_m = None  # distance of the cameras [m], for example 0.12; None: relative depth only
focal_px = None  # focal length at the width of the images [px]; None: relative depth only
calibration = None  # instead of the two: "calib.txt" (Middlebury), K.txt or an OpenCV .yml
left_sample = "input_files/table_left.png"  # offered as the answer to the first prompt
right_sample = "input_files/table_right.png"  # and to the second
# -------------------------------------------------------------------------------------------------


def main() -> None:
    settings, given = read_settings(ImageSettings, globals(), __doc__, ("left", "right"))
    estimate_images(settings, given, (left_sample, right_sample))


if __name__ == "__main__":
    run_script(main)
