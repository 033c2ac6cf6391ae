"""Draws the rows of the dashboard as Grafana would lay them out, from DIR/answers.json (tests/dashboard/dashboard): draw.py DIR

Sizes, places, units, legends, thresholds and the overrides that the dashboard uses are those of its JSON; the rest is plain. A legend has a
third of its panel, as Grafana gives it, and tells how many of its lines would have to be scrolled to.
"""

import json
import math
import pathlib
import re
import sys
import warnings

import matplotlib

matplotlib.use("Agg")
import matplotlib.dates as dates  # noqa: E402
import matplotlib.pyplot as plt  # noqa: E402
from matplotlib.colors import PowerNorm  # noqa: E402
from matplotlib.ticker import FuncFormatter, MaxNLocator  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
# Pixels: a dashboard 1,440 wide, a unit of height, the space between panels, a line of text.
WIDTH, UNIT, GAP, LINE = 1440, 30, 8, 17
PALETTE = "#73bf69 #f2cc0c #8ab8ff #ff780a #f2495c #5794f2 #b877d9 #705da0 #37872d #fade2a #447ebc #c15c17 #890f02".split()
COLORS = {"green": "#37872d", "orange": "#ff780a", "red": "#e02f44", "yellow": "#e0b400", "text": "#24292e"}


def scaled(number, steps, decimals, space=" "):
    """The number in the largest of the steps (factor, name) that is not larger than it."""
    factor, name = next(((f, n) for f, n in steps if abs(number) >= f), steps[-1] if number else next(s for s in steps if s[0] <= 1))
    return digits(number / factor, decimals) + (space + name if name else "")


def digits(number, decimals):
    """Three digits that count, as Grafana has it, or so many decimals."""
    if decimals is None:
        decimals = 0 if number == int(number) else min(max(2 - math.floor(math.log10(abs(number))), 0), 8)
    return f"{number:.{decimals}f}"


SHORT = [(1e12, "Tri"), (1e9, "Bil"), (1e6, "Mil"), (1e3, "K"), (1, "")]
SECONDS = [(86400, "days"), (3600, "hours"), (60, "mins"), (1, "s"), (1e-3, "ms"), (1e-6, "µs")]
UNITS = {
    "none": lambda n, d: digits(n, d),
    "short": lambda n, d: scaled(n, [*SHORT, (1e-99, "")] if abs(n) < 1 else SHORT, d),
    "s": lambda n, d: scaled(n, SECONDS, d),
    "bytes": lambda n, d: scaled(n, [(2.0**30, "GiB"), (2.0**20, "MiB"), (2.0**10, "KiB"), (1, "B")], d),
    "Bps": lambda n, d: scaled(n, [(1e9, "GB/s"), (1e6, "MB/s"), (1e3, "kB/s"), (1, "B/s")], d),
    "percentunit": lambda n, d: digits(n * 100, d) + "%",
    "currencyUSD": lambda n, d: "$" + (scaled(n, [(1e6, "M"), (1e3, "K")], d, "") if abs(n) >= 1e3 else digits(n, d)),
    "reqps": lambda n, d: UNITS["count:req/s"](n, d),
}


def text(number, unit, decimals=None, mappings=()):
    for mapping in mappings:
        options = mapping["options"]
        if number != number and options.get("match") == "nan":
            return options["result"]["text"]
        if mapping["type"] == "value" and f"{number:g}" in options:
            return options[f"{number:g}"]["text"]
    if number is None or number != number:
        return "NaN"
    if unit.startswith("count:") or unit == "reqps":
        word = "req/s" if unit == "reqps" else unit.removeprefix("count:")
        step = next(((f, n) for f, n in [(1e9, "B"), (1e6, "M"), (1e3, "K")] if abs(number) >= f), (1, ""))
        return digits(number / step[0], decimals) + step[1] + " " + word
    if unit.startswith("suffix:"):
        return digits(number, decimals) + " " + unit.removeprefix("suffix:")
    return UNITS[unit](number, decimals)


def lines_of(panel, kept):
    """(name, times, values) of each series, in the order of the targets."""
    lines = []
    for target in panel["targets"]:
        series = kept["answers"][f"{panel['id']} {target['refId']}"]["range"]
        for one in sorted(series, key=lambda one: sorted(one["metric"].items())):
            name = re.sub(r"\{\{(\w+)\}\}", lambda label: one["metric"].get(label[1], ""), target["legendFormat"]) or panel["title"]
            # A time without a value is a gap in the line.
            values = {round((t - kept["since"]) / kept["step"]): float(v) for t, v in one["values"]}
            steps = range(min(values), max(values) + 1)
            times = [(kept["since"] + step * kept["step"]) / 86400 for step in steps]
            lines.append((name, times, [values.get(step, math.nan) for step in steps]))
    return lines


def properties(panel, name):
    found = dict(panel["fieldConfig"]["defaults"].get("custom", {}))
    for override in panel["fieldConfig"]["overrides"]:
        matcher = override["matcher"]
        if matcher["options"] == name if matcher["id"] == "byName" else re.search(matcher["options"].strip("/"), name):
            found |= {item["id"].removeprefix("custom."): item["value"] for item in override["properties"]}
    return found


def draw_stat(figure, box, panel, kept):
    defaults = panel["fieldConfig"]["defaults"]
    now = kept["answers"][f"{panel['id']} {panel['targets'][0]['refId']}"].get("instant")
    number = float(now[0]["value"][1]) if now else math.nan
    said = text(number, defaults["unit"], defaults.get("decimals"), defaults.get("mappings", ())) if now else defaults.get("noValue", "No data")
    color = next((step["color"] for step in reversed(defaults["thresholds"]["steps"]) if step["value"] is None or number >= step["value"]), "text")
    axes = figure.add_axes(box, frameon=False, xticks=[], yticks=[])
    axes.text(0.5, 0.5, said, ha="center", va="center", fontsize=26, color=COLORS[color], weight="bold")


def draw_heatmap(figure, box, panel, kept):
    rows = sorted((math.inf if name == "+Inf" else float(name), dict(zip(times, values))) for name, times, values in lines_of(panel, kept))
    times = sorted({time for _, row in rows for time in row})
    # Buckets are cumulative.
    cells = [[max(0.0, row.get(t, 0) - (rows[at - 1][1].get(t, 0) if at else 0)) for t in times] for at, (_, row) in enumerate(rows)]
    axes = figure.add_axes(inset(box, 0.1))
    masked = [[math.nan if cell < 1e-9 else cell for cell in row] for row in cells]
    axes.pcolormesh(times, range(len(rows)), masked, cmap="Oranges", norm=PowerNorm(0.5), shading="nearest")
    unit = panel["options"]["yAxis"]["unit"]
    axes.set_yticks(range(len(rows)), [text(bound, unit) if bound < math.inf else "+Inf" for bound, _ in rows], fontsize=7)
    clock(axes)


def clock(axes):
    axes.xaxis.set_major_formatter(dates.DateFormatter("%H:%M:%S"))
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.tick_params(labelsize=7)
    axes.grid(color="#e4e7eb", linewidth=0.6)
    for side in axes.spines.values():
        side.set_visible(False)


def inset(box, legend):
    left, bottom, width, height = box
    return [left + width * 0.13, bottom + height * legend, width * 0.85, height * (0.96 - legend)]


def draw_lines(figure, box, panel, kept, pixels):
    defaults, legend = panel["fieldConfig"]["defaults"], panel["options"]["legend"]
    unit, decimals = defaults["unit"], defaults.get("decimals")
    rows = []
    drawn = lines_of(panel, kept)
    room = 0.35 * pixels[1]
    below = min(room, LINE * (len(drawn) + 1)) if legend["placement"] == "bottom" else 0
    axes = figure.add_axes(inset(box, (below + 22) / pixels[1]))
    stack = {}
    for at, (name, times, values) in enumerate(drawn):
        own = properties(panel, name)
        plain = values
        bottom = [0.0] * len(times)
        if own.get("stacking", {}).get("mode") == "normal":
            bottom = [stack.get(t, 0.0) for t in times]
            values = [low + (value if value == value else 0) for low, value in zip(bottom, values)]
            stack |= dict(zip(times, values))
        fixed = own.get("color", {}).get("fixedColor")
        color = COLORS.get(fixed, fixed) or PALETTE[at % len(PALETTE)]
        dash = own.get("lineStyle", {}).get("fill") == "dash"
        axes.plot(times, values, color=color, linewidth=1.3, linestyle="--" if dash else "-")
        if own.get("fillOpacity") and not dash:
            axes.fill_between(times, bottom, values, color=color, alpha=own["fillOpacity"] / 100)
        known = [value for value in plain if value == value]
        figures = {"lastNotNull": known[-1] if known else math.nan, "max": max(known, default=math.nan)}
        rows.append((name, color, [figures[calc] for calc in legend["calcs"]]))
    low, high = axes.get_ylim()
    if defaults["custom"].get("thresholdsStyle", {}).get("mode") == "dashed":
        for step in defaults["thresholds"]["steps"][1:]:
            axes.axhline(step["value"], color=COLORS[step["color"]], linestyle="--", linewidth=1)
    custom = defaults["custom"]
    low, high = min(low, custom.get("axisSoftMin", low)), max(high, custom.get("axisSoftMax", high))
    axes.set_ylim(defaults.get("min", low), defaults.get("max", high if high > 0 else 1))
    axes.yaxis.set_major_locator(MaxNLocator(5, integer=decimals == 0))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda number, _: text(round(number, 12), unit, decimals)))
    clock(axes)
    if legend.get("sortBy"):
        column = ["Last *", "Max"].index(legend["sortBy"])
        rows.sort(key=lambda row: -row[2][column] if row[2][column] == row[2][column] else math.inf)
    shown = max(1, int(room / LINE) - 1)
    canvas = figure.add_axes([box[0], box[1], box[2], below / pixels[1] * box[3]] if below else box, frameon=False, xticks=[], yticks=[])
    canvas.set_xlim(0, 1)
    canvas.set_ylim(max(below, 1), 0)
    heads = {"lastNotNull": "Last *", "max": "Max"}
    hidden = len(rows) - shown
    for column, calc in enumerate(legend["calcs"]):
        canvas.text(0.8 + 0.19 * column, LINE * 0.6, heads[calc], fontsize=7, ha="right", va="center", color="#5794f2")
    if hidden > 0:
        canvas.text(0.02, LINE * 0.6, f"(scroll for {hidden} more)", fontsize=7, va="center", color="red")
    for at, (name, color, values) in enumerate(rows[:shown]):
        y = LINE * (at + 1.6)
        canvas.plot([0.02, 0.045], [y, y], color=color, linewidth=3)
        canvas.text(0.055, y, name, fontsize=7.5, va="center", clip_on=True)
        for column, value in enumerate(values):
            canvas.text(0.8 + 0.19 * column, y, text(value, unit, decimals), fontsize=7.5, ha="right", va="center")


def main():
    out = pathlib.Path(sys.argv[1])
    kept = json.loads((out / "answers.json").read_text())
    dashboard = json.loads((ROOT / "deploy/grafana/dashboard.json").read_text())
    rows = [panel for panel in dashboard["panels"] if panel["type"] == "row"]
    warnings.simplefilter("ignore")
    for number, row in enumerate(rows):
        top = row["gridPos"]["y"]
        end = rows[number + 1]["gridPos"]["y"] if number + 1 < len(rows) else math.inf
        panels = [panel for panel in dashboard["panels"] if panel["type"] != "row" and top < panel["gridPos"]["y"] < end]
        units = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in panels) - top
        height = units * (UNIT + GAP)
        figure = plt.figure(figsize=(WIDTH / 100, height / 100), dpi=100, facecolor="#f4f5f5")
        figure.text(0.006, 1 - 20 / height, row["title"], fontsize=12, va="center")
        for panel in panels:
            grid = panel["gridPos"]
            x, y = grid["x"] * WIDTH / 24 + GAP / 2, (grid["y"] - top) * (UNIT + GAP)
            w, h = grid["w"] * WIDTH / 24 - GAP, grid["h"] * (UNIT + GAP) - GAP
            box = [x / WIDTH, 1 - (y + h) / height, w / WIDTH, h / height]
            figure.add_axes(box, facecolor="white", xticks=[], yticks=[]).spines[:].set_color("#dcdde0")
            figure.text(box[0] + 0.006, box[1] + box[3] - 14 / height, panel["title"], fontsize=9, weight="bold", va="center")
            inner = [box[0] + 0.003, box[1] + 4 / height, box[2] - 0.006, box[3] - 32 / height]
            draw = {"stat": draw_stat, "heatmap": draw_heatmap}.get(panel["type"])
            if draw:
                draw(figure, inner, panel, kept)
            else:
                draw_lines(figure, inner, panel, kept, (inner[2] * WIDTH, inner[3] * height))
        figure.savefig(out / f"{number + 1}-{row['title'].lower()}.png")
        plt.close(figure)


if __name__ == "__main__":
    main()
