#!/usr/bin/env python3
"""Computes a summary of images and the distance of two, from docs/format.md (section 11) alone, with numpy and Pillow.

    swd.py summary SEED SIZE CHANNELS IMAGES DATASET SUMMARY     the sample of IMAGES images of DATASET against the blob in SUMMARY
    swd.py distance SEED SIZE CHANNELS IMAGES SHEET SUMMARY      prints the distances, by level, of the images on a PNG sheet to that blob

Exit status 1 if a number of the summary is off by more than TOLERANCE.
"""

import sys

import numpy as np
from PIL import Image

from recompute import normals, open_dataset, permute, philox, prepared_image, read_blob

TOLERANCE = 1e-3
PATCH, PATCHES, DIRECTIONS, QUANTILES = 7, 64, 128, 256
KERNEL = np.array([1, 4, 6, 4, 1]) / 16


def blur(x):
    """Images [N][row][column][channel], mirrored about their outermost pixels."""
    for axis in (1, 2):
        pad = [(2, 2) if a == axis else (0, 0) for a in range(4)]
        y = np.pad(x, pad, 'reflect')
        x = sum(k * np.take(y, range(i, i + x.shape[axis]), axis) for i, k in enumerate(KERNEL))
    return x


def pyramid(images):
    levels = []
    while images.shape[1] > 16:
        half = blur(images)[:, ::2, ::2]
        spread = np.zeros_like(images)
        spread[:, ::2, ::2] = 4 * half
        levels.append(images - blur(spread))
        images = half
    return levels + [images]


def patches(images, seed, level):
    n, size, _, channels = images.shape
    out = np.empty((n, PATCHES, PATCH, PATCH, channels))
    for i in range(n):
        w0, w1, _, _ = philox(np.arange(PATCHES), i, level, 6, seed)
        rows, columns = ((w * np.uint64(size - PATCH + 1) >> np.uint64(32)).astype(int) for w in (w0, w1))
        for p in range(PATCHES):
            out[i, p] = images[i, rows[p]:rows[p] + PATCH, columns[p]:columns[p] + PATCH]
    out = (out - out.mean((0, 1, 2, 3))) / out.std((0, 1, 2, 3))
    return out.reshape(n * PATCHES, -1)


def summary(images, seed):
    result = []
    for level, at in enumerate(pyramid(images.astype(np.float64))):
        x = patches(at, seed, level)
        directions = normals(DIRECTIONS * x.shape[1], seed, level, 0, 5).reshape(DIRECTIONS, -1)
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        ordered = np.sort(x @ directions.T, axis=0)
        edges = [q * len(x) // QUANTILES for q in range(QUANTILES + 1)]
        result.append([[ordered[a:max(b, a + 1), k].mean() for a, b in zip(edges, edges[1:])] for k in range(DIRECTIONS)])
    return np.array(result)


def tiles(path, size, channels, count):
    sheet = np.asarray(Image.open(path).convert('L' if channels == 1 else 'RGB'))
    sheet = sheet.reshape(sheet.shape[0], sheet.shape[1], channels)
    across = sheet.shape[1] // size
    return np.stack([sheet[i // across * size:][:size, i % across * size:][:, :size] for i in range(count)])


def main():
    what, seed, size, channels, count, images, blob = sys.argv[1], *map(int, sys.argv[2:6]), *sys.argv[6:8]
    levels = {32: 2, 64: 3, 128: 4}[size]
    stored = np.array(read_blob(blob, levels * DIRECTIONS * QUANTILES), np.float64).reshape(levels, DIRECTIONS, QUANTILES)
    if what == 'distance':
        off = np.abs(summary(tiles(images, size, channels, count), seed) - stored).mean((1, 2))
        print(' '.join(f'{1000 * d:.4f}' for d in off))
        return 0
    dataset = open_dataset(images)
    sample = np.stack([prepared_image(dataset, permute(seed, 2**32 - 1, len(dataset), k), size, channels) for k in range(count)])
    off = np.abs(summary(np.rint((sample + 1) * 127.5), seed) - stored).max()
    print(f'the largest difference is {off:.2g}')
    return 0 if off <= TOLERANCE else 1


if __name__ == '__main__':
    sys.exit(main())
