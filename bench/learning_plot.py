#!/usr/bin/python3
"""Draws build/bench/learning.tsv, which bench/learning.sh writes, as docs/learning.png. Needs python3-matplotlib.

usage: bench/learning_plot.py [TABLE [PICTURE]]
Prints the table in Markdown, too: of several runs of a mode the last one counts.
"""
import sys

import matplotlib

matplotlib.use('Agg')
import matplotlib.pyplot as plt

table = sys.argv[1] if len(sys.argv) > 1 else 'build/bench/learning.tsv'
picture = sys.argv[2] if len(sys.argv) > 2 else 'docs/learning.png'

modes = {}
for line in open(table):
    mode, images, exchanges, size, seconds, swd = line.rstrip('\n').split('\t')
    points = modes.setdefault(mode, [])
    point = (int(images), int(exchanges), float(size) / 1e6, float(seconds), float(swd))
    if points and point[0] <= points[-1][0]:
        points.clear()  # a later run
    points.append(point)

print('| mode | images | exchanges | MB on the wire | seconds | SWD |\n|---|---|---|---|---|---|')
for mode, points in modes.items():
    for images, exchanges, size, seconds, swd in points:
        print(f'| `{mode}` | {images:,} | {exchanges} | {size:,.0f} | {seconds:.0f} | {swd:.0f} |')

styles = ['o-', 's--', '^-.', 'v:', 'D-', 'P--', 'X-.', '*:', 'h-', 'p--', '<-.', '>:']
figure, axes = plt.subplots(1, 3, figsize=(13, 4.2), sharey=True)
for axis, column, label in zip(axes, (0, 1, 2), ('images seen', 'exchanges with the server', 'MB on the wire')):
    for (mode, points), style in zip(modes.items(), styles):
        axis.plot([p[column] for p in points], [p[4] for p in points], style, label=mode, markersize=5)
    axis.set_xlabel(label)
    axis.grid(alpha=0.3)
axes[1].set_xscale('log')
axes[2].set_xscale('log')
axes[0].set_ylabel('SWD x 1000 (lower is better)')
figure.legend(*axes[0].get_legend_handles_labels(), loc='upper center', ncol=6, fontsize=8, frameon=False)
figure.tight_layout(rect=(0, 0, 1, 0.9))
figure.savefig(picture, dpi=90)
