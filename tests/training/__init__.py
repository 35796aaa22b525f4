"""Tests of training/, which need PyTorch (requirements-train.txt)."""
