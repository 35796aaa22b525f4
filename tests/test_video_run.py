"""A video that is run in this process: what is said on the way, and how it ends."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pytest

from crestereo.alignment import AlignedPair, PairCheck, Verdict, plan_alignment
from crestereo.app import run_video as video_run
from crestereo.app import script
from crestereo.app.align import Aligner, ReadyPair
from crestereo.app.run_video import run_video
from crestereo.errors import Cancelled, ModelError
from crestereo.estimator import CREStereo
from crestereo.types import DisparityResult, StereoPair
from tests.test_runs import Recorder, still_video, video_settings
from tests.tiny_models import lite_model


def test_what_is_done_to_the_pairs_is_said_again_when_it_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # given a video of which the first two pairs do not show an alignment
    found = iter([("unknown", ""), ("unknown", ""), ("aligned", "not metric"), ("aligned", "")])

    check = PairCheck(Verdict.RECTIFIED, 0, 0.0, (96, 128))
    planned = plan_alignment(check)

    class Telling(Aligner):
        def __call__(self, pair: StereoPair) -> ReadyPair:
            note, doubt = next(found)
            plan = planned if note == "aligned" else None
            return ReadyPair(pair, AlignedPair(pair.left, pair.right, plan), note, doubt)

        def observe(self, ready: ReadyPair, result: DisparityResult) -> None:
            """Keep the alignment whatever the result."""

    estimator = Recorder(lite_model(tmp_path / "lite.onnx", weights=(0, 0, 0)))
    # when it is run with a warm start
    settings = video_settings(tmp_path, warm_start=True)
    run_video(still_video(tmp_path), estimator, settings)
    estimator.priors.clear()
    monkeypatch.setattr(video_run, "Aligner", Telling)
    run_video(still_video(tmp_path), estimator, settings)
    # then both findings are said once, with the doubt, and the old map starts nothing
    out, err = capsys.readouterr()
    assert (out.count("unknown"), out.count("aligned"), err.count("not metric")) == (1, 1, 1)
    assert [prior is None for prior in estimator.priors] == [True, False, True, False]


def test_a_failure_in_the_middle_keeps_what_came_before(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    class Failing(CREStereo):
        calls = 0

        def estimate(self, *args: object, **options: object) -> DisparityResult:
            self.calls += 1
            if self.calls == 3:
                raise ModelError("the network failed")
            return super().estimate(*args, **options)  # type: ignore[arg-type]

    estimator = Failing(lite_model(tmp_path / "lite.onnx"))
    output = tmp_path / "output"
    with pytest.raises(ModelError, match="the network failed"):
        run_video(still_video(tmp_path), estimator, video_settings(output))
    names = sorted(path.name for path in output.iterdir())
    assert names == ["toy_depth.mp4", "toy_resume.bin", "toy_run.json"]
    record = json.loads((output / "toy_run.json").read_text(encoding="utf-8"))
    assert record["frames"] == 2
    assert "toy_depth.mp4" in capsys.readouterr().out


class Waiting(CREStereo):
    """Be in the first estimation until it is cancelled."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.gone = threading.Event()

    def estimate(self, *args: object, **options: object) -> DisparityResult:
        self.gone.wait(10)
        raise Cancelled("cancelled")

    def cancel(self) -> None:
        self.gone.set()


@contextmanager
def some_window(*args: object) -> Iterator[object]:
    yield object()


@pytest.mark.parametrize("interrupted", [False, True])
def test_leaving_before_the_first_result_saves_nothing_and_is_no_error(
    tmp_path: Path,
    interrupted: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    # given a window, and a video that is written too
    def leave(*args: object, **options: object) -> bool:
        if interrupted:
            raise KeyboardInterrupt
        return True

    monkeypatch.setattr(video_run, "open_window", some_window)
    monkeypatch.setattr(video_run, "watch", leave)
    estimator = Waiting(lite_model(tmp_path / "lite.onnx"))
    output = tmp_path / "output"
    # when the user leaves by q or Ctrl-C before a frame is done
    with pytest.raises(KeyboardInterrupt) if interrupted else nullcontext():
        settings = video_settings(output)
        script.reserve_stdout(True)
        run_video(still_video(tmp_path), estimator, settings)
    # then nothing is there, and the record of q names no file
    out, err = capsys.readouterr()
    assert not output.exists()
    assert ("nothing was saved" in err) is not interrupted
    assert "no frame came" not in err
    assert interrupted or json.loads(out)["files"] == []
