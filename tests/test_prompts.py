"""Prompts: the words, forgiving answers, defaults, the end of the input, asking again."""

from __future__ import annotations

import builtins
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from crestereo.app import prompts, script
from crestereo.app.prompts import ask, ask_yes_no, clean_answer, parse_yes_no
from crestereo.errors import SourceError, UsageError

Typing = Callable[..., list[str]]


@pytest.fixture
def typing(monkeypatch: pytest.MonkeyPatch) -> Typing:
    """Answer prompts from a list, at a terminal or from a pipe; return the prompts shown."""

    def install(*answers: str, terminal: bool = False) -> list[str]:
        shown: list[str] = []
        left = list(answers)

        def fake_input(prompt: str = "") -> str:
            shown.append(prompt)
            if not left:
                raise EOFError
            return left.pop(0)

        monkeypatch.setattr(builtins, "input", fake_input)
        monkeypatch.setattr(sys.stdin, "isatty", lambda: terminal, raising=False)
        return shown

    return install


def number(text: str) -> int:
    if not text.isdigit():
        raise SourceError(f"{text} is no number")
    return int(text)


def test_the_prompts_are_the_ones_users_know() -> None:
    assert [
        prompts.LEFT_IMAGE,
        prompts.RIGHT_IMAGE,
        prompts.LEFT_VIDEO,
        prompts.RIGHT_VIDEO,
        prompts.STEREO_VIDEO,
        prompts.SWAP,
        prompts.FIRST_IMAGE,
        prompts.SECOND_IMAGE,
    ] == [
        "Left Image (URL or file path) : ",
        "Right Image (URL or file path) : ",
        "Left Video (URL or file path) : ",
        "Right Video (URL or file path) : ",
        "Stereo Video (URL or file path) : ",
        "Swap left and right(y/n) : ",
        "Image1 : ",
        "Image2 : ",
    ]


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("  left.png ", "left.png"),
        ('"my left.png"', "my left.png"),
        ("'my left.png' ", "my left.png"),
        ("file:///tmp/my%20left.png", "/tmp/my left.png"),
        ("file://localhost/tmp/left.png", "/tmp/left.png"),
        ("file:///C:/pictures/left.png", "C:/pictures/left.png"),
        ("FILE:///tmp/%ED%95%9C.png", "/tmp/한.png"),
        ("https://example.org/a b?x='1'", "https://example.org/a b?x='1'"),
        ("~/left.png", str(Path.home() / "left.png")),
        ("", ""),
        ('"', '"'),
    ],
)
def test_answers_are_cleaned_of_what_dragging_adds(typed: str, meant: str) -> None:
    assert clean_answer(typed) == meant


@pytest.mark.skipif(sys.platform == "win32", reason="a backslash parts folders there")
def test_backslashes_of_a_terminal_go_unless_the_file_has_them(tmp_path: Path) -> None:
    assert clean_answer(r"/a/my\ left\(1\).png") == "/a/my left(1).png"
    odd = tmp_path / r"a\ b.png"
    odd.touch()
    assert clean_answer(str(odd)) == str(odd)


@pytest.mark.skipif(sys.platform == "win32", reason="terminals quote otherwise there")
@pytest.mark.parametrize(
    ("dragged", "meant"),
    [
        (r"'/a/it'\''s left.png'", "/a/it's left.png"),
        (r'"/a/the \"left\".png"', '/a/the "left".png'),
        ("'/a/it's left.png'", "/a/it's left.png"),  # quoted by hand
        ("'/a/left.png' '/a/right.png'", "/a/left.png' '/a/right.png"),  # not two answers
    ],
)
def test_quotes_of_a_terminal_are_taken_back(dragged: str, meant: str) -> None:
    assert clean_answer(dragged) == meant


@pytest.mark.parametrize(
    ("text", "value"), [("y", True), ("Yes", True), ("N", False), ("nO", False)]
)
def test_yes_and_no_in_any_case(text: str, value: bool) -> None:
    assert parse_yes_no(text) is value


def test_a_default_stands_above_the_prompt_and_is_taken_for_an_empty_answer(
    typing: Typing, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = typing("")
    assert ask("How many : ", number, default="7") == 7
    assert shown == ["How many : "]
    assert capsys.readouterr().out.splitlines()[0] == "Press Enter for 7"


def test_the_end_of_input_takes_the_default_and_without_one_is_a_usage_error(
    typing: Typing,
) -> None:
    typing()
    assert ask("How many : ", number, default="7") == 7
    with pytest.raises(UsageError, match="'How many'"):
        ask("How many : ", number)


def test_at_a_terminal_a_wrong_answer_is_asked_again_with_the_reason(
    typing: Typing, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = typing("many", "", "3", terminal=True)
    assert ask("How many : ", number) == 3
    assert shown == ["How many : "] * 3
    assert capsys.readouterr().err.splitlines() == ["many is no number", "an answer is needed"]


def test_from_a_pipe_a_wrong_answer_is_an_error_at_once(typing: Typing) -> None:
    shown = typing("many", "3")
    with pytest.raises(SourceError, match="many is no number"):
        ask("How many : ", number)
    assert len(shown) == 1


def test_yes_no_shows_its_default(typing: Typing, capsys: pytest.CaptureFixture[str]) -> None:
    typing("", "perhaps")
    assert ask_yes_no("Swap : ", default=True) is True
    assert "Press Enter for y" in capsys.readouterr().out
    with pytest.raises(UsageError, match="neither yes nor no"):
        ask_yes_no("Swap : ")


def test_with_json_nothing_but_the_summary_reaches_standard_output(
    typing: Typing, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = typing("3")
    script.reserve_stdout(True)
    ask("How many : ", number, default="7")
    script.summary({"name": "탁자"})
    out, err = capsys.readouterr()
    assert shown == [""]
    assert "How many : " in err
    assert json.loads(out) == {"name": "탁자"}
    assert out.isascii()  # JSON wherever it goes: an escape of Python would be none
