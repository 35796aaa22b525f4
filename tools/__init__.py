"""Programs over the package: each runs by itself, ``python tools/NAME.py --help``."""
