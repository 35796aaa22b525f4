"""The stopwatch of the benchmark, and a quick run of it on tiny networks."""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from crestereo.errors import ModelFileError, UsageError
from tests.tiny_models import init_model, lite_model
from tools import benchmark
from tools.lib import bench_rows, timing
from tools.lib.bare_network import BareNetwork, made_up_inputs
from tools.lib.bench_growth import Point, growth_chart, growth_rows, one_two_five
from tools.lib.bench_process import growth_bytes, peak_bytes, run_program, seconds_to_text
from tools.lib.bench_rows import texture_pair, write_clip
from tools.lib.bench_setup import Row
from tools.lib.timing import Timing, growth_exponent, interleave


def test_median_and_p90_of_ten_values():
    # worked by hand: 90 % of the way through nine gaps is 8.1 gaps from the start
    timing = Timing(tuple(float(n) for n in range(1, 11)))
    assert timing.median == 5.5
    assert timing.p90 == pytest.approx(9.1)


def test_every_round_runs_each_once_and_begins_with_the_next(monkeypatch):
    monkeypatch.setattr(timing, "SETTLE_S", 0)
    order: list[str] = []
    ticks: list[int] = []
    actions = {name: (lambda name=name: order.append(name)) for name in "abc"}
    timings = interleave(actions, 4, warmup=1, tick=lambda: ticks.append(1))
    assert "".join(order) == "abc" + "abc" + "bca" + "cab" + "abc"
    assert {name: len(each.values) for name, each in timings.items()} == dict.fromkeys("abc", 4)
    assert len(ticks) == 12


def test_the_exponent_of_a_power_law_is_its_exponent():
    sizes = [1.0, 10.0, 100.0]
    assert growth_exponent(sizes, [3 * size**1.5 for size in sizes]) == pytest.approx(1.5)


def node(name: str, shape: list[int | str], kind: str = "tensor(float)") -> SimpleNamespace:
    return SimpleNamespace(name=name, shape=shape, type=kind)


def test_inputs_are_made_from_their_description():
    feed = made_up_inputs(
        [
            node("grey", ["N", 2, "h", "w"]),
            node("left", [1, 3, 64, 128], "tensor(float16)"),
            node("iters", [], "tensor(int64)"),
        ],
        (96, 160),
        7,
    )
    assert feed["grey"].shape == (1, 2, 96, 160)
    assert feed["grey"].max() <= 1
    assert feed["left"].shape == (1, 3, 64, 128)
    assert feed["left"].dtype == np.float16
    assert 200 < feed["left"].max() <= 255
    assert feed["iters"] == 7


def test_an_input_of_unknown_use_is_named():
    with pytest.raises(UsageError, match="words"):
        made_up_inputs([node("words", [1, 8], "tensor(string)")], (64, 64), 5)


def test_a_network_of_fixed_size_runs_at_its_own(tmp_path):
    path = init_model(tmp_path / "fixed.onnx", (64, 96))
    network = BareNetwork(path, (480, 640), iters=5, device="cpu", threads=1)
    assert network.shape == (64, 96)


def test_optional_iterations_are_fed(tmp_path, monkeypatch):
    seen = []
    path = lite_model(tmp_path / "lite.onnx")
    network = BareNetwork(path, (64, 80), iters=9, device="cpu", threads=1)
    session = SimpleNamespace(run=lambda names, feed: seen.append(feed))
    monkeypatch.setattr(network, "_session", session)
    network.run()
    assert seen[0]["iters"] == 9
    assert seen[0]["left"].shape == (1, 3, 64, 80)


def test_a_missing_network_is_an_error(tmp_path):
    with pytest.raises(ModelFileError, match="no model file"):
        BareNetwork(tmp_path / "none.onnx", (64, 64), iters=5, device="cpu", threads=1)


def test_the_clip_has_its_length_size_and_disparity(tmp_path):
    clip = write_clip(tmp_path / "clip.mp4", 7, (64, 96))
    video = cv2.VideoCapture(str(clip))
    frames = []
    while (frame := video.read()[1]) is not None:
        frames.append(frame)
    video.release()
    assert [frame.shape for frame in frames] == [(64, 192, 3)] * 7
    pair = texture_pair((64, 96), at=5)
    assert np.array_equal(pair.left[:, 12:], pair.right[:, :-12])
    assert np.array_equal(pair.left, texture_pair((64, 96)).left) is False


def test_the_time_to_a_prompt_is_measured_and_the_program_ended():
    program = "import time; time.sleep(0.2); input('Name : ')"
    seconds = seconds_to_text([sys.executable, "-c", program], "Name : ")
    assert 0.2 < seconds < 10


def test_a_program_without_the_prompt_is_an_error():
    with pytest.raises(UsageError, match=r"never wrote.*oh no"):
        seconds_to_text([sys.executable, "-c", "import sys; sys.exit('oh no')"], "Name : ")


def test_a_failing_program_is_an_error_with_its_words():
    with pytest.raises(UsageError, match="oh no"):
        run_program([sys.executable, "-c", "import sys; sys.exit('oh no')"])


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells the memory of a process")
def test_the_memory_of_a_program_is_followed():
    program = "import time; time.sleep(0.3); b = bytearray(80_000_000); time.sleep(0.5)"
    seconds, memory = run_program([sys.executable, "-c", program])
    assert seconds > 0.8
    sizes = [size for _, size in memory]  # a busy system takes idle pages back, so not all of them
    assert max(sizes) - sizes[0] > 30_000_000
    assert (peak_bytes() or 0) > 10_000_000


def test_growth_compares_the_second_fifth_with_the_last():
    # 100 bytes while loading, then 200 growing by one byte a second: medians at 30 s and 90 s
    memory = [(float(at), 100 if at < 20 else 200 + at) for at in range(101)]
    assert growth_bytes(memory) == 60


def test_the_ticks_enclose_the_values():
    assert one_two_five(30, 700) == [20, 50, 100, 200, 500, 1000]
    assert one_two_five(5, 5) == [5]


def test_growth_is_told_in_rows_and_drawn(tmp_path):
    points = [
        Point((side, side), iters, Timing((1e-6 * side**2 * iters,)), 100.0 + side)
        for side in (64, 128, 256)
        for iters in (2, 5)
    ]
    rows = growth_rows(points)
    assert [row.note for row in rows if row.what == "growth"] == ["time ~ pixels^1.00"] * 2
    chart = cv2.imread(str(growth_chart(tmp_path / "growth.png", points)))
    assert chart.shape[1] == 1500
    assert chart.std() > 10  # something is drawn on the white


def test_the_table_leaves_out_what_is_unknown_and_json_says_null():
    rows = [Row("inference", "480x640", 231.4, 2.5678, "ms"), Row("growth", "", np.nan, 0.5, "")]
    lines = benchmark.table(rows).splitlines()
    assert lines[2].split("|")[3:6] == ["    231 ", " 2.57 ", "   ms "]
    assert lines[3].split("|")[3].strip() == ""
    assert benchmark.as_records(rows)[1]["median"] is None


@pytest.mark.parametrize(
    ("text", "path", "shape"),
    [("a/b.onnx", "a/b.onnx", None), ("me@home.onnx@512x640", "me@home.onnx", (512, 640))],
)
def test_a_peer_may_name_its_size(text, path, shape):
    assert benchmark.parse_peer(text) == (Path(path), shape)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--only", "speed"], "not speed"),
        (["--threads", "two"], "whole numbers"),
        (["--threads", "0"], "1 or more"),
        (["--rounds", "0"], "1 or more"),
        (["--iters", "99"], "iters"),
        (["--model-shape", "640"], "HEIGHTxWIDTH"),
    ],
)
def test_impossible_options_are_refused(flags, message):
    with pytest.raises(UsageError, match=message):
        benchmark.main(flags)


@pytest.mark.parametrize("flag", ["--model", "--model-path"])
def test_a_missing_network_is_named_before_anything_is_measured(flag):
    with pytest.raises(ModelFileError, match="no model file nowhere"):
        benchmark.main(["--only", "start", flag, "nowhere.onnx"])


def test_an_earlier_report_is_kept_unless_told(tmp_path):
    report = tmp_path / "report.json"
    report.write_text("[]")
    with pytest.raises(UsageError, match="exists already"):
        benchmark.main(["--only", "start", "--json", str(report)])
    with pytest.raises(UsageError, match=r"growth\.txt ends in none of \.png"):
        benchmark.main(["--only", "growth", "--plot", str(tmp_path / "growth.txt")])


def test_a_quick_run_compares_tiny_networks(tmp_path, capsys):
    ours = lite_model(tmp_path / "ours.onnx")
    peer = lite_model(tmp_path / "peer.onnx")
    flags = ["--quick", "--only", "stages,networks", "--model", str(ours), "--model-shape", "64x96"]
    report = tmp_path / "report.json"
    peers = ["--model-path", f"{peer}@128x96", "--threads", "1,2", "--json", str(report)]

    assert benchmark.main([*flags, *peers]) == 0

    rows = json.loads(report.read_text())
    names = Counter(row["what"] for row in rows)
    assert names["network ours"] == names["network peer"] >= 2  # each number of threads, devices
    assert {row["setting"] for row in rows if row["what"] == "network peer"} >= {
        "128x96, 1 thread, cpu",
        "128x96, 2 threads, cpu",
    }
    assert next(row["note"] for row in rows if row["what"] == "network ours") == "1.00 x"
    assert all(row["median"] > 0 for row in rows)
    table = capsys.readouterr().out
    assert "preprocessing" in table
    assert "% of inference (wanted: 10)" in table


def test_growth_runs_each_point_in_a_process_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setattr(benchmark, "SHAPES", ((64, 64), (64, 128)))
    monkeypatch.setattr(benchmark, "ITERS", (2,))
    ours = lite_model(tmp_path / "ours.onnx")
    plot, report = tmp_path / "growth.png", tmp_path / "report.json"
    flags = ["--quick", "--only", "growth", "--model", str(ours), "--plot", str(plot)]
    assert benchmark.main([*flags, "--json", str(report)]) == 0
    settings = [row["setting"] for row in json.loads(report.read_text())]
    assert settings == ["64x64, 2 iterations", "64x128, 2 iterations", "2 iterations"]
    assert plot.exists()


def test_decoding_is_compared_with_opencv(tmp_path, capsys):
    ours = lite_model(tmp_path / "ours.onnx")
    flags = ["--quick", "--only", "decoding", "--model", str(ours), "--model-shape", "64x96"]
    report = tmp_path / "report.json"
    assert benchmark.main([*flags, "--json", str(report)]) == 0
    opencv, program = json.loads(report.read_text())
    assert (opencv["what"], program["what"]) == ("decoding, OpenCV", "decoding, program")
    assert float(program["note"].split()[0]) == pytest.approx(
        program["median"] / opencv["median"], abs=0.01
    )


def test_the_video_rate_is_that_between_two_clips(tmp_path, monkeypatch):
    # given a script that takes 1 s to start and 0.1 s for each frame
    lengths: dict[str, int] = {}

    def write(path, frames, shape):
        lengths[path.name] = frames
        return path

    monkeypatch.setattr(bench_rows, "write_clip", write)
    monkeypatch.setattr(
        bench_rows,
        "run_program",
        lambda command: (1 + 0.1 * lengths[Path(command[2]).name], [(0.0, 1)]),
    )
    ours = lite_model(tmp_path / "ours.onnx")
    options = ["--quick", "--only", "video", "--model", str(ours), "--model-shape", "64x96"]
    report = tmp_path / "report.json"
    assert benchmark.main([*options, "--json", str(report)]) == 0
    video = json.loads(report.read_text())[0]
    assert video["median"] == pytest.approx(10)
