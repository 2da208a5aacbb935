"""Types of the arrays that rooms hand to each other.

What an array holds stands in the name of the variable (`times_ms`, `scores`), its shape in the
docstring; here is only what numpy stores.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]
"""Readings, scores, features."""

Ints: TypeAlias = NDArray[np.int64]
"""Epoch milliseconds, positions, counts."""

Bools: TypeAlias = NDArray[np.bool_]
"""Which of them."""

Bytes: TypeAlias = NDArray[np.uint8]
"""Bytes of an object or a payload."""

Objects: TypeAlias = NDArray[np.object_]
"""Python objects, mostly the sensors' names."""
