"""All that a GPU may be asked to train, compiled with XLA on a CPU."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xla_matrix

TOLERANCE = {"float32": 1e-5, "mixed_float16": 0.05, "mixed_bfloat16": 0.1}
"""Of losses without dropout, relative: in 16 bits, XLA rounds fewer intermediate values than the
plain graph. With dropout, the two draw different masks: see `test_xla_dropout`."""


def matrix(*arguments: str, flags: str = "") -> list[dict[str, Any]]:
    child = subprocess.run(
        [sys.executable, xla_matrix.__file__, *arguments],
        env={**os.environ, "XLA_FLAGS": flags},
        stdout=subprocess.PIPE,
        check=True,
    )
    return [json.loads(line) for line in child.stdout.splitlines() if line.startswith(b"{")]


DETERMINISM = pytest.mark.parametrize(
    "determinism", [[], ["deterministic"]], ids=["as on GPUs", "as on CPUs"]
)


@DETERMINISM
@pytest.mark.parametrize("architecture", xla_matrix.ARCHITECTURES)
def test_xla_compiles_all_and_trains_as_the_plain_graph(
    architecture: str, determinism: list[str]
) -> None:
    rows = matrix(architecture, *determinism)
    assert [tuple(row["way"]) for row in rows] == xla_matrix.ways_of(architecture)
    for row in rows:
        _, precision, _ = row["way"]
        assert row["refusal"] is None, row
        assert np.isfinite(row["losses"]).all(), row
        if "plain" in row:
            np.testing.assert_allclose(
                row["losses"], row["plain"], rtol=TOLERANCE[precision], err_msg=str(row["way"])
            )


@DETERMINISM
def test_no_gradient_scatters_and_the_length_of_every_loop_is_known(
    determinism: list[str], tmp_path: Path
) -> None:
    rows = matrix("few", *determinism, flags=f"--xla_dump_to={tmp_path} --xla_dump_hlo_as_text")
    programs = [
        path.read_text()
        for name in ("train_epoch", "evaluate_block")
        for path in tmp_path.glob(f"*{name}*after_optimizations.txt")
    ]
    assert len(programs) == 2 * len(rows) > 0
    assert any("convolution(" in program for program in programs)
    for program in programs:
        assert "scatter(" not in program  # Nor `select-and-scatter(`.
        assert program.count(" while(") == program.count("known_trip_count") == 1
