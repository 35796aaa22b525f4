"""The pages hold: commands work, flags, prompts, output, links and exit codes are the real ones.

Blocks of commands and of Python are taken from the pages unchanged. Replaced is only the Python
of the virtual environment, by the one that runs the tests, and names that a reader replaces, by
small files made here. Installations are not carried out.
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
from crestereo.app.video_writer import VideoWriter
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
SET_UP = "python3 -m venv .venv && .venv/bin/pip install -r "
MAX_LINES, MAX_WORDS = 160, 1400  # of the README
MAX_IMAGE_BYTES = 150_000
NO_NETWORK = {"http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"}

TRANSLATED = ["README.md", *(f"docs/{name}.md" for name in
    ("usage", "real_pairs", "models", "python", "background", "calibration"))]  # fmt: skip
PAGES = {name: (ROOT / name).read_text("utf-8") for name in TRANSLATED}
KOREAN = {name: (ROOT / name).with_suffix(".ko.md").read_text("utf-8") for name in TRANSLATED}
ENGLISH, USAGE = PAGES["README.md"], PAGES["docs/usage.md"]
CARD = (ROOT / "models" / "README.md").read_text("utf-8")
DOCKERFILE = (ROOT / "Dockerfile").read_text("utf-8")
MARKDOWN = [
    *(path for path in sorted(ROOT.glob("*.md"))),
    *(path for folder in ("docs", "models", "input_files", "training")
      for path in sorted((ROOT / folder).glob("*.md"))),
]  # fmt: skip


def blocks(text: str, *languages: str) -> list[str]:
    """Return the fenced blocks of these languages, of all where none is named."""
    found = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [body for language, body in found if not languages or language in languages]


def steps(text: str) -> list[tuple[str, ...]]:
    """Return the words of every command of a page once, those of Windows like the others."""
    lines = [
        line
        for block in blocks(text, "sh", "bat")
        for line in block.replace("\\\n", " ").splitlines()
    ]
    alike = [line.replace(".venv\\Scripts\\", ".venv/bin/") for line in lines]
    words = [
        tuple(shlex.split(step, comments=True)) for line in alike for step in line.split(" && ")
    ]
    return list(dict.fromkeys(filter(None, words)))


@dataclass(frozen=True)
class Place:
    """Files in place of the reader's, and the folder of the results."""

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
    "tools/calibrate.py": ("--help",),  # needs recordings of a board
    "tools/clip_experiments.py": ("--help",),  # a minute for its clips
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
    "tools/renew_page.py": ("--help",),
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    folder = tmp_path_factory.mktemp("readme")
    left, right = picture_pair(folder)
    clips = [write_video(folder / f"clip_{n}.avi", frames=2, size=(128, 96)) for n in (0, 1)]
    both = write_video(folder / "both.avi", frames=2, size=(256, 96))
    middlebury_scene(folder / "pairs" / "scene")
    own = {
        "left.png": left,
        "right.png": right,
        "left.mp4": clips[0],
        "right.mp4": clips[1],
        "rig.yml": ROOT / "input_files" / "table_calib.txt",
        "0": clips[0],
        "1": clips[1],
        "https://www.youtube.com/watch?v=VIDEO": both,
        "DATASETS": folder / "pairs",
    }
    return Place(
        folder,
        {word: str(path) for word, path in own.items()},
        {SEPARATE: f"{clips[0]}\n{clips[1]}\n", UNIFIED: f"{both}\n\n"},
    )


def test_the_readme_is_short_and_opens_with_what_a_reader_needs() -> None:
    assert len(ENGLISH.splitlines()) <= MAX_LINES
    assert len(ENGLISH.split()) <= MAX_WORDS
    opening = ENGLISH.split("\n## ")[0]
    run, tests = (f"{SET_UP}requirements{kind}.txt && .venv/bin/python " for kind in ("", "-dev"))
    assert blocks(opening, "sh") == [f"{run}{IMAGE}\n", f"{tests}-m pytest -n 2\n"]
    places = [opening.index(text) for text in ("![", run, f"| `{IMAGE}`", tests)]
    assert places == sorted(places)


@pytest.mark.parametrize("words", steps("\n".join(PAGES.values()) + CARD), ids=" ".join)
def test_a_command_works(words: tuple[str, ...], place: Place) -> None:
    match words:
        case ("python3" | "py", "-m", "venv", *_):
            import venv  # noqa: F401  what the command needs

        case (".venv/bin/pip", "install", "-r", name):
            assert (ROOT / name).is_file()
        case ("pip" | "pipx", "install", ".") | ("uvx", "--from", ".", "crestereo", "image", *_):
            project = (ROOT / "pyproject.toml").read_text("utf-8")
            assert 'crestereo = "crestereo.app.commands:main"' in project
        case ("docker", *_):
            own = re.findall(r"^# (.*)$", DOCKERFILE, re.MULTILINE)
            assert words in [tuple(shlex.split(line)) for line in own]
        case (".venv/bin/python", "-m", "pytest", "-n", "2"):
            # Running them from one of them would not end; they are found, and one of them is this.
            listed = subprocess.run(
                [sys.executable, *words[1:], "--collect-only", "-q", __file__],
                capture_output=True, text=True, cwd=ROOT, check=False,
            )  # fmt: skip
            assert listed.returncode == 0, listed.stdout
        case (".venv/bin/python" | "python", *_):
            done = place.run(words)
            offline = "--model-version" in words and words[1] == "tools/download_models.py"
            assert done.returncode == (4 if offline else 0), done.stderr
            assert "Traceback" not in done.stderr
        case _:
            pytest.fail(f"no test for {words}")


@pytest.mark.parametrize("page", MARKDOWN, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_commands_of_a_page_name_flags_that_exist(page: Path) -> None:
    for words in steps(page.read_text("utf-8")):
        program = next((word for word in words if word.endswith(".py")), None)
        if program is not None and "python" in words[0]:
            flags = {word for word in words if word.startswith("--")}
            assert flags <= flags_of(program) | {"--help"}


@pytest.mark.parametrize(
    "code",
    [code for page in PAGES.values() for code in blocks(page, "python")],
    ids=lambda code: code.splitlines()[-1],
)
def test_python_of_a_page_runs(code: str, tmp_path: Path) -> None:
    # given the samples, and the maps of a run with --depth-frames ffv1
    (tmp_path / "input_files").symlink_to(ROOT / "input_files")
    (tmp_path / "models").symlink_to(ROOT / "models")
    tags = {"UNIT": "px", "STEPS": "128"}
    maps = tmp_path / "output" / "clip1_maps.mkv"
    with VideoWriter(maps, 25, codec="ffv1", metadata=tags) as writer:
        writer.add(np.full((64, 96), 512, np.uint16), 0.0)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, cwd=tmp_path,
        env=environment() | {"PYTHONPATH": str(ROOT)}, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout


TABLE = tuple(f"input_files/table_{side}.png" for side in ("left", "right"))
PHONES = tuple(f"input_files/two_phones_{side}.jpg" for side in ("left", "right"))


@pytest.mark.parametrize(
    ("page", "words"),
    [
        ("README.md", (IMAGE,)),
        ("docs/usage.md", (COMPARE, *TABLE)),
        ("docs/real_pairs.md", (IMAGE, *PHONES)),
    ],
)
def test_shown_output_is_what_is_printed(page: str, words: tuple[str, ...], place: Place) -> None:
    """Numbers may differ: they are those of another machine or of an earlier network."""
    if choose_model("auto", 10, (720, 960)).spec.version != "lite":
        pytest.skip("a downloaded network in models/ takes precedence over the bundled one")
    shown = without_numbers(blocks(PAGES[page], "text")[0])
    stdout = place.run((".venv/bin/python", *words)).stdout
    printed = without_numbers(stdout.replace(str(place.folder / "output"), "output"))
    assert [line for line in shown if line not in printed] == []


def test_the_distances_shown_are_those_of_the_samples(place: Place) -> None:
    printed = place.run((".venv/bin/python", COMPARE, *TABLE)).stdout
    of_both = [
        re.findall(r" :\s+([\d.]+)$", text, re.MULTILINE)
        for text in (blocks(USAGE, "text")[0], printed)
    ]
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


def test_every_setting_is_in_the_table_with_its_flag() -> None:
    rows = [line for line in section(USAGE, "Settings and flags").splitlines() if "|" in line]
    for script in SCRIPTS:
        tree = ast.parse((ROOT / script).read_text("utf-8"))
        names = [n.targets[0].id for n in tree.body if isinstance(n, ast.Assign)]  # type: ignore[attr-defined]
        settings = [name for name in names if not name.endswith(("sample", "samples"))]
        assert [name for name in settings if not any(f"`{name}`" in row for row in rows)] == []
        shown = {flag for row in rows for flag in flags_in(row)}
        assert shown <= frozenset[str]().union(*map(flags_of, SCRIPTS))
        missing = {flag for flag in flags_of(script) if flag.replace("--no-", "--") not in shown}
        assert {flag for flag in missing if flag not in shown} <= ALIASES


ALIASES = {"--baseline", "--focal-length", "--fov", "--sync-offset", "--save", "--no-save"}
"""Other names of a flag, and the positive form of one that is on by default."""


def test_prompts_are_word_for_word() -> None:
    texts = [text for text in vars(prompts).values() if str(text).endswith(" : ")]
    assert len(texts) == 8
    for page in (ENGLISH, USAGE, KOREAN["README.md"], KOREAN["docs/usage.md"]):
        assert [text for text in texts if f"`{text}`" not in page] == []


@pytest.mark.parametrize("page", MARKDOWN, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
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


def test_images_of_the_readme_are_small() -> None:
    shown = re.findall(r"!\[[^]]+\]\(([^)]+)\)", ENGLISH)
    assert len(shown) >= 3  # one of each script that estimates
    for name in shown:
        data = (ROOT / name).read_bytes()
        assert len(data) <= MAX_IMAGE_BYTES
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags=cv2.IMREAD_COLOR)
        assert image.std() > 20  # not one colour


def section(text: str, title: str) -> str:
    start = text.index(f"\n## {title}\n")
    end = text.find("\n## ", start + 1)
    return text[start : end if end > 0 else None]


def exit_codes(text: str) -> list[int]:
    rows = re.findall(r"^\| (\d+) \| [^|]+ \| [^|]*\|$", text, re.MULTILINE)
    return [int(code) for code in rows]


def ends_well(place: Place) -> int:
    args = place.own["left.png"], place.own["right.png"], "--output-dir", place.folder / "fine"
    return run_script(IMAGE, *args, "--model-shape", "64x96", display="").returncode


def has_a_bug(place: Place) -> int:
    code = "from crestereo.app.script import run_script\nrun_script(lambda: {}['key'])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert "this is a bug" in done.stderr
    return done.returncode


def is_interrupted(place: Place) -> int:
    if sys.platform == "win32":
        pytest.skip("Ctrl-C is sent otherwise there")
    with subprocess.Popen(
        command(COMPARE), cwd=ROOT, env=environment(), text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.readline()  # it asks now
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=20)
    assert error.splitlines() == ["stopped by Ctrl-C"]
    return process.returncode


SHOWN_HERE: dict[int, Callable[[Place], int]] = {0: ends_well, 70: has_a_bug, 130: is_interrupted}


def test_every_exit_code_is_in_the_table() -> None:
    shown = exit_codes(section(USAGE, "Exit codes"))
    assert shown == sorted({case.code for case in CASES.values()} | set(SHOWN_HERE))


@pytest.mark.parametrize("code", SHOWN_HERE)
def test_a_run_ends_with_its_exit_code(code: int, place: Place) -> None:
    assert SHOWN_HERE[code](place) == code


def test_a_missing_package_is_a_usage_error(place: Place) -> None:
    code = "import sys; sys.modules['cv2'] = None; sys.path.insert(0, sys.argv.pop(1))\n"
    code += "import compare_image as script; script.run_script(script.main)"
    done = subprocess.run(
        [sys.executable, "-c", code, str(ROOT)], capture_output=True, text=True, check=False,
        stdin=subprocess.DEVNULL, cwd=place.folder, env=environment(),
    )  # fmt: skip
    assert "cv2" in done.stderr
    assert done.returncode == 2


@pytest.mark.parametrize("name", TRANSLATED)
def test_the_korean_page_has_the_same_content(name: str) -> None:
    page, korean = PAGES[name], KOREAN[name]
    assert blocks(korean) == blocks(page)
    levels = [re.findall(r"^(#+) ", text, re.MULTILINE) for text in (page, korean)]
    assert levels[0] == levels[1]
    assert flags_in(korean) == flags_in(page)
    files = [
        sorted(target.partition("#")[0].replace(".ko.md", ".md") for target in links(text))
        for text in (page, korean)
    ]
    assert files[0] == files[1]
    assert exit_codes(korean) == exit_codes(page)
    inline = re.findall(r"`[^`\n]+`", re.sub(r"```.*?```", "", page, flags=re.DOTALL))
    assert [code for code in dict.fromkeys(inline) if code not in korean] == []


def test_a_korean_page_links_to_korean_pages() -> None:
    for name, text in KOREAN.items():
        translated = {(ROOT / each).resolve() for each in TRANSLATED}
        english = [
            target
            for target in links(text)
            if ((ROOT / name).parent / target.partition("#")[0]).resolve() in translated
        ]
        assert english == [Path(name).name]  # the switch of the language


def test_the_model_card_names_what_is_in_the_file() -> None:
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
