"""From arrays to figures: means, confidence intervals, comparisons, what trials agree on.

Pure functions: arrays come in, frozen dataclasses go out, nothing is read or written.
"""
