"""How sure it is that counts differ by more than chance."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Counts = npt.NDArray[np.int64]


def chance(table: Counts) -> float:
    """How probable the rows of a table of counts are to differ so much by chance.

    The likelihood ratio test (Dunning 1993), against a chi-squared distribution.

    Args:
        table: counts, shape (n_rows, n_columns); rows and columns without any do not matter.
    """
    from scipy.stats import chi2

    rows, columns = table.sum(1, keepdims=True), table.sum(0, keepdims=True)
    kept = table[rows[:, 0] > 0][:, columns[0] > 0]
    freedom = (kept.shape[0] - 1) * (kept.shape[1] - 1)
    if freedom <= 0:
        return 1.0
    expected = kept.sum(1, keepdims=True) * kept.sum(0, keepdims=True) / kept.sum()
    terms = np.where(kept > 0, kept * np.log(np.maximum(kept, 1) / expected), 0.0)
    return float(chi2.sf(2 * terms.sum(), freedom))
