"""What holds for all tests."""

from __future__ import annotations

import signal

# A shell that runs a command in the background makes it ignore Ctrl-C, and every program that it
# starts inherits that. The tests press Ctrl-C on programs, so they undo it.
signal.signal(signal.SIGINT, signal.default_int_handler)
