"""What holds for all tests."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from crestereo.app import script

# A shell that runs a command in the background makes it ignore Ctrl-C, and every program that it
# starts inherits that. The tests press Ctrl-C on programs, so they undo it.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def sentences_on_standard_output() -> Iterator[None]:
    """Undo what a test with --json sets for the whole process."""
    yield
    script.reserve_stdout(False)
