"""Language of pages, docstrings and help texts: the nouns of the field, active verbs."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.test_architecture import (
    ROOT,
    name_of,
)

# A word or phrase that is not used, and what is written instead.
STOP_LIST = {
    r"affair": "responsibility",
    r"anew": "again",
    r"as (it|they) (is|are)(?! \w+ed)": "unchanged",
    r"as it should be": "correct",
    r"belongs? together": "a pair, synchronized",
    r"besides?": "next to, in addition",
    r"cannot be[.:;,]": "invalid",
    r"contestants?": "method",
    r"(?<!-)eyes?(?!-)\b": "view",
    r"go(es)? on\b": "continue",
    r"in step": "synchronized",
    r"knows?": "has, contains",
    r"lends?|lent": "provide",
    r"look(s|ed|ing)? at": "examine",
    r"mend(s|ed|ing)?": "correct",
    r"nobody|somebody|whoever": "the user, the caller",
    r"of its own": "separate",
    r"patien(ce|tly|t)": "timeout",
    r"pictures?": "image",
    r"rows apart": "vertical disparity",
    r"says?|said": "report, state",
    r"stands? (in|otherwise|for|beside)": "is, moved, means",
    r"tells?|told|telling": "report, detect",
    r"the (form|shape) of the (frame|picture)": "aspect ratio",
    r"what hides what": "occlusions",
    r"wish(es|ed)?": "target",
    r"(?<!ground )(?<!Ground )truth": "ground truth",
}
HUMAN_EYES = "docs/background.md"  # a page on how eyes see depth
STOP = re.compile(rf"(?<![\w/.`-])({'|'.join(STOP_LIST)})(?![\w/`-])", re.IGNORECASE)
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *(ROOT / name / "README.md" for name in ("models", "input_files", "training")),
    ROOT / "training" / "log.md",
    *(page for page in sorted((ROOT / "docs").glob("*.md")) if not page.stem.endswith(".ko")),
]


def stopped(text: str) -> list[str]:
    return [
        f"{m[0]!r} in {text[max(0, m.start() - 30) : m.end() + 30]!r}" for m in STOP.finditer(text)
    ]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_a_page_uses_the_words_of_the_field(page: Path) -> None:
    prose = re.sub(
        r"^```.*?^```$|`[^`]*`|\]\([^)]*\)", " ", page.read_text("utf-8"), flags=re.S | re.M
    )
    found = stopped(" ".join(prose.split()))
    if name_of(page) == HUMAN_EYES:
        found = [text for text in found if not re.match("['\"]eyes?['\"]", text, re.IGNORECASE)]
    assert found == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Look at the pair first and mend it.", 2),
        ("The right eye's picture cannot be.", 3),
        ("Return the ground truth of the left image.", 0),
        ("a recommended known view that both cameras see", 0),
    ],
)
def test_the_stop_list_finds_what_it_should(text: str, words: int) -> None:
    assert len(stopped(text)) == words


def docstrings_and_help(path: Path) -> list[str]:
    nodes = list(ast.walk(ast.parse(path.read_text("utf-8"))))
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef)
    texts = [ast.get_docstring(node) or "" for node in nodes if isinstance(node, kinds)]
    values = [node.value for node in nodes if isinstance(node, ast.keyword) and node.arg == "help"]
    return texts + [ast.unparse(value) for value in values]


@pytest.mark.parametrize("folder", ["crestereo", "tools", "training"])
def test_docstrings_and_help_use_the_words_of_the_field(folder: str) -> None:
    paths = sorted((ROOT / folder).rglob("*.py"))
    found = {name_of(path): stopped(" ".join(docstrings_and_help(path))) for path in paths}
    assert {name: words for name, words in found.items() if words} == {}
