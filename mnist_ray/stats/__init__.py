"""From arrays to figures: means, confidence intervals, comparisons, what trials agree on.

Pure functions: arrays come in, frozen dataclasses go out, nothing is read or written. Standard
deviations have ddof 1. Intervals are two-sided at 95 % and not clipped. Accuracies are shares from
0 to 1. A figure that the data cannot give is None, never NaN. Arguments that make no sense (a wrong
shape, a value that is not finite) raise ValueError: they are the caller's mistake, not the user's.

Every interval is conditional on the test set and on the placement of its images. It says what more
trials would show, not what another test set would (see `VarianceDecomposition.test_set_sem`).
"""
