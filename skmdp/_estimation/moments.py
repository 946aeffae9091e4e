"""Rows of which only moments are known, in place of which three amounts have the same moments.

Whatever is a sum over rows of powers up to the fourth, such as variances and what they vary by,
comes out of the three amounts as it does of the rows. Let e be the distance of an amount from the
mean of n rows, and m_k the mean of e^k. Amounts at the distances 0, x and y with

    x + y = s,  x y = s^2 - q,  s = m_3 / m_2,  q = m_4 / m_2

have these moments if x and y are met by shares u / x and -u / y of the rows, u = m_2 / (x - y).
"""

from __future__ import annotations

import numpy as np

from skmdp._typing import Floats


def three_amounts(
    n: Floats, powers: Floats, least: Floats, largest: Floats
) -> tuple[Floats, Floats]:
    """Return distances from the mean, and by how many rows each is met, both (n_entries, 3).

    ``powers`` (4, n_entries) are the sums of the first four powers of the amounts of ``n`` rows
    each, between the ``least`` and the ``largest``. Where all rows agree there is but the mean.
    Sums of powers tell little of a small spread far from 0, so moments are held to what they can be
    between the bounds.
    """
    distances, shares = np.zeros((2, len(n), 3))
    shares[:, 0] = 1.0
    differ = np.flatnonzero(largest > least)
    if len(differ):
        n = n[differ]
        a, b, c, d = powers[:, differ] / n
        low, high = least[differ], largest[differ]
        span = high - low
        spread = np.clip(b - a**2, span**2 / (2 * n), span**2 / 4)
        s = (c - 3 * a * b + 2 * a**3) / spread
        s = np.clip(s, np.minimum(low - a, 0), np.maximum(high - a, 0))
        q = (d - 4 * a * c + 6 * a**2 * b - 3 * a**4) / spread
        lowest = s**2 + spread
        q = np.clip(q, lowest, np.maximum(lowest, span**2))
        width = np.sqrt(4 * q - 3 * s**2)
        # The root farther from 0 first, as the other one may be a difference of equals.
        far = (s + np.where(s < 0, -width, width)) / 2
        near = (s**2 - q) / far
        moved = spread / (far - near)
        distances[differ, 1], distances[differ, 2] = far, near
        shares[differ, 1], shares[differ, 2] = moved / far, -moved / near
        shares[differ, 0] = np.maximum(1 - shares[differ, 1] - shares[differ, 2], 0.0)
    return distances, shares
