"""Tests of the stereo depth program."""
