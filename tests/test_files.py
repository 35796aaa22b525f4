"""Files appear under any name, and errors that are not theirs pass."""

from __future__ import annotations

from pathlib import Path

import pytest

from crestereo.formats import replacing, write_bytes


def test_a_name_as_long_as_names_can_be_is_written(tmp_path: Path) -> None:
    target = tmp_path / f"{'가' * 83}.pfm"
    write_bytes(target, b"whole")
    assert list(tmp_path.iterdir()) == [target]


def test_what_is_lent_is_no_address_for_ffmpeg(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with replacing("12-30/table.mp4") as temporary:
        temporary.touch()
        assert temporary.is_absolute()
    assert Path("12-30/table.mp4").is_file()


def test_a_reader_of_the_output_that_left_is_no_failure_of_the_file(tmp_path: Path) -> None:
    with pytest.raises(BrokenPipeError), replacing(tmp_path / "a.txt") as temporary:
        temporary.write_text("half")
        raise BrokenPipeError
    assert list(tmp_path.iterdir()) == []
