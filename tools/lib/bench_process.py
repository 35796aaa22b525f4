"""Measure whole programs: time to a prompt, run time, memory."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from crestereo.errors import UsageError

ROOT = Path(__file__).resolve().parents[2]
_SAMPLE_EVERY_S = 0.05


def seconds_to_text(command: Sequence[str], text: str) -> float:
    """Return the seconds until a program prints a text, then end it."""
    start = time.perf_counter()
    with subprocess.Popen(
        command,
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    ) as process:
        written = ""
        while text not in written:
            letter = process.stdout.read(1) if process.stdout else ""
            if not letter:
                break
            written += letter
        seconds = time.perf_counter() - start
        process.kill()
        _, errors = process.communicate()
    if text not in written:
        raise UsageError(f"{_name(command)} never wrote {text!r}: {errors.strip() or written}")
    return seconds


def run_program(command: Sequence[str]) -> tuple[float, list[tuple[float, int]]]:
    """Run a program and return its time and memory samples."""
    start = time.perf_counter()
    memory: list[tuple[float, int]] = []
    with subprocess.Popen(
        command,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    ) as process:
        while True:
            try:
                _, errors = process.communicate(timeout=_SAMPLE_EVERY_S)
                break
            except subprocess.TimeoutExpired:
                resident = resident_bytes(process.pid)
                if resident is not None:
                    memory.append((time.perf_counter() - start, resident))
    if process.returncode != 0:
        raise UsageError(f"{_name(command)} failed: {errors.strip()}")
    return time.perf_counter() - start, memory


def resident_bytes(pid: int) -> int | None:
    """Return the resident memory of a process in bytes, if known."""
    return _status_bytes(Path(f"/proc/{pid}/status"), "VmRSS")


def peak_bytes() -> int | None:
    """Return the peak resident memory of this process in bytes, if known."""
    # getrusage is unsuitable on Linux: a child process inherits the peak of its parent
    peak = _status_bytes(Path("/proc/self/status"), "VmHWM")
    if peak is not None or sys.platform == "win32":
        return peak
    import resource  # noqa: PLC0415 (not on Windows)

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # bytes on macOS


def growth_bytes(memory: Sequence[tuple[float, int]]) -> int:
    """Return the memory growth between second and last fifth of a run."""
    begin, end = memory[0][0], memory[-1][0]
    fifth = (end - begin) / 5
    early = sorted(size for at, size in memory if begin + fifth <= at <= begin + 2 * fifth)
    late = sorted(size for at, size in memory if at >= end - fifth)
    return late[len(late) // 2] - early[len(early) // 2]


def probe(
    path: Path, shape: tuple[int, int], *, iters: int, device: str, threads: int | None, rounds: int
) -> tuple[list[float], int | None]:
    """Measure a network in a separate process."""
    request = {
        "path": str(path.resolve()),
        "shape": shape,
        "iters": iters,
        "device": device,
        "threads": threads,
        "rounds": rounds,
    }
    done = subprocess.run(
        [sys.executable, "-m", "tools.lib.bare_network", json.dumps(request)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    if done.returncode != 0:
        raise UsageError(f"{path.name} could not be measured: {done.stderr.strip()}")
    answer = json.loads(done.stdout)
    return answer["seconds"], answer["peak_bytes"]


def _status_bytes(status: Path, field: str) -> int | None:
    try:
        lines = status.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:  # another system, or the process has just ended
        return None
    found = [line.split()[1] for line in lines if line.startswith(f"{field}:")]
    return int(found[0]) * 1024 if found else None


def _name(command: Sequence[str]) -> str:
    return next((Path(word).name for word in command if word.endswith(".py")), command[0])
