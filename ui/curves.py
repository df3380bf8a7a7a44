"""Loss and accuracy of a run as an SVG that grows with it."""

from __future__ import annotations

import html
from collections.abc import Sequence

from train.events import Baseline, Epoch, Event, Step

WIDTH, HEIGHT, LEFT, TOP = 520, 190, 40, 14
#: Points of the loss that are drawn at most.
POINTS = 240


def curves(events: Sequence[Event], loss_title: str, accuracy_title: str, baseline_title: str) -> str:
    """Two drawings side by side; empty before there is a step.

    Args:
        events: of a run so far.
        loss_title: above the first, as HTML.
        accuracy_title: above the second, as HTML.
        baseline_title: beside the line of the baseline, as HTML.
    """
    steps = [one for one in events if isinstance(one, Step)]
    epochs = [one for one in events if isinstance(one, Epoch)]
    baseline = next((one for one in events if isinstance(one, Baseline)), None)
    if not steps:
        return ""
    ends = _ends(events)
    losses = smoothed([one.loss for one in steps])
    every = max(1, len(losses) // POINTS)
    points = [(steps[index].progress, losses[index]) for index in range(0, len(losses), every)]
    judged = [(ends[one.number], one.val_loss) for one in epochs if one.number in ends]
    accuracies = [(ends[one.number], 100 * one.val_accuracy) for one in epochs if one.number in ends]
    most = max(value for _, value in [*points, *judged]) * 1.08
    first = _plot([("train", points), ("val", judged)], 0.0, most, f"{losses[-1]:.3f}")
    floor = min([value for _, value in accuracies] + ([100 * (baseline.accuracy.value or 0)] if baseline else [50.0]))
    low = max(0.0, 10 * int((floor - 5) / 10))
    line = 100 * (baseline.accuracy.value or 0) if baseline else None
    second = _plot([("val", accuracies)], low, 100.0, f"{accuracies[-1][1]:.1f} %" if accuracies else "", line)
    key = f'<span class="key base"></span>{baseline_title} {line:.1f} %' if line is not None else ""
    return (
        f'<div class="curves"><figure><figcaption>{loss_title}</figcaption>{first}</figure>'
        f"<figure><figcaption>{accuracy_title} {key}</figcaption>{second}</figure></div>"
    )


def _ends(events: Sequence[Event]) -> dict[int, float]:
    """The progress at which each epoch was judged."""
    found: dict[int, float] = {}
    progress = 0.0
    for event in events:
        if isinstance(event, Step):
            progress = event.progress
        elif isinstance(event, Epoch):
            found[event.number] = progress
    return found


def smoothed(values: Sequence[float], weight: float = 0.9) -> list[float]:
    """An exponential moving average that begins without a lag."""
    found, mean = [], 0.0
    for number, value in enumerate(values, start=1):
        mean = weight * mean + (1 - weight) * value
        found.append(mean / (1 - weight**number))
    return found


def _plot(
    lines: Sequence[tuple[str, Sequence[tuple[float, float]]]], low: float, high: float, last: str,
    level: float | None = None,
) -> str:  # fmt: skip
    """Lines over the progress 0..1, between `low` and `high`."""
    span = max(high - low, 1e-9)

    def place(x: float, y: float) -> str:
        return f"{LEFT + x * (WIDTH - LEFT - 10):.1f},{TOP + (HEIGHT - TOP - 22) * (1 - (y - low) / span):.1f}"

    grid = "".join(
        f'<path class="grid" d="M{place(0, value)}L{place(1, value)}"/>'
        f'<text x="{LEFT - 6}" y="{float(place(0, value).split(",")[1]) + 4:.1f}" text-anchor="end">{value:.3g}</text>'
        for value in (low, (low + high) / 2, high)
    )
    drawn = "".join(
        f'<polyline class="{name}" points="{" ".join(place(*point) for point in points)}"/>'
        + "".join(
            f'<circle class="{name}" r="3" cx="{x}" cy="{y}"/>'
            for x, y in (place(*point).split(",") for point in points if name == "val")
        )
        for name, points in lines
        if points
    )  # fmt: skip
    base = f'<path class="base" d="M{place(0, level)}L{place(1, level)}"/>' if level is not None else ""
    # Its last value stands at the end of the first line, away from the frame.
    told = ""
    if ends := [points[-1] for _, points in lines if points][:1]:
        x, y = (float(one) for one in place(*ends[0]).split(","))
        side, across = ("end", -7) if x > WIDTH / 2 else ("start", 7)
        told = (
            f'<text class="last" x="{x + across:.1f}" y="{y + 15 if y < TOP + 16 else y - 7:.1f}" '
            f'text-anchor="{side}">{html.escape(last)}</text>'
        )
    drawing = f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{html.escape(last)}">'
    return f"{drawing}{grid}{base}{drawn}{told}</svg>"
