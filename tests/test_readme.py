"""The README holds: its commands run, its flags, files, prompts and exit codes are the real ones.

Every block of commands and of Python in it is taken as it stands. Changed is only what must be:
the Python of the virtual environment is the one that runs the tests, installations are looked at
and not carried out, and names a reader replaces by his own stand for small files made here.
"""

from __future__ import annotations

import ast
import functools
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest

from crestereo.app import prompts
from crestereo.models import choose_model
from tests.app_helpers import (
    COMPARE,
    IMAGE,
    ROOT,
    SEPARATE,
    UNIFIED,
    command,
    environment,
    picture_pair,
    run_script,
    write_video,
)
from tests.mini_datasets import middlebury_scene
from tests.test_exit_codes import CASES

SCRIPTS = (IMAGE, SEPARATE, UNIFIED, COMPARE)
RUN = "image_depth_estimation.py"
SET_UP = "python3 -m venv .venv && .venv/bin/pip install -r "
ENGLISH = (ROOT / "README.md").read_text("utf-8")
KOREAN = (ROOT / "README.ko.md").read_text("utf-8")
PAGES = {"README.md": ENGLISH, "README.ko.md": KOREAN}
CARD = (ROOT / "models" / "README.md").read_text("utf-8")
MAX_PICTURE_BYTES = 150_000
NO_NETWORK = {"http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"}


def blocks(text: str, *languages: str) -> list[str]:
    """Return what stands in fenced blocks of these languages, of all where none is named."""
    found = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [body for language, body in found if not languages or language in languages]


def steps(text: str) -> list[tuple[str, ...]]:
    """Return the words of every command of a page once, those of Windows as elsewhere."""
    lines = [line for block in blocks(text, "sh", "bat") for line in block.splitlines()]
    alike = [line.replace(".venv\\Scripts\\", ".venv/bin/") for line in lines]
    words = [
        tuple(shlex.split(step, comments=True)) for line in alike for step in line.split(" && ")
    ]
    return list(dict.fromkeys(filter(None, words)))


@dataclass(frozen=True)
class Place:
    """Hold what stands for the files of the reader, and where results go."""

    folder: Path
    own: dict[str, str]
    answers: dict[str, str]

    def run(self, words: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
        """Run ``.venv/bin/python SCRIPT ...`` with what `EXTRA` adds; each command once."""
        return self._run(words)

    @functools.cached_property
    def _run(self) -> Callable[[tuple[str, ...]], subprocess.CompletedProcess[str]]:
        @functools.cache
        def run(words: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
            script, *given = words[1:]
            args = [self.own.get(word, word) for word in given]
            extra = [word.format(folder=self.folder) for word in EXTRA[script]]
            answers = "" if given else self.answers.get(script, "")
            return run_script(script, *args, *extra, answers=answers, environ=NO_NETWORK)

        return run


WITHOUT_WINDOW = ("--no-window", "--device", "cpu", "--output-dir", "{folder}/output")
EXTRA = {
    IMAGE: WITHOUT_WINDOW,
    SEPARATE: WITHOUT_WINDOW,
    UNIFIED: WITHOUT_WINDOW,
    COMPARE: (),
    "tools/benchmark.py": ("--only", "stages", "--model-shape", "64x96"),
    "tools/compare_models.py": (
        *("--pair", "{folder}/toy_left.png", "{folder}/toy_right.png", "--iters", "2"),
        *("--model-shape", "64x96", "--runs", "1", "--output-dir", "{folder}/chart", "--overwrite"),
    ),
    "tools/download_models.py": ("--folder", "{folder}/models"),
    "tools/evaluate.py": (),
    "tools/evaluate_alignment.py": (  # its clips take minutes
        *("--draws", "1", "--no-network"),
        *("--tasks", "disturbed,untouched,swap"),
    ),
    "tools/failure_cases.py": ("--iters", "1", "--baseline", ""),
    "tools/render_samples.py": ("--help",),  # a minute for each sample
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    folder = tmp_path_factory.mktemp("readme")
    left, right = picture_pair(folder)
    films = [write_video(folder / f"film_{n}.avi", frames=2, size=(128, 96)) for n in (0, 1)]
    both = write_video(folder / "both.avi", frames=2, size=(256, 96))
    middlebury_scene(folder / "pairs" / "scene")
    own = {
        "left.png": left,
        "right.png": right,
        "0": films[0],
        "1": films[1],
        "https://www.youtube.com/watch?v=VIDEO": both,
        "DATASET": folder / "pairs",
    }
    return Place(
        folder,
        {word: str(path) for word, path in own.items()},
        {SEPARATE: f"{films[0]}\n{films[1]}\n", UNIFIED: f"{both}\n\n"},
    )


def test_the_page_opens_with_one_sentence_and_the_two_commands() -> None:
    opening = ENGLISH.split("\n## ")[0]
    assert blocks(opening, "sh")[:2] == [
        f"{SET_UP}requirements.txt && .venv/bin/python {RUN}\n",
        f"{SET_UP}requirements-dev.txt && .venv/bin/python -m pytest\n",
    ]
    sentence = ENGLISH.split("```")[0].split("\n\n")[1]
    assert sentence.count(". ") == 1  # the other one is the link to the Korean page


@pytest.mark.parametrize("words", steps(ENGLISH + CARD), ids=" ".join)
def test_a_command_works(words: tuple[str, ...], place: Place) -> None:
    match words:
        case ("python3" | "py", "-m", "venv", ".venv") | (
            "python3",
            "-m",
            "venv",
            "--clear",
            ".venv",
        ):
            import venv  # noqa: F401  what the command needs

        case (".venv/bin/pip", "install", "-r", name):
            assert (ROOT / name).is_file()
        case (".venv/bin/python", "-m", "pytest"):
            # Running them from one of them would not end; they are found, and one of them is this.
            listed = subprocess.run(
                [sys.executable, "-m", "pytest", "--collect-only", "-q", __file__],
                capture_output=True, text=True, cwd=ROOT, check=False,
            )  # fmt: skip
            assert listed.returncode == 0, listed.stdout
        case (".venv/bin/python", *_):
            done = place.run(words)
            offline = "--model-version" in words and words[1] == "tools/download_models.py"
            assert done.returncode == (4 if offline else 0), done.stderr
            assert "Traceback" not in done.stderr
        case _:
            pytest.fail(f"nothing is known about {words}")


@pytest.mark.parametrize("code", blocks(ENGLISH, "python"), ids=lambda code: code.split("\n")[0])
def test_python_of_the_page_runs(code: str) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, cwd=ROOT,
        env=environment(), timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout


SAMPLES = {
    name: tuple(f"input_files/{name}_{side}" for side in sides)
    for name, sides in (
        ("table", ("left.png", "right.png")),
        ("two_phones", ("left.jpg", "right.jpg")),
    )
}


@pytest.mark.parametrize(
    ("number", "words", "whole"),
    [
        (0, (IMAGE,), True),
        (1, (COMPARE, *SAMPLES["table"]), True),
        (2, (IMAGE, *SAMPLES["two_phones"]), False),
    ],
)
def test_what_is_shown_is_what_is_printed(
    number: int, words: tuple[str, ...], whole: bool, place: Place
) -> None:
    """Numbers may differ: they are those of another machine or of an earlier network."""
    if choose_model("auto", 5, (480, 640)).spec.version != "lite":
        pytest.skip("a downloaded network in models/ goes before the bundled one")
    shown = without_numbers(blocks(ENGLISH, "text")[number])
    stdout = place.run((".venv/bin/python", *words)).stdout
    printed = without_numbers(stdout.replace(str(place.folder / "output"), "output"))
    assert [line for line in printed if whole or line in shown] == shown


@pytest.mark.parametrize("name", PAGES)
def test_the_distances_shown_are_those_of_the_samples(name: str, place: Place) -> None:
    shown = blocks(PAGES[name], "text")[1]
    printed = place.run((".venv/bin/python", COMPARE, *SAMPLES["table"])).stdout
    of_both = [re.findall(r":\s+([\d.]+)$", text, re.MULTILINE) for text in (shown, printed)]
    assert len(of_both[0]) == 3
    assert list(map(float, of_both[0])) == pytest.approx(list(map(float, of_both[1])), rel=0.01)


def without_numbers(text: str) -> list[str]:
    return [re.sub(r"[+-]?\d+(\.\d+)?", "#", line).rstrip() for line in text.strip().splitlines()]


@functools.cache
def flags_of(script: str) -> frozenset[str]:
    done = run_script(script, "--help", environ={"COLUMNS": "500"})
    assert done.returncode == 0, done.stderr
    return flags_in(done.stdout)


def flags_in(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"(?<![\w-])--[a-z][a-z-]*[a-z]", text))


def test_flags_are_those_of_the_scripts() -> None:
    ours = frozenset[str]().union(*map(flags_of, SCRIPTS))
    tools = frozenset[str]().union(*(flags_of(tool) for tool in EXTRA if tool.startswith("tools/")))
    named = flags_in(ENGLISH) - {"--clear"}  # of the module venv
    assert named <= ours | tools
    assert ours <= named


def test_every_setting_of_a_script_is_explained() -> None:
    table = section(ENGLISH, "Settings and flags")
    for script in SCRIPTS:
        tree = ast.parse((ROOT / script).read_text("utf-8"))
        names = [n.targets[0].id for n in tree.body if isinstance(n, ast.Assign)]  # type: ignore[attr-defined]
        assert names
        assert [name for name in names if f"`{name}`" not in table] == []


def test_prompts_stand_word_for_word() -> None:
    texts = [text for text in vars(prompts).values() if str(text).endswith(" : ")]
    assert len(texts) == 8
    for page in PAGES.values():
        assert [text for text in texts if f"`{text}`" not in page] == []


@pytest.mark.parametrize("name", ["README.md", "README.ko.md", "models/README.md"])
def test_links_lead_somewhere(name: str) -> None:
    page = ROOT / name
    for target in links(page.read_text("utf-8")):
        file, _, anchor = target.partition("#")
        path = page if not file else page.parent / file
        assert path.exists(), target
        if anchor:
            assert anchor in anchors(path.read_text("utf-8")), target


def links(text: str) -> list[str]:
    return [t for t in re.findall(r"\]\(([^)\s]+)\)", text) if not t.startswith("http")]


def anchors(text: str) -> list[str]:
    """Return the anchors of the headings, as GitHub makes them."""
    words = [title.strip().lower() for title in re.findall(r"^#+ (.*)$", text, re.MULTILINE)]
    return [re.sub(r"[^\w\- ]", "", word).replace(" ", "-") for word in words]


def test_pictures_are_small_and_pictures() -> None:
    shown = re.findall(r"!\[[^]]+\]\(([^)]+)\)", ENGLISH)
    assert len(shown) >= 3  # one of each script that estimates
    for name in shown:
        data = (ROOT / name).read_bytes()
        assert len(data) <= MAX_PICTURE_BYTES
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), flags=cv2.IMREAD_COLOR)
        assert picture.std() > 20  # not one colour


def section(text: str, title: str) -> str:
    start = text.index(f"\n## {title}\n")
    end = text.find("\n## ", start + 1)
    return text[start:end]


def table_of_errors(text: str) -> list[tuple[int, str]]:
    rows = re.findall(r"^\| (\d+) \| ([^|]+) \| [^|]*\|$", text, re.MULTILINE)
    return [(int(code), what) for code, what in rows]


ERRORS = table_of_errors(section(ENGLISH, "Errors and exit codes"))

# A row, and the cases of test_exit_codes.py that show it.
SHOWN_BY = {
    "a flag that does not exist": ("unknown flag",),
    "a setting that cannot be": ("iters out of range", "shape not a size"),
    "only one of baseline and focal length": ("half a camera",),
    "the input ended before an answer without a default": ("no answer",),
    "an answer that is neither yes nor no": ("neither yes nor no",),
    "the output folder is a file, or cannot be written to": (
        "output is a file",
        "output below a file",
    ),
    "no such file, or a folder": ("no such file", "a folder"),
    "a file that is not a picture": ("no picture",),
    "left and right of different sizes": ("two sizes",),
    "an address that does not answer, or with an error": ("not found", "no server"),
    "an address of a web page where a picture is needed": ("a web page",),
    "a video that cannot be opened": ("no video",),
    "a camera that is not there": ("no camera",),
    "`--model-path` names no file": ("no model file",),
    "a model file that is not a network": ("no network",),
    "iterations and size that were never published": ("never published",),
    "a device that cannot run": ("a device that is not there",),
    "no screen although `--window` asks for one": ("no screen for a window",),
}


def ends_well(place: Place) -> int:
    args = place.own["left.png"], place.own["right.png"], "--output-dir", place.folder / "fine"
    return run_script(IMAGE, *args, "--model-shape", "64x96", display="").returncode


def cannot_download(place: Place) -> int:
    flags = ["--model-version", "init", "--iters", 2, "--model-shape", "240x320"]
    done = run_script(
        "tools/download_models.py", *flags, "--folder", place.folder / "none", environ=NO_NETWORK
    )
    assert "put the file by hand" in done.stderr
    return done.returncode


def misses_a_package(place: Place) -> int:
    code = "import sys; sys.modules['cv2'] = None; sys.path.insert(0, sys.argv.pop(1))\n"
    code += "import compare_image as script; script.run_script(script.main)"
    done = subprocess.run(
        [sys.executable, "-c", code, str(ROOT)], capture_output=True, text=True, check=False,
        stdin=subprocess.DEVNULL, cwd=place.folder, env=environment(),
    )  # fmt: skip
    assert "cv2" in done.stderr
    return done.returncode


def has_a_bug(place: Place) -> int:
    code = "from crestereo.app.script import run_script\nrun_script(lambda: {}['key'])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert "this is a bug" in done.stderr
    return done.returncode


def is_interrupted(place: Place) -> int:
    with subprocess.Popen(
        command(COMPARE), cwd=ROOT, env=environment(), text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert "empty answer" in process.stdout.readline()  # it asks now
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=20)
    assert error.splitlines() == ["stopped by Ctrl-C"]
    return process.returncode


SHOWN_HERE: dict[str, Callable[[Place], int]] = {
    "done, or left with `q`; a missing screen is no error": ends_well,
    "a published network that cannot be downloaded": cannot_download,
    "a package that is missing": misses_a_package,
    "a bug of ours": has_a_bug,
    "Ctrl-C": is_interrupted,
}


def test_every_error_has_a_case_that_ends_with_its_code() -> None:
    assert {what for _, what in ERRORS} == {*SHOWN_BY, *SHOWN_HERE}
    codes = {what: code for code, what in ERRORS}
    for what, names in SHOWN_BY.items():
        assert [CASES[name].code for name in names] == [codes[what]] * len(names), what
    assert {name for names in SHOWN_BY.values() for name in names} == set(CASES)


@pytest.mark.parametrize("what", SHOWN_HERE)
def test_an_error_ends_with_its_code(what: str, place: Place) -> None:
    if what == "Ctrl-C" and sys.platform == "win32":
        pytest.skip("Ctrl-C is sent otherwise there")
    assert SHOWN_HERE[what](place) == {row: code for code, row in ERRORS}[what]


def test_the_korean_page_says_the_same() -> None:
    assert blocks(KOREAN) == blocks(ENGLISH)
    levels = [re.findall(r"^(#+) ", page, re.MULTILINE) for page in PAGES.values()]
    assert levels[0] == levels[1]
    assert flags_in(KOREAN) == flags_in(ENGLISH)
    there, here = (sorted(t.partition("#")[0] for t in links(page)) for page in PAGES.values())
    assert [t for t in here if t != "README.md"] == [t for t in there if t != "README.ko.md"]
    codes = [code for code, _ in ERRORS]
    assert [code for code, _ in table_of_errors(KOREAN)] == codes
    english = re.findall(r"`[^`\n]+`", re.sub(r"```.*?```", "", ENGLISH, flags=re.DOTALL))
    assert [code for code in dict.fromkeys(english) if code not in KOREAN] == []


def test_the_card_tells_what_the_file_tells(tmp_path: Path) -> None:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(
        str(ROOT / "models" / "crestereo_lite.onnx"), options, providers=["CPUExecutionProvider"]
    )
    arguments = [*session.get_inputs(), *session.get_outputs()]
    arguments += session.get_overridable_initializers()
    names = [argument.name for argument in arguments]
    names += session.get_modelmeta().custom_metadata_map
    assert [name for name in names if f"`{name}`" not in CARD] == []
    assert session.get_modelmeta().custom_metadata_map["licence"] == "MIT"
