"""Degenerate images and videos never end a run with a bug."""

from __future__ import annotations

from collections import Counter

import pytest

from tools import fuzz_inputs
from tools.fuzz_inputs import KINDS, draw_pair, fuzz


def test_every_kind_of_degenerate_input_is_estimated_or_refused() -> None:
    # given a pair of each kind and some videos, drawn by their seed
    outcomes = list(fuzz(images=len(KINDS), videos=2, seed=100))
    # when they are estimated as a user would
    bugs = [f"{o.kind}, seed {o.seed}: {o.detail}" for o in outcomes if o.word == "bug"]
    # then none shows a bug
    assert not bugs, bugs[0]
    assert len({o.kind for o in outcomes}) == len(KINDS) + 2


def test_a_bug_is_reported_with_its_seed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # given a program with a bug
    def broken(*_: object) -> None:
        raise IndexError("no such pixel")

    monkeypatch.setattr(fuzz_inputs, "estimate_images", broken)
    # when it is fuzzed
    code = fuzz_inputs.main(["--images", "2", "--videos", "0", "--seed", "3"])
    # then the tool fails and names the input
    assert code == 1
    said = capsys.readouterr()
    assert "seed 3" in said.out + said.err
    assert "IndexError" in said.out + said.err


def test_seeds_draw_all_kinds_repeatably() -> None:
    kinds = Counter(draw_pair(seed)[0] for seed in range(3 * len(KINDS)))
    assert set(kinds.values()) == {3}
    first, again = draw_pair(7), draw_pair(7)
    assert first[0] == again[0]
    assert (first[1] == again[1]).all()
