"""Command-line tools: ``python tools/NAME.py --help``."""
