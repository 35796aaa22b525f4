"""The interactive layer that the scripts and tools share."""
