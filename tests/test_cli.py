"""Flags made from settings, and every way a script can end."""

from __future__ import annotations

import json
import os
import re
import runpy
import shlex
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from crestereo.app import commands
from crestereo.app import script as cli
from crestereo.app.settings import (
    CommonSettings,
    ImageSettings,
    TwoVideosSettings,
    UnifiedVideoSettings,
    read_settings,
)
from crestereo.errors import SourceError, UsageError
from tests.app_helpers import (
    COMPARE,
    IMAGE,
    ROOT,
    SEPARATE,
    UNIFIED,
    command,
    environment,
    run_script,
)


def flags(*argv: str) -> ImageSettings:
    return read_settings(ImageSettings, {}, "Do it.", ("left", "right"), argv)[0]


def test_without_flags_the_block_of_the_script_counts() -> None:
    block = {"iters": 7, "threads": 2, "left_sample": "a.png", "Path": Path}
    settings, given = read_settings(ImageSettings, block, "Do it.", ("left", "right"), [])
    assert settings == ImageSettings(iters=7, threads=2)
    assert given == [None, None]


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("swap", "no", "swap must be True or False or None, not 'no'"),
        ("iters", "5", "iters must be a whole number"),
        ("model_shape", "480x640", "model_shape must be (height, width)"),
        ("baseline_m", "0.1", "baseline_m must be a number or None"),
        ("colormap", None, "colormap must be a text"),
        ("max_distance", "far", "max_distance must be a number or None"),
        ("window", 1, "window must be True or False or None"),
        ("calibration", 3, "calibration must be a text or None"),
    ],
)
def test_a_block_with_a_value_of_another_type_is_an_error(
    name: str, value: object, wanted: str
) -> None:
    with pytest.raises(UsageError, match=re.escape(wanted)):
        read_settings(ImageSettings, {name: value}, "", (), [])


@pytest.mark.parametrize(
    ("script", "kind"),
    [
        (IMAGE, ImageSettings),
        (SEPARATE, TwoVideosSettings),
        (UNIFIED, UnifiedVideoSettings),
        (COMPARE, CommonSettings),
    ],
)
def test_blocks_of_the_scripts_equal_the_defaults_of_the_commands(
    script: str, kind: type[CommonSettings]
) -> None:
    block = runpy.run_path(str(ROOT / script))
    assert read_settings(kind, block, "", (), [])[0] == kind()
    samples = {
        IMAGE: ("left_sample", "right_sample"),
        SEPARATE: ("samples",),
        UNIFIED: ("video_sample",),
        COMPARE: ("first_sample", "second_sample"),
    }[script]
    values = [block[name] for name in samples]
    defaults = (commands.IMAGE_SAMPLES, commands.VIDEO_SAMPLES, commands.STEREO_SAMPLE)
    assert (values[0] if len(values) == 1 else tuple(values)) in defaults


def test_every_flag_overrides_its_setting(tmp_path: Path) -> None:
    argv = (
        "--iters 9 --model-shape 240X320 --model-version lite --model-path net.onnx "
        f"--baseline 0,12 --focal-length 700.5 --output-dir {tmp_path} --no-window --overwrite "
        "--device cpu --threads 2 --colormap TURBO --json --debug left.png right.png"
    ).split()
    settings, given = read_settings(ImageSettings, {}, "Do it.", ("left", "right"), argv)
    assert given == ["left.png", "right.png"]
    assert (settings.iters, settings.model_shape, settings.version) == (9, (240, 320), "lite")
    assert (settings.model_path, settings.device, settings.threads) == ("net.onnx", "cpu", 2)
    assert (settings.baseline_m, settings.focal_px) == (0.12, 700.5)
    assert (settings.output_dir, settings.window, settings.overwrite) == (
        str(tmp_path),
        False,
        True,
    )
    assert (settings.colormap, settings.json, settings.debug) == ("TURBO", True, True)
    assert {"iters", "model_shape", "window"} <= settings.given


def test_yes_and_no_flags_of_the_unified_script() -> None:
    kind = UnifiedVideoSettings
    flags = ([], ["--swap"], ["--no-swap"])
    swaps = [read_settings(kind, {}, "", (), argv)[0].swap for argv in flags]
    assert swaps == [None, True, False]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--itters", "5"], "--itters"),
        (["--iters"], "--iters"),
        (["--iters", "five"], "argument --iters: 'five' is not a whole number"),
        (["--iters", "0"], "iters must be a whole number from 1 to 32"),
        (["--model-shape", "480"], "argument --model-shape: "),
        (["--model-shape", "480"], "write HEIGHTxWIDTH"),
        (["--model-version", "best"], "best"),
        (["--device", "abacus"], "abacus"),
        (["--colormap", "mauve"], "mauve"),
        (["--threads", "100000"], "threads must be from 1 to 1024, not 100000"),
        (["--threads", "0"], "threads must be from 1 to 1024"),
        (["--focal-length", "700"], "needs a baseline"),
        (["--fov", "180"], "from 0 to 170"),
        (["--fov", "60", "--focal-length", "700"], "give one of"),
        (["--fov", "60", "--known-length", "1,2,3"], "ROW,COL,ROW,COL,METRES"),
        (["--fov", "60", "--known-length", "1,2,1,2,1"], "two points apart"),
        (["--baseline", "nan", "--focal-length", "700"], "not a number up to 1,000,000"),
        (["--baseline", "-1", "--focal-length", "700"], "must be above 0"),
        (["a", "b", "c"], "unrecognized arguments: c"),
        (["--output-dir", str(ROOT / "LICENSE")], "is a file"),
    ],
)
def test_a_wrong_flag_is_a_usage_error(argv: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        flags(*argv)


def test_a_calibration_file_takes_the_place_of_the_numbers(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no calibration file"):
        flags("--calibration", str(tmp_path / "calib.txt"))
    file = tmp_path / "K.txt"
    file.write_text("700 0 320 0 700 240 0 0 1\n0.12\n")
    with pytest.raises(UsageError, match="give one of"):
        flags("--calibration", str(file), "--baseline", "1", "--focal-length", "1")
    found = flags("--calibration", str(file)).calibration_for((480, 640))
    assert found is not None
    camera = found.camera
    assert (camera.baseline_m, camera.focal_px, camera.image_width_px) == (0.12, 700.0, 640)


def test_the_home_folder_may_be_written_as_a_tilde(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given a home folder with a calibration
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(tmp_path))
    (tmp_path / "K.txt").write_text("700 0 320 0 700 240 0 0 1\n0.12\n")
    # when the shell leaves the tilde to us, as in --name=~/x
    settings = flags("--calibration=~/K.txt", "--output-dir=~/results")
    # then both lie in the home folder, and what is nobody's home is a name
    assert settings.calibration == str(tmp_path / "K.txt")
    assert settings.output_dir == str(tmp_path / "results")
    assert flags("--output-dir=~nobody-of-this-name").output_dir == "~nobody-of-this-name"


@pytest.mark.parametrize("script", [IMAGE, SEPARATE, UNIFIED, COMPARE])
def test_help_shows_every_default(script: str) -> None:
    done = run_script(script, "--help")
    assert done.returncode == 0
    options = re.findall(r"^  --[a-z-]+", done.stdout, re.MULTILINE)
    defaults = done.stdout.replace("\n", " ").count("(default:")
    assert defaults == len(options) - 1  # all but --version, which has none
    if script == IMAGE:
        assert "HxW" in done.stdout
        assert re.search(r"\(default:\s+720x960\)", done.stdout)


def test_version_names_the_program() -> None:
    done = run_script(IMAGE, "--version")
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(r"crestereo \d+\.\d+\.\d+\n", done.stdout)


@pytest.mark.parametrize("script", [IMAGE, SEPARATE, UNIFIED, COMPARE])
def test_scripts_are_a_block_of_settings_and_a_few_calls(script: str) -> None:
    lines = (ROOT / script).read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 60
    rules = [number for number, line in enumerate(lines) if re.fullmatch(r"# -{90,}", line)]
    assert len(rules) == 2
    for line in lines[rules[0] + 1 : rules[1]]:
        assert re.fullmatch(r"[a-z_]+ = \S.*  # .+", line), line


def test_nothing_heavy_is_imported_before_the_first_prompt() -> None:
    code = (
        "import sys, runpy\n"
        f"runpy.run_path({str(ROOT / IMAGE)!r})\n"
        "heavy = {'av', 'cv2', 'onnxruntime', 'skimage', 'yt_dlp', 'requests', 'tqdm', 'PIL'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert done.stdout == "[]\n"


def leave(monkeypatch: pytest.MonkeyPatch, error: BaseException | None, *argv: str) -> int:
    def main() -> None:
        if error is not None:
            raise error

    monkeypatch.setattr(sys, "argv", ["script.py", *argv])
    monkeypatch.setattr(cli, "_leave", sys.exit)  # a thread of another test must not end pytest
    before = signal.getsignal(signal.SIGINT)
    try:
        with pytest.raises(SystemExit) as left:
            cli.run_script(main)
    finally:
        signal.signal(signal.SIGINT, before)
    return int(left.value.code or 0)


def test_an_error_of_ours_is_one_sentence_and_its_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert leave(monkeypatch, SourceError("no picture in x.png")) == 3
    assert capsys.readouterr().err == "Error: no picture in x.png\n"


def test_a_bug_is_a_sentence_that_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert leave(monkeypatch, ZeroDivisionError("by\nzero")) == 70
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "ZeroDivisionError: by zero" in error
    assert "--debug" in error


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (ModuleNotFoundError("No module named 'cv2'", name="cv2"), 2, "requirements.txt"),
        (ImportError("libGL.so.1: cannot open shared object file"), 2, "libgl1"),
        (ImportError("cannot import name", name="crestereo.app.script"), 70, "this is a bug"),
    ],
)
def test_a_missing_package_is_no_bug(
    error: ImportError,
    code: int,
    says: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert leave(monkeypatch, error) == code
    assert says in capsys.readouterr().err


def test_debug_shows_the_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert leave(monkeypatch, SourceError("no picture"), "--debug") == 3
    assert "Traceback" in capsys.readouterr().err


def test_an_interrupt_is_130_and_no_error_is_0(monkeypatch: pytest.MonkeyPatch) -> None:
    assert leave(monkeypatch, KeyboardInterrupt()) == 130
    assert leave(monkeypatch, None) == 0


@pytest.mark.skipif(sys.platform == "win32", reason="it has other signals")
def test_a_termination_is_143_and_an_ignored_signal_stays_ignored(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # given a process under nohup
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        # when it is terminated
        terminate = partial(signal.raise_signal, signal.SIGTERM)
        monkeypatch.setattr(sys, "argv", ["script.py"])
        monkeypatch.setattr(cli, "_leave", sys.exit)
        with pytest.raises(SystemExit) as left:
            cli.run_script(terminate)
        # then it ends with 143, and a closed terminal does nothing
        assert left.value.code == 143
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@pytest.mark.skipif(sys.platform == "win32", reason="it has other signals")
def test_an_interrupt_of_a_library_at_work_is_no_missing_package(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def main() -> None:
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt as exc:  # as NumPy and OpenCV do while they are imported
            raise ImportError("initialization failed") from exc

    before = signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    monkeypatch.setattr(cli, "_leave", sys.exit)
    try:
        with pytest.raises(SystemExit) as left:
            cli.run_script(main)
    finally:
        signal.signal(signal.SIGINT, before)
    assert left.value.code == 130
    assert capsys.readouterr().err == "stopped by Ctrl-C\n"


@pytest.mark.skipif(sys.platform == "win32", reason="streams are closed otherwise there")
@pytest.mark.parametrize(
    ("words", "code"),
    [("<&-", 0), ("no.png <&-", 3), (">&-", 0), ("--json >&-", 0), ("no.png 2>&-", 3)],
)
def test_streams_that_are_closed_are_no_bug(words: str, code: int) -> None:
    """Standard input counts as ended, so the samples are taken."""
    done = subprocess.run(
        ["sh", "-c", f"{shlex.join(command(COMPARE))} {words}"],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env=environment(),
        check=False,
    )
    assert done.returncode == code, done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device is always full here")
@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_an_answer_that_cannot_be_written_is_an_error(flags: list[str]) -> None:
    samples = [f"input_files/table_{side}.png" for side in ("left", "right")]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            command(COMPARE, *samples, *flags),
            cwd=ROOT,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(),
            check=False,
        )
    assert done.returncode == 2
    last = done.stderr.splitlines()[-1]
    assert last == "Error: cannot write the answer: No space left on device"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device is always full here")
def test_sentences_that_cannot_be_written_do_not_cost_the_json() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            command(COMPARE, "--json"),
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=full,
            text=True,
            env=environment(),
            check=False,
        )
    assert done.returncode == 0
    assert json.loads(done.stdout)["resized"] is False


@pytest.mark.skipif(sys.platform == "win32", reason="pipes break otherwise there")
def test_a_reader_who_has_had_enough_is_no_error() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as output:
        done = subprocess.run(
            command(COMPARE, "--help"), stdout=output, stderr=subprocess.PIPE, env=environment(),
            check=False,
        )  # fmt: skip
    assert done.stderr == b""
