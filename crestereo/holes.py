"""Closing the holes of a disparity map.

References
----------
.. [1] A. Geiger, P. Lenz, R. Urtasun, "Are we ready for Autonomous Driving? The KITTI Vision
       Benchmark Suite", CVPR 2012, development kit: ``interpolateBackground``.
"""

from __future__ import annotations

import numpy as np

from .types import DisparityMap


def fill_from_background(disparity: DisparityMap) -> DisparityMap:
    """Replace unknown pixels by the farther of their nearest known neighbours.

    Along each row the smaller of the next known value to the left and to the right, at the
    border the only one there is; rows without any known value are then filled in the same way
    along the columns. This is the interpolation of KITTI's development kit [1]_, because what
    one camera alone sees is the background; the kit leaves empty rows between known ones open.

    Returns
    -------
    (H, W) float32
        All NaN if nothing was known.
    """
    known = np.where(np.isfinite(disparity), disparity, np.nan).astype(np.float32)
    along_rows = np.fmin(_carry_right(known), _carry_right(known[:, ::-1])[:, ::-1])
    columns = np.ascontiguousarray(along_rows.T)
    return np.ascontiguousarray(
        np.fmin(_carry_right(columns), _carry_right(columns[:, ::-1])[:, ::-1]).T
    )


def _carry_right(values: DisparityMap) -> DisparityMap:
    """Replace NaN by the last known value to its left, if any."""
    columns = np.arange(values.shape[1])
    last = np.maximum.accumulate(np.where(np.isfinite(values), columns, 0), axis=1)
    return np.take_along_axis(values, last, axis=1)
