"""tools/renew_page.py: the figures on a page come from the commands above them."""

from __future__ import annotations

from pathlib import Path

import pytest

from crestereo.errors import SourceError, UsageError
from tests import mini_datasets as mini
from tools import renew_page

PAGE = """# Results

Words before.

```sh
python tools/evaluate.py {dataset} --model-version none \\
    --baseline sgbm
```
<!-- output -->
stale
<!-- end of output -->

```sh
python elsewhere.py
```

Words after.
"""


def test_the_output_of_a_command_replaces_the_stale_one(tmp_path: Path) -> None:
    mini.rendered_sample(tmp_path / "data")
    page = tmp_path / "page.md"
    text = PAGE.format(dataset=tmp_path / "data")
    page.write_text(text, "utf-8")
    assert renew_page.main([str(page)]) == 0
    new = page.read_text("utf-8")
    before, _, after = text.partition("stale")
    assert new.startswith(before) and new.endswith(after)  # the block without marks was not run
    assert "| SGBM" in new and "stale" not in new


def test_a_failing_command_leaves_the_page_alone(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    text = PAGE.format(dataset=tmp_path / "nothing")
    page.write_text(text, "utf-8")
    with pytest.raises(UsageError, match=r"failed with code 3: .*is not a folder"):
        renew_page.main([str(page)])
    assert page.read_text("utf-8") == text


def test_a_folder_of_the_page_stands_for_a_folder_of_this_machine(tmp_path: Path) -> None:
    # given a page whose command names DATASETS/data
    mini.rendered_sample(tmp_path / "data")
    page = tmp_path / "page.md"
    page.write_text(PAGE.format(dataset="DATASETS/data"), "utf-8")
    # when it is renewed with that folder
    renew_page.main([str(page), "--folder", f"DATASETS={tmp_path}"])
    # then the command has run there, and the page still names DATASETS
    new = page.read_text("utf-8")
    assert "| SGBM" in new and "DATASETS/data" in new and str(tmp_path) not in new


@pytest.mark.parametrize("command", ["rm -r x", "python -c pass", "python tools"])
def test_only_the_projects_tools_are_run(command: str) -> None:
    with pytest.raises(UsageError, match="only run the project's tools"):
        renew_page.renewed(f"```sh\n{command}\n```\n<!-- output -->\n<!-- end of output -->")


def test_a_page_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"no such page: .*page\.md"):
        renew_page.main([str(tmp_path / "page.md")])
