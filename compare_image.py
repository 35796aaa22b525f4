"""Say how different two pictures are.

Answer its two prompts with files or web addresses. The headline is the distance of the colour
histograms, which does not see where a colour is; the two lines below it do.
"""

from crestereo.app.prompts import FIRST_IMAGE, SECOND_IMAGE, ask_pair
from crestereo.app.script import run_script
from crestereo.app.settings import CommonSettings, read_flags
from crestereo.app.sources import parse_picture

# -------------------------------------------------------------------------------------------------
first_sample = "input_files/table_left.png"  # offered as the answer to the first prompt
second_sample = "input_files/table_right.png"  # and to the second
# -------------------------------------------------------------------------------------------------


def main() -> None:
    _, given = read_flags(CommonSettings(), __doc__, ("image1", "image2"))
    samples = (first_sample, second_sample)
    first, second = ask_pair((FIRST_IMAGE, SECOND_IMAGE), given, parse_picture, samples)
    from crestereo.app.run_image import compare_pictures  # noqa: PLC0415  slow to import: after the prompts

    compare_pictures(first, second)


if __name__ == "__main__":
    run_script(main)
