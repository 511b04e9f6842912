"""Colours that the colour-blind can tell apart (Okabe and Ito's), a symbol beside each, and figures that match."""

from dataclasses import dataclass

import plotly.graph_objects as go
import streamlit as st

from vigie_dashboard.language import Language

FONT = '"Source Sans", "Source Sans Pro", sans-serif'

# From worst to best: the order in which things are listed.
STATUSES = ("critical", "failure", "warning", "stale", "ok", "unknown")
# In texts, before a name: shapes that differ without colour.
SYMBOLS = {"critical": "◆", "failure": "✖", "warning": "▲", "stale": "○", "ok": "●", "unknown": "·"}
# The same shapes in figures.
MARKERS = {
    "critical": "diamond",
    "failure": "x",
    "warning": "triangle-up",
    "stale": "circle-open",
    "ok": "circle",
    "unknown": "circle-open-dot",
}
# Lines that differ without colour, for series beyond what a legend's colours tell.
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")


@dataclass(frozen=True)
class Palette:
    is_dark: bool
    background: str
    # Of cards and bands.
    surface: str
    text: str
    # Of what matters less.
    muted: str
    grid: str
    # By status.
    status: dict[str, str]
    # Of series, in order.
    series: tuple[str, ...]
    # From low to high.
    scale: tuple[str, ...]

    def series_colour(self, index: int) -> str:
        return self.series[index % len(self.series)]

    def series_dash(self, index: int) -> str:
        """Another dash once the colours are used up."""
        return DASHES[index // len(self.series) % len(DASHES)]


LIGHT = Palette(
    is_dark=False,
    background="#FFFFFF",
    surface="#F3F5F7",
    text="#1B2430",
    muted="#5A6675",
    grid="#E3E7EB",
    status={
        "critical": "#B5179E",
        "failure": "#C1440E",
        "warning": "#B87700",
        "stale": "#5A6675",
        "ok": "#007A5A",
        "unknown": "#8A94A0",
    },
    series=("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7A6A00"),
    scale=("#440154", "#3B528B", "#21918C", "#5EC962", "#C8B900"),
)
DARK = Palette(
    is_dark=True,
    background="#11161C",
    surface="#1A212A",
    text="#E6EAEE",
    muted="#9AA6B2",
    grid="#2A333E",
    status={
        "critical": "#FF7AD9",
        "failure": "#FF7A45",
        "warning": "#F0B429",
        "stale": "#9AA6B2",
        "ok": "#2BC79A",
        "unknown": "#74808C",
    },
    series=("#56B4E9", "#FF8A3D", "#2BC79A", "#E39CC4", "#F0B429", "#8FA8FF", "#F0E442"),
    scale=("#6A4C93", "#4F7CAC", "#3FA7A0", "#8FD16A", "#FDE725"),
)


def palette_now() -> Palette:
    """That of the reader's theme, which follows the browser's unless the reader has chosen one."""
    return DARK if st.context.theme.type == "dark" else LIGHT


def template(palette: Palette, language: Language) -> go.layout.Template:
    """What all figures share."""
    axis = {
        "gridcolor": palette.grid,
        "linecolor": palette.grid,
        "zerolinecolor": palette.grid,
        "tickcolor": palette.grid,
        "tickfont": {"color": palette.muted},
        "title": {"font": {"color": palette.muted, "size": 13}},
        "automargin": True,
    }
    return go.layout.Template(
        layout=go.Layout(
            font={"family": FONT, "size": 13, "color": palette.text},
            paper_bgcolor="rgba(0,0,0,0)",
            plot_bgcolor="rgba(0,0,0,0)",
            colorway=list(palette.series),
            colorscale={"sequential": _steps(palette.scale)},
            margin={"l": 8, "r": 8, "t": 8, "b": 8},
            separators=language.plotly_separators,
            hoverlabel={
                "bgcolor": palette.surface,
                "bordercolor": palette.grid,
                "font": {"family": FONT, "size": 13, "color": palette.text},
            },
            hovermode="closest",
            legend={"orientation": "h", "yanchor": "bottom", "y": 1.02, "x": 0, "title": {"text": ""}},
            xaxis=axis,
            yaxis=axis,
            modebar={"bgcolor": "rgba(0,0,0,0)", "color": palette.muted, "activecolor": palette.text},
        )
    )


def _steps(colours: tuple[str, ...]) -> list[tuple[float, str]]:
    return [(index / (len(colours) - 1), colour) for index, colour in enumerate(colours)]


# What Streamlit's theme has no setting for.
STYLE = """
<style>
header[data-testid="stHeader"] { height: 2.5rem; min-height: 2.5rem; background: transparent; pointer-events: none; }
header[data-testid="stHeader"] * { pointer-events: none; }
header[data-testid="stHeader"] button { pointer-events: auto; }
.stMainBlockContainer { padding: 0.6rem clamp(0.75rem, 2.5vw, 2.5rem) 2rem; }
.st-key-header { padding-right: 2.25rem; }
.st-key-lang * { text-transform: uppercase; }
@media (max-width: 640px) {
  .st-key-header { gap: 0.25rem; }
  .st-key-header a > *:has([data-testid="stIconMaterial"]:only-child),
  .st-key-header [data-testid="stIconMaterial"] { display: none; }
  .st-key-header a { padding: 0.15rem 0.3rem; }
  .st-key-header button, .st-key-header label { padding-inline: 0.45rem; }
  /* What is chosen from is seen whole. */
  [data-testid="stButtonGroup"] [role="toolbar"] { flex-wrap: wrap; overflow: visible; mask: none; }
}
/* The page's title is in the navigation: only who cannot see that needs it. */
.st-key-header > :has(h1) { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
/* A page that refreshes itself every other second must not fade and show that it runs each time. */
[data-testid="stStatusWidget"] { display: none; }
[data-stale="true"] { opacity: 1 !important; transition: none !important; }
.st-key-trend-figures [data-testid="stMetricValue"] { font-size: 1.7rem; }
@media (max-width: 640px) {
  .st-key-trend-figures { gap: 0.5rem 1.25rem; }
  .st-key-trend-figures [data-testid="stMetricValue"] { font-size: 1.35rem; }
}
/* The switch at the other end of the line. */
.st-key-header > :last-child { margin-left: auto; }
</style>
"""

# For st.plotly_chart: no bar of tools over a small chart, nothing that leads out of the page.
CHART_CONFIGURATION = {"displaylogo": False, "displayModeBar": False, "responsive": True}
