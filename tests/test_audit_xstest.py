"""Sixty human labels mend a judge on real answers: XSTest, five models, refusal by regular expressions."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[1] / "benchmarks" / "ppi_xstest.py"


def test_ppi_beats_no_correction_and_a_borrowed_one(shared_data: Path) -> None:
    spec = importlib.util.spec_from_file_location("ppi_xstest", SOURCE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["ppi_xstest"] = module  # a dataclass looks its module up
    spec.loader.exec_module(module)
    rows = module.simulate(shared_data / "xstest", labels=60, draws=200)
    assert len(rows) == 5
    for row in rows:
        assert row.n == 450 and abs(row.ppi_bias) < 0.02 and row.ppi_coverage >= 0.92, row.model
        assert row.ppi_width <= row.labels_only_width, "the judge still helps"
    assert max(abs(row.ppi_bias) for row in rows) < max(abs(row.uncorrected_bias) for row in rows)
    worse = [row.model for row in rows if abs(row.borrowed_bias) > abs(row.uncorrected_bias)]
    assert len(worse) >= 3, "another model's sensitivity and specificity do harm more often than good"
    assert "mistralguard" in module.table(rows)
