"""The bounds of the processor's rules in figures: bands where a value is beyond one, and axes that reach those near."""

from dataclasses import dataclass

import pandas

from vigie_dashboard.language import Language
from vigie_dashboard.quantities import BY_NAME
from vigie_dashboard.theme import SYMBOLS, Palette


@dataclass(frozen=True)
class Bands:
    """What to draw, as Plotly's layout has it, and in words what the axis does not reach."""

    shapes: list[dict]
    annotations: list[dict]
    beyond: str


def value_range(
    values: pandas.Series, bounds: pandas.DataFrame, quantity: str, reach: float = 1.0
) -> tuple[float, float] | None:
    """The axis: what is there with some room, and the bounds that are not far from it, with room for their names.

    `reach` is how far a bound may be, as a share of the range of the values: it takes as much of their height.
    """
    values = values.dropna()
    if values.empty:
        return None
    low, high = float(values.min()), float(values.max())
    known = BY_NAME[quantity]
    least = known.narrowest
    if high - low < least:
        middle = (high + low) / 2
        low, high = middle - least / 2, middle + least / 2
    span = high - low
    for bound in bounds["bound"]:
        if low - span * reach <= bound < low:
            low = bound - span * 0.12
        elif high < bound <= high + span * reach:
            high = bound + span * 0.12
    room = (high - low) * 0.08
    return max(low - room, known.lowest), min(high + room, known.highest)


def bands(
    bounds: pandas.DataFrame, limits: tuple[float, float], language: Language, palette: Palette, axes: dict[str, str]
) -> Bands:
    """Where a value is beyond a bound, named in words: a colour alone says nothing.

    `bounds` are those of the quantity whose axis has these limits; `axes` says which axis that is, and that the other
    one goes by the width of the plot.
    """
    low, high = limits
    shapes: list[dict] = []
    annotations: list[dict] = []
    beyond = []
    for bound in bounds.itertuples():
        is_above = bound.side == "above"
        colour = palette.status[bound.severity]
        value = f"{'>' if is_above else '<'} {language.value(bound.quantity, bound.bound)}"
        if not low < bound.bound < high:
            beyond.append(f"{SYMBOLS[bound.severity]} {value}")
            continue
        end = high if is_above else low
        shapes.append(
            {
                **axes,
                "type": "rect",
                "layer": "below",
                "x0": 0,
                "x1": 1,
                "y0": bound.bound,
                "y1": end,
                "fillcolor": colour,
                "opacity": 0.12 if palette.is_dark else 0.08,
                "line": {"width": 0},
            }
        )
        shapes.append(
            {
                **axes,
                "type": "line",
                "x0": 0,
                "x1": 1,
                "y0": bound.bound,
                "y1": bound.bound,
                "line": {"color": colour, "width": 1.2, "dash": "dash"},
            }
        )
        # On the far side of the line, unless there is no room for it.
        is_outside = abs(end - bound.bound) > (high - low) * 0.11
        annotations.append(
            {
                **axes,
                "x": 0.005,
                "y": bound.bound,
                "text": f"{SYMBOLS[bound.severity]} {language.text('status.' + bound.severity)} {value}",
                "font": {"size": 11, "color": colour},
                "xanchor": "left",
                "yanchor": "bottom" if is_above == is_outside else "top",
                "showarrow": False,
            }
        )
    return Bands(shapes, annotations, language.text("bounds.beyond", bounds="  ".join(beyond)) if beyond else "")
