"""Print how different two images are.

Answer its two prompts with files or web addresses. The first line is the distance of the colour
histograms, which ignores where a colour is, and brightness; the two lines below it do not.
"""

from crestereo.app.commands import compare_images
from crestereo.app.script import run_script
from crestereo.app.settings import CommonSettings, read_settings

# -------------------------------------------------------------------------------------------------
first_sample = "input_files/table_left.png"  # offered as the answer to the first prompt
second_sample = "input_files/table_right.png"  # and to the second
# -------------------------------------------------------------------------------------------------


def main() -> None:
    settings, given = read_settings(CommonSettings, globals(), __doc__, ("image1", "image2"))
    compare_images(settings, given, (first_sample, second_sample))


if __name__ == "__main__":
    run_script(main)
