"""Columns of data as texts."""

from collections.abc import Callable

import numpy
import pandas


def each_written(values: pandas.Series, write: Callable[[float], str], digits: int = 0) -> list[str]:
    """Each value as text, of which so many digits count; what is missing is empty.

    Written once however often a value is there: a column of a thousand sensors has few different ones.
    """
    plain = numpy.round(values.to_numpy(float, na_value=numpy.nan), digits)
    different, places = numpy.unique(plain, return_inverse=True)
    texts = ["" if value != value else write(value) for value in different.tolist()]
    return [texts[place] for place in places.tolist()]
