"""From arrays to figures: means, intervals and comparisons.

Pure functions. Arrays come in, frozen dataclasses go out.
"""
