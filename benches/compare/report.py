"""Figures into a table, a chart and the file that keeps them."""
import html, json, os, statistics, time

KEEP = "compare.json"
COLOURS = {"ringway": "#1b7f5c", "ovs": "#8a8f98", "testpmd": "#d9b44a"}


def summary(rates, smaller_is_better=False):
    medians = {name: statistics.median(r) for name, r in rates.items() if r}
    pairs = zip(rates["ringway"], rates["ovs"])
    ratios = sorted((b / a if smaller_is_better else a / b) for a, b in pairs if a > 0 and b > 0)
    if not ratios:
        return {"rates": rates, "medians": medians, "ratio": None, "quartiles": None}
    quartiles = statistics.quantiles(ratios, n=4, method="inclusive") if len(ratios) > 1 else ratios * 3
    return {"rates": rates, "medians": medians, "ratio": statistics.median(ratios), "quartiles": quartiles}


def load(directory):
    """What earlier runs left: cells, and those that failed."""
    try:
        with open(f"{directory}/{KEEP}") as f:
            kept = json.load(f)
        return kept.get("cells", {}), kept.get("left_out", {})
    except (OSError, ValueError):
        return {}, {}


def save(directory, about, order, cells, left_out):
    """Writes all three, each at once: a reader never sees half of one."""
    cells = dict(sorted(cells.items(), key=lambda c: order.index(c[0]) if c[0] in order else len(order)))
    kept = {"machine": about, "cells": cells, "left_out": left_out}
    os.makedirs(directory, exist_ok=True)
    for name, text in ((KEEP, json.dumps(kept, indent=1) + "\n"), ("compare.md", markdown(about, cells, left_out)),
                       ("compare.svg", svg(cells))):
        path = f"{directory}/{name}"
        with open(f"{path}.new", "w") as f:
            f.write(text)
        os.rename(f"{path}.new", path)


def figure(value):
    return "-" if value is None else f"{value:.0f}" if value >= 500 else f"{value:.1f}" if value >= 100 else f"{value:.3f}"


def reach(cell):
    wanted = cell.get("reach")
    if wanted is None:
        return "-"
    return f"<= {wanted}" if wanted > 100 else f"{wanted}"


def line(name, cell):
    """One row of the table."""
    m, q = cell["medians"], cell["quartiles"]
    ratio = "-" if cell["ratio"] is None else f"**{cell['ratio']:.2f}**"
    spread = "-" if not q or len(cell["rates"]["ringway"]) < 2 else f"{q[0]:.2f}..{q[2]:.2f}"
    return (f"| {name} | {cell.get('unit', 'Mpps')} | {figure(m['ringway'])} | {figure(m['ovs'])} | {cell.get('setting') or '-'} "
            f"| {ratio} | {spread} | {reach(cell)} | {figure(m.get('testpmd'))} | {cell.get('others', '?')} % "
            f"| {cell.get('commit', '?')}, {cell.get('date', '?')} |")


def markdown(about, cells, left_out):
    lines = ["# Ringway beside its peers", "",
             f"{about['cores']} x {about['cpu']}, {about.get('memory', '?')}, Linux {about['kernel']}; {about['ovs']}.",
             "One packet thread on core 1, 60-octet frames (64 with FCS). Medians of interleaved turns; the ratio is the median",
             "of neighbouring turns' ratios (for bytes: the peer's over ours), with quartiles; reach is what is aimed at. Open",
             "vSwitch runs with the caches that the column names: the best of emc, smc, none in this very run, where more than",
             "one was tried. Others: what other programs used meanwhile, in per cent of one core.", "",
             "| workload | unit | Ringway | Open vSwitch | caches | ratio | quartiles | reach | testpmd | others | commit, when |",
             "|---|---|---:|---:|---|---:|---:|---:|---:|---:|---|"]
    lines += [line(name, cell) for name, cell in cells.items()]
    notes = [f"{name}: {note}" for name, cell in cells.items() for note in cell.get("notes", [])]
    lines += [""] + [f"- {n}" for n in notes] + [f"- Left out: {name}: {why}" for name, why in left_out.items()]
    return "\n".join(lines).rstrip() + "\n"


def svg(cells):
    """Bars of each contestant's figure, relative to Open vSwitch's, by workload."""
    cells = {n: c for n, c in cells.items() if c["medians"].get("ovs")}
    row, bar, left, width = 62, 15, 215, 520
    most = max([m / c["medians"]["ovs"] for c in cells.values() for m in c["medians"].values()] + [1])
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + width + 130}" height="{40 + row * len(cells)}" '
           'font-family="sans-serif" font-size="12">', '<rect width="100%" height="100%" fill="white"/>',
           f'<text x="{left}" y="18">relative to Open vSwitch (figures at the bars)</text>']
    for i, (name, c) in enumerate(cells.items()):
        y, unit = 32 + i * row, c.get("unit", "Mpps")
        label = name + (" (less is better)" if c.get("smaller_is_better") else "")
        out.append(f'<text x="{left - 8}" y="{y + 26}" text-anchor="end">{html.escape(label)}</text>')
        for k, (who, rate) in enumerate(c["medians"].items()):
            w = width * rate / c["medians"]["ovs"] / most
            out.append(f'<rect x="{left}" y="{y + k * (bar + 2)}" width="{w:.1f}" height="{bar}" fill="{COLOURS[who]}"/>')
            out.append(f'<text x="{left + w + 5:.1f}" y="{y + k * (bar + 2) + 12}">{who} {figure(rate)} {unit}</text>')
    x = left + width / most
    out.append(f'<line x1="{x:.1f}" y1="26" x2="{x:.1f}" y2="{32 + row * len(cells)}" stroke="#444" stroke-dasharray="3 3"/>')
    return "\n".join(out + ["</svg>"]) + "\n"


def stamp(commit):
    return {"commit": commit, "date": time.strftime("%Y-%m-%d %H:%M")}
