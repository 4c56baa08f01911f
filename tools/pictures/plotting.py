"""What plots have in common."""

from __future__ import annotations

from matplotlib.figure import Figure

from tools.pictures.palette import Palette


def colour(figure: Figure, palette: Palette) -> None:
    """Give all of a figure but its data the colours of a page."""
    figure.set_facecolor(palette.page)
    for axes in figure.axes:
        axes.set_facecolor(palette.page)
        axes.title.set_color(palette.text)
        axes.xaxis.label.set_color(palette.text)
        axes.yaxis.label.set_color(palette.text)
        axes.tick_params(which="both", colors=palette.muted)
        axes.grid(color=palette.line)
        for spine in axes.spines.values():
            spine.set_color(palette.line)
        legend = axes.get_legend()
        if legend is not None:
            legend.get_frame().set(facecolor=palette.box, edgecolor=palette.line)
            for text in (legend.get_title(), *legend.get_texts()):
                text.set_color(palette.text)
