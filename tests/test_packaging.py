"""What is installed: the console command, the wheel's content, the container."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from tests.app_helpers import ROOT, environment


def crestereo(*args: str) -> subprocess.CompletedProcess[str]:
    """Run the console command as pip installs it."""
    code = "from crestereo.app.commands import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, *args], cwd=ROOT, capture_output=True, text=True,
        env=environment(), stdin=subprocess.DEVNULL, check=False,
    )  # fmt: skip


def test_the_command_lists_its_subcommands() -> None:
    done = crestereo()
    assert done.returncode == 0
    for name in ("image", "videos", "video", "compare", "calibrate", "download"):
        assert re.search(rf"^  {name} ", done.stdout, re.MULTILINE)
    assert crestereo("--version").stdout == "crestereo 2.0.0\n"


@pytest.mark.parametrize("name", ["image", "videos", "video", "compare", "calibrate", "download"])
def test_a_subcommand_explains_its_flags(name: str) -> None:
    done = crestereo(name, "--help")
    assert done.returncode == 0
    assert done.stdout.startswith(f"usage: crestereo {name} ")


def test_an_unknown_subcommand_is_a_usage_error() -> None:
    done = crestereo("depth")
    assert (done.returncode, done.stdout) == (2, "")
    assert "choose one of image, videos" in done.stderr


def test_a_subcommand_does_what_the_script_does() -> None:
    pair = [f"input_files/table_{side}.png" for side in ("left", "right")]
    script = subprocess.run(
        [sys.executable, "compare_image.py", *pair], cwd=ROOT, capture_output=True, text=True,
        env=environment(), check=True,
    )  # fmt: skip
    assert crestereo("compare", *pair).stdout == script.stdout


def test_the_container_is_built_from_instructions_that_exist() -> None:
    text = re.sub(r"\\\n", " ", (ROOT / "Dockerfile").read_text())
    lines = [line.split()[0] for line in text.splitlines() if line and not line.startswith("#")]
    assert lines[0] == "FROM"
    assert lines[-1] == "ENTRYPOINT"
    assert set(lines) <= {"FROM", "RUN", "COPY", "WORKDIR", "ENTRYPOINT"}
