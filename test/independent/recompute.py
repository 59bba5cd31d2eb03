#!/usr/bin/env python3
"""Recomputes a stored work unit from docs/format.md alone, with numpy and Pillow.

    recompute.py FOLDER DATASET            check the unit in FOLDER against the images in DATASET
    recompute.py --selftest FIXTURES       check this program against PyTorch's results (make_unit_fixture.py) and vectors

FOLDER holds unit.json (with local_steps above 0: the gradient is a change), weights_0.blob ... weights_{S-1}.blob, gradient_0.blob ... gradient_S.blob (the last one holds the
batch-norm statistics). DATASET is a zip archive, a folder, or an IDX file, gzipped or not. Everything is computed in
double precision; exit status 1 if any stored tensor or number differs by more than TOLERANCE, relatively.
"""

import gzip
import hashlib
import io
import json
import os
import struct
import sys
import zipfile
import zlib

import numpy as np
from PIL import Image

TOLERANCE = 1e-4
SHARD = 262144
BN_EPSILON = 1e-5
MASK32 = np.uint64(0xFFFFFFFF)


class Wrong(Exception):
    """The unit does not say what format.md says; the message is for the reader."""


# ---- sections 1 and 2: random numbers, order of the images -----------------------------------------------------------

def philox(c0, c1, c2, c3, seed):
    """Philox4x32-10 over arrays of counters; every word is held in a uint64."""
    c0, c1, c2, c3 = np.broadcast_arrays(*(np.asarray(c, np.uint64) & MASK32 for c in (c0, c1, c2, c3)))
    seed &= 2**64 - 1  # two's complement
    k0, k1 = seed & 0xFFFFFFFF, seed >> 32
    shift = np.uint64(32)
    for _ in range(10):
        p0, p1 = np.uint64(0xD2511F53) * c0, np.uint64(0xCD9E8D57) * c2
        c0, c1, c2, c3 = ((p1 >> shift) ^ c1 ^ np.uint64(k0), p1 & MASK32,
                          (p0 >> shift) ^ c3 ^ np.uint64(k1), p0 & MASK32)
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return c0, c1, c2, c3


def normals(count, seed, c1, c2, stream):
    """The first `count` deviates of a stream, in double precision."""
    w0, w1, w2, w3 = (w.astype(np.float64) for w in philox(np.arange((count + 3) // 4), c1, c2, stream, seed))
    r01, r23 = (np.sqrt(-2 * np.log((w + 1) / 2**32)) for w in (w0, w2))
    a01, a23 = (2 * np.pi * (w / 2**32) for w in (w1, w3))
    n = np.stack([r01 * np.cos(a01), r01 * np.sin(a01), r23 * np.cos(a23), r23 * np.sin(a23)], axis=-1)
    return n.ravel()[:count]


def latent(seed, iteration, first, count, size):
    rows = [normals(size, seed, (first + i) % 2**32, iteration % 2**32, 1) for i in range(count)]
    return np.array(rows).astype(np.float32).astype(np.float64)


def permute(seed, epoch, n, x):
    h = max(1, ((n - 1).bit_length() + 1) // 2)
    mask = (1 << h) - 1
    while True:
        left, right = x >> h, x & mask
        for r in range(6):
            left, right = right, left ^ (int(philox(right, r, epoch % 2**32, 3, seed)[0]) & mask)
        x = (left << h) + right
        if x < n:
            return x


# ---- section 3: the dataset ------------------------------------------------------------------------------------------

STRAY_FOLDERS = {b"__macosx", b"@eadir", b"@__thumb", b"@recycle", b"#recycle", b"$recycle.bin"}


def is_image_name(name):
    return name.lower().endswith((b".jpg", b".jpeg", b".png"))


def parts(path):
    return path.replace(b"\\", b"/").split(b"/")


def is_stray(path, dotted_folders):
    *folders, own = parts(path)
    hidden = [own] + ([] if dotted_folders else [f for f in folders if f not in (b".", b"..")])
    return any(p.startswith(b".") for p in hidden) or any(f.lower() in STRAY_FOLDERS for f in folders)


def images_of(files):
    """Of [(path, anything)] those that are images, in their order."""
    files = [f for f in files if is_image_name(f[0])]
    chosen = [f for f in files if not is_stray(f[0], False)] or [f for f in files if not is_stray(f[0], True)]
    return sorted(chosen, key=lambda f: f[0].replace(b"\\", b"/"))


class ZipFile:
    def __init__(self, path):
        self.archive = zipfile.ZipFile(path)
        # Python decodes names; the order is that of the bytes in the archive (bit 11: they are UTF-8).
        self.entries = images_of([(info.orig_filename.encode("utf-8" if info.flag_bits & 0x800 else "cp437"), info)
                                  for info in self.archive.infolist()])

    def __len__(self):
        return len(self.entries)

    def name(self, i):
        return parts(self.entries[i][0])[-1]

    def sums(self, i):
        return self.entries[i][1].file_size, self.entries[i][1].CRC

    def open(self, i):
        return decode(self.archive.read(self.entries[i][1]))  # which compares the CRC


class Folder:
    def __init__(self, path):
        self.path = os.fsencode(path)
        files = [(os.path.relpath(file, self.path), None) for file in self.walk(self.path, ())]
        self.names = [path for path, _ in images_of([f for f in files if b"/" not in f[0]]) or images_of(files)]

    def walk(self, folder, above):
        """All files, without the folders that a link has in themselves."""
        above += (os.path.realpath(folder),)
        for entry in os.scandir(folder):
            if entry.is_file():
                yield entry.path
            elif entry.is_dir() and os.path.realpath(entry.path) not in above:
                yield from self.walk(entry.path, above)

    def __len__(self):
        return len(self.names)

    def name(self, i):
        return parts(self.names[i])[-1]

    def data(self, i):
        with open(os.path.join(self.path, self.names[i]), "rb") as file:
            return file.read()

    def sums(self, i):
        return len(self.data(i)), zlib.crc32(self.data(i))

    def open(self, i):
        return decode(self.data(i))


class Idx:
    def __init__(self, raw):
        magic, count, self.height, self.width = struct.unpack(">IIII", raw[:16])  # an IDX header is big-endian
        if magic != 0x803 or len(raw) != 16 + count * self.height * self.width:
            raise Wrong("the dataset is not an idx3-ubyte file of the length its header gives")
        self.count, self.pixels = count, raw[16:]

    def __len__(self):
        return self.count

    def name(self, i):
        return str(i).encode()

    def data(self, i):
        size = self.height * self.width
        return self.pixels[i * size:(i + 1) * size]

    def sums(self, i):
        return len(self.data(i)), zlib.crc32(self.data(i))

    def open(self, i):
        return Image.frombytes("L", (self.width, self.height), self.data(i))


def open_dataset(path):
    if os.path.isdir(path):
        return Folder(path)
    if zipfile.is_zipfile(path):
        return ZipFile(path)
    with open(path, "rb") as file:
        raw = file.read()
    return Idx(gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw)


def digest(dataset):
    sha = hashlib.sha256()
    for i in range(len(dataset)):
        sha.update(dataset.name(i) + b"\0" + struct.pack("<QI", *dataset.sums(i)))
    return sha.hexdigest()


def decode(data):
    """A grey ("L") or colour ("RGB") image, 8 bits a sample, without alpha."""
    image = Image.open(io.BytesIO(data), formats=("JPEG", "PNG"))
    image.load()
    if image.mode.startswith("I"):  # a grey PNG of 16 bits: Pillow would clip, so keep the upper byte
        return Image.fromarray((np.asarray(image).astype(np.uint32) >> 8).astype(np.uint8))
    if image.mode in ("1", "L", "LA"):
        return image.convert("L")
    return image.convert("RGBA").convert("RGB") if image.mode == "P" else image.convert("RGB")


def prepare(image, size, channels):
    """Steps 2 to 5 of "From image to numbers"; Pillow's own conversion to grey is the formula of step 2."""
    image = image.convert("L" if channels == 1 else "RGB")
    width, height = image.size
    shorter, longer = min(width, height), max(width, height)
    other = size * longer // shorter
    image = image.resize((size, other) if width <= height else (other, size), Image.BILINEAR)
    left, upper = round((image.width - size) / 2), round((image.height - size) / 2)  # Python rounds halves to even
    image = image.crop((left, upper, left + size, upper + size))
    b = np.asarray(image, np.float32).reshape(size, size, channels)
    return b / np.float32(127.5) - np.float32(1)


def prepared_image(dataset, number, size, channels):
    for step in range(len(dataset)):
        i = (number + step) % len(dataset)
        try:
            image = dataset.open(i)
        except Exception as error:  # Pillow has many ways to refuse a file
            print(f"image {i} ({os.fsdecode(dataset.name(i))}) can't be decoded, the next one takes its place: {error}")
            continue
        return prepare(image, size, channels)
    raise Wrong("no image of the dataset can be decoded")


def unit_images(unit, dataset):
    n, first = len(dataset), unit["first_position"]
    numbers = [permute(unit["seed"], p // n, n, p % n) for p in range(first, first + unit["images"])]
    return np.stack([prepared_image(dataset, i, unit["image_size"], unit["channels"]) for i in numbers]).astype(np.float64)


# ---- section 4: layers, forward and backward -------------------------------------------------------------------------

def padded(x, p):
    return np.pad(x, ((0, 0), (p, p), (p, p), (0, 0)))


def columns(x, s, p, size):
    """im2col: [image, i, j] rows of the 4x4 patches of the larger image under y[i][j] (size x size of them)."""
    x = padded(x, p)
    reach = s * (size - 1) + 1
    patches = [x[:, ky:ky + reach:s, kx:kx + reach:s, :] for ky in range(4) for kx in range(4)]
    return np.stack(patches, axis=3).reshape(len(x) * size * size, -1)


def conv(x, w, s, p):
    b = w.shape[0]
    size = (x.shape[1] + 2 * p - 4) // s + 1
    return (columns(x, s, p, size) @ w.reshape(b, -1).T).reshape(len(x), size, size, b)


def conv_transposed(y, w, s, p):
    """The adjoint of conv: forward of a transposed convolution, and a convolution's gradient for its input."""
    count, size, _, b = y.shape
    a = w.shape[3]
    patches = (y.reshape(-1, b) @ w.reshape(b, -1)).reshape(count, size, size, 4, 4, a)
    reach, large = s * (size - 1) + 1, s * (size - 1) + 4
    x = np.zeros((count, large, large, a))
    for ky in range(4):
        for kx in range(4):
            x[:, ky:ky + reach:s, kx:kx + reach:s, :] += patches[:, :, :, ky, kx, :]
    return x[:, p:large - p, p:large - p, :]


def weight_gradient(x, y, s, p):
    """Of either kind: y the smaller, x the larger image; one of them is the input, the other the output's gradient."""
    a, b = x.shape[3], y.shape[3]
    return (y.reshape(-1, b).T @ columns(x, s, p, y.shape[1])).reshape(b, 4, 4, a)


def norm_forward(x, scale, shift):
    mean, variance = x.mean(axis=(0, 1, 2)), x.var(axis=(0, 1, 2))
    inverse = 1 / np.sqrt(variance + BN_EPSILON)
    normal = (x - mean) * inverse
    return scale * normal + shift, (normal, inverse, mean, variance)


def norm_backward(dy, scale, cache):
    normal, inverse = cache[:2]
    d_scale, d_shift = (dy * normal).sum(axis=(0, 1, 2)), dy.sum(axis=(0, 1, 2))
    count = dy.size // dy.shape[3]
    dx = scale * inverse * (dy - d_shift / count - normal * (d_scale / count))
    return dx, d_scale, d_shift


class Layer:
    def __init__(self, label, small, large, norm_channels, stride):
        self.label, self.shape, self.norm_channels, self.stride = label, (small, 4, 4, large), norm_channels, stride
        self.padding = 1 if stride == 2 else 0

    def parts(self):
        """(name, shape) of what this layer adds to the vector of parameters."""
        yield f"{self.label} weight", self.shape
        if self.norm_channels:
            yield f"{self.label} scale", (self.norm_channels,)
            yield f"{self.label} shift", (self.norm_channels,)


def build(unit):
    n = (unit["image_size"] // 4).bit_length() - 1
    f, e, c = unit["generator_features"], unit["discriminator_features"], unit["channels"]
    g = [Layer("generator 0", unit["latent"], f << (n - 1), f << (n - 1), 1)]
    g += [Layer(f"generator {i}", f << (n - i), f << (n - 1 - i), f << (n - 1 - i), 2) for i in range(1, n)]
    g.append(Layer(f"generator {n}", f, c, 0, 2))
    d = [Layer("discriminator 0", e, c, 0, 2)]
    d += [Layer(f"discriminator {i}", e << i, e << (i - 1), e << i, 2) for i in range(1, n)]
    d.append(Layer(f"discriminator {n}", 1, e << (n - 1), 0, 1))
    return g, d


def split(flat, layers):
    """[[weight, scale, shift] or [weight]] per layer."""
    result, at = [], 0
    for layer in layers:
        result.append([])
        for _, shape in layer.parts():
            result[-1].append(flat[at:at + np.prod(shape)].reshape(shape))
            at += np.prod(shape)
    if at != len(flat):
        raise Wrong(f"{len(flat)} parameters are stored, the networks have {at}")
    return result


def generator_forward(layers, parameters, z):
    x, tape = z.reshape(len(z), 1, 1, -1), []
    for layer, (w, *norm) in zip(layers, parameters):
        y, cache = conv_transposed(x, w, layer.stride, layer.padding), None
        if norm:
            y, cache = norm_forward(y, *norm)
            y = np.maximum(y, 0)
        else:
            y = np.tanh(y)
        tape.append((x, y, cache))
        x = y
    return x, tape


def generator_backward(layers, parameters, tape, dy):
    gradients = []
    for layer, (w, *norm), (x, y, cache) in reversed(list(zip(layers, parameters, tape))):
        extra = []
        if norm:
            dy, *extra = norm_backward(dy * (y > 0), norm[0], cache)
        else:
            dy = dy * (1 - y * y)
        gradients.append([weight_gradient(dy, x, layer.stride, layer.padding)] + extra)
        dy = conv(dy, w, layer.stride, layer.padding)
    return gradients[::-1]


def discriminator_forward(layers, parameters, x):
    tape = []
    for i, (layer, (w, *norm)) in enumerate(zip(layers, parameters)):
        y, cache = conv(x, w, layer.stride, layer.padding), None
        if norm:
            y, cache = norm_forward(y, *norm)
        slope = 1.0 if i == len(layers) - 1 else np.where(y > 0, 1.0, 0.2)
        y = y * slope
        tape.append((x, slope, cache))
        x = y
    return x.reshape(-1), tape


def discriminator_backward(layers, parameters, tape, d_logits, want_weights):
    """The gradients of the parameters, or (want_weights false) that of the input image."""
    dy, gradients = d_logits.reshape(-1, 1, 1, 1), []
    for i in reversed(range(len(layers))):
        layer, (w, *norm), (x, slope, cache) = layers[i], parameters[i], tape[i]
        dy, extra = dy * slope, []
        if norm:
            dy, *extra = norm_backward(dy, norm[0], cache)
        if want_weights:
            gradients.append([weight_gradient(x, dy, layer.stride, layer.padding)] + extra)
        if i > 0 or not want_weights:
            dy = conv_transposed(dy, w, layer.stride, layer.padding)
    return gradients[::-1] if want_weights else dy


# ---- section 6: a work unit ------------------------------------------------------------------------------------------

def softplus(x):
    return np.logaddexp(0, x)


def sigmoid(x):
    return 0.5 * (1 + np.tanh(0.5 * x))


def flat(gradients):
    return np.concatenate([part.ravel() for layer in gradients for part in layer])


def moments(tape):
    return [(cache[2], cache[3]) for *_, cache in tape if cache]


def minibatch(layers, parameters, real, z, between=lambda gradient_d: None):
    """Both gradients; between may step the discriminator and return its new parameters, which G learns from."""
    (g, d), (of_g, of_d), count = layers, parameters, len(real)
    fake, tape_g = generator_forward(g, of_g, z)
    l_real, tape_real = discriminator_forward(d, of_d, real)
    l_fake, tape_fake = discriminator_forward(d, of_d, fake)
    l_new, tape_new = l_fake, tape_fake
    gradient_d = (flat(discriminator_backward(d, of_d, tape_real, -sigmoid(-l_real) / count, True))
                  + flat(discriminator_backward(d, of_d, tape_fake, sigmoid(l_fake) / count, True)))
    new_d = between(gradient_d)
    if new_d is not None:
        of_d = new_d
        l_new, tape_new = discriminator_forward(d, of_d, fake)
    d_fake = discriminator_backward(d, of_d, tape_new, -sigmoid(-l_new) / count, False)
    gradient_g = flat(generator_backward(g, of_g, tape_g, d_fake))
    losses = [softplus(-l_real).mean() + softplus(l_fake).mean(), softplus(-l_new).mean(),
              (l_real > 0).mean(), (l_fake < 0).mean()]
    # In single precision a logit this near to 0 may fall on the other side: by so much an accuracy may differ.
    doubt = [(np.abs(l) < 1e-4).mean() for l in (l_real, l_fake)]
    return (np.concatenate([gradient_g, gradient_d]), np.array(losses + doubt),
            moments(tape_g), moments(tape_real), moments(tape_fake))


def merge(weighted):
    mean = sum(w * m for w, m, _ in weighted)
    return [mean, sum(w * (v + (m - mean) ** 2) for w, m, v in weighted)]


def compute(unit, weights, images, noise):
    """Gradient, statistics, [loss_d, loss_g, accuracy_real, accuracy_fake, doubt about either accuracy]."""
    g, d = layers = build(unit)
    both = split(weights.astype(np.float64), g + d)
    parameters = both[:len(g)], both[len(g):]
    gradient, losses, of_g, of_d = 0.0, 0.0, [], []
    for first in range(0, len(images), unit["batch"]):
        part = slice(first, min(first + unit["batch"], len(images)))
        w = (part.stop - part.start) / len(images)
        a, l, m_g, m_real, m_fake = minibatch(layers, parameters, images[part], noise[part])
        gradient, losses = gradient + w * a, losses + w * l
        of_g.append([(w, m, v) for m, v in m_g])
        of_d += [[(w / 2, m, v) for m, v in both_halves] for both_halves in (m_real, m_fake)]
    statistics = [merge(x) for x in zip(*of_g)] + [merge(x) for x in zip(*of_d)]
    return gradient, flat(statistics), losses


# ---- section 9: local steps ------------------------------------------------------------------------------------------

class Adam:
    """Adam of section 7 on one network, with moments of 0 at first."""

    def __init__(self, unit, rate):
        self.rate, self.beta1, self.beta2, self.epsilon = rate, unit["beta1"], unit["beta2"], unit["epsilon"]
        self.m = self.v = 0.0

    def step(self, w, g, t):
        self.m = self.beta1 * self.m + (1 - self.beta1) * g
        self.v = self.beta2 * self.v + (1 - self.beta2) * g * g
        return w - (self.rate / (1 - self.beta1**t)) * self.m / (np.sqrt(self.v) / np.sqrt(1 - self.beta2**t) + self.epsilon)


def schedule_factor(unit):
    i, w, target = unit["iteration"], unit["warmup_iterations"], unit["target_iterations"]
    if i < w:
        return (i + 1) / w
    return (target - i) / (target - w) if unit["learning_rate_schedule"] == "linear" else 1.0


def compute_local(unit, weights, images, noise):
    """As compute, for a unit of local steps: the change of the weights in place of the gradient."""
    g, d = layers = build(unit)
    cut = sum(int(np.prod(shape)) for layer in g for _, shape in layer.parts())
    w_g, w_d = weights[:cut].astype(np.float64), weights[cut:].astype(np.float64)
    factor, q = schedule_factor(unit), unit["norm_momentum"]
    adam_g, adam_d = (Adam(unit, factor * unit[f"{name}_learning_rate"]) for name in ("generator", "discriminator"))
    starts = range(0, len(images), unit["batch"])
    shares = [q * (1 - q)**(len(starts) - 1 - j) / (1 - (1 - q)**len(starts)) for j in range(len(starts))]
    losses, of_g, of_d = 0.0, [], []

    for j, (first, w) in enumerate(zip(starts, shares)):
        part = slice(first, min(first + unit["batch"], len(images)))
        new_d = []

        def step_d(gradient):
            new_d.append(adam_d.step(w_d, gradient, j + 1))
            return split(new_d[0], d)

        gradient, l, m_g, m_real, m_fake = minibatch(layers, (split(w_g, g), split(w_d, d)), images[part], noise[part], step_d)
        w_g, w_d = adam_g.step(w_g, gradient[:cut], j + 1), new_d[0]
        losses = losses + (part.stop - part.start) / len(images) * l
        of_g.append([(w, m, v) for m, v in m_g])
        of_d += [[(w / 2, m, v) for m, v in both_halves] for both_halves in (m_real, m_fake)]
    statistics = [merge(x) for x in zip(*of_g)] + [merge(x) for x in zip(*of_d)]
    return np.concatenate([w_g, w_d]) - weights.astype(np.float64), flat(statistics), losses


# ---- section 8: blobs ------------------------------------------------------------------------------------------------

def crc32c_table():
    table = []
    for i in range(256):
        for _ in range(8):
            i = (i >> 1) ^ (0x82F63B78 if i & 1 else 0)
        table.append(i)
    return table


CRC_TABLE = crc32c_table()


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = CRC_TABLE[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF


def read_blob(path, count):
    with open(path, "rb") as file:
        raw = file.read()
    name = os.path.basename(path)
    if len(raw) < 24:
        raise Wrong(f"{name}: shorter than a blob's header")
    magic, version, kind, elements, crc, zero = struct.unpack("<4sHHQII", raw[:24])
    if (magic, version, kind, zero) != (b"GANF", 1, 1, 0):
        raise Wrong(f"{name}: wrong header (magic {magic}, version {version}, type {kind}, last word {zero})")
    if elements != count or len(raw) != 24 + 4 * count:
        raise Wrong(f"{name}: {elements} elements in {len(raw)} bytes, expected {count}")
    if crc32c(raw[24:]) != crc:
        raise Wrong(f"{name}: CRC-32C does not match")
    return np.frombuffer(raw, "<f4", offset=24)


def read_vector(folder, stem, total):
    shards = range((total + SHARD - 1) // SHARD)
    return np.concatenate([read_blob(os.path.join(folder, f"{stem}_{k}.blob"), min(SHARD, total - SHARD * k))
                           for k in shards])


# ---- comparing -------------------------------------------------------------------------------------------------------

class Report:
    def __init__(self):
        self.failures, self.worst = [], 0.0

    def line(self, name, error, tolerance=TOLERANCE, kind="relative"):
        good = bool(error <= tolerance)  # false for NaN
        print(f"{name:40s} {kind} error {error:.3e}{'' if good else '   WRONG'}")
        if good:
            self.worst = max(self.worst, error)
        else:
            self.failures.append(name)

    def tensor(self, name, stored, true, tolerance=TOLERANCE):
        difference = np.linalg.norm(np.asarray(stored, np.float64).ravel() - np.ravel(true))
        norm = np.linalg.norm(true)
        self.line(name, 0.0 if difference == 0 else float(np.divide(difference, norm)) if norm > 0 else float("inf"),
                  tolerance)


def compare_vector(report, prefix, shapes, stored, true, slack=None):
    """slack: for every number, what it may be off by for reasons of its own."""
    at = 0
    for name, shape in shapes:
        part = slice(at, at + int(np.prod(shape)))
        more = 0 if slack is None else float(np.linalg.norm(slack[part]) / np.linalg.norm(true[part]))
        report.tensor(f"{prefix}{name}", stored[part], true[part], TOLERANCE + more)
        at = part.stop
    if not at == len(stored) == len(true):
        report.failures.append(f"{prefix}length")
        print(f"{prefix}: {len(stored)} numbers stored, {len(true)} computed, {at} expected   WRONG")


def compare_unit(report, unit, stored, computed, slack=None):
    """stored: gradient, statistics, dict of losses."""
    layers = sum(build(unit), [])
    parts = [part for layer in layers for part in layer.parts()]
    compare_vector(report, "gradient " if slack is None else "change ", parts, stored[0], computed[0], slack)
    parts = [(f"{layer.label} {what}", (layer.norm_channels,)) for layer in layers if layer.norm_channels
             for what in ("mean", "variance")]
    compare_vector(report, "statistics ", parts, stored[1], computed[1])
    losses = computed[2]
    for i, name in enumerate(("loss_d", "loss_g")):
        report.tensor(name, [stored[2][name]], losses[i:i + 1])
    for i, name in enumerate(("accuracy_real", "accuracy_fake")):
        difference = abs(stored[2][name] - losses[2 + i])
        report.line(name, difference, TOLERANCE + losses[4 + i], "absolute")


def rounding_of_change(weights, steps):
    """Section 10: every step rounds the weights to float32."""
    return 2.0**-24 * np.abs(weights.astype(np.float64)) * np.sqrt(steps)


def check_unit(folder, path):
    with open(os.path.join(folder, "unit.json")) as file:
        unit = json.load(file)
    layers = sum(build(unit), [])
    total = sum(int(np.prod(shape)) for layer in layers for _, shape in layer.parts())
    weights = read_vector(folder, "weights", total)
    gradient = read_vector(folder, "gradient", total)
    shards = (total + SHARD - 1) // SHARD
    statistics = read_blob(os.path.join(folder, f"gradient_{shards}.blob"), sum(2 * x.norm_channels for x in layers))
    dataset = open_dataset(path)
    if len(dataset) != unit["dataset_images"]:
        raise Wrong(f"the dataset has {len(dataset)} images, the unit's {unit['dataset_images']}")
    if digest(dataset) != unit["dataset_digest"].lower():
        raise Wrong("the dataset's digest is not the unit's")
    images = unit_images(unit, dataset)
    noise = latent(unit["seed"], unit["iteration"], unit["first_position"], unit["images"], unit["latent"])
    report = Report()
    if unit.get("local_steps", 0) == 0:
        compare_unit(report, unit, (gradient, statistics, unit), compute(unit, weights, images, noise))
        return report
    steps = unit["images"] // unit["batch"]
    if unit["images"] % unit["batch"] != 0 or (unit.get("unit_sizing", "equal") == "equal" and steps != unit["local_steps"]):
        report.failures.append("images: not local_steps * batch")
    compare_unit(report, unit, (gradient, statistics, unit), compute_local(unit, weights, images, noise),
                 rounding_of_change(weights, steps))
    return report


# ---- self-test -------------------------------------------------------------------------------------------------------

def read_records(path):
    with open(path, "rb") as file:
        raw = file.read()
    records, at = {}, 0
    while at < len(raw):
        length, = struct.unpack_from("<I", raw, at)
        name = raw[at + 4:at + 4 + length].decode()
        count, = struct.unpack_from("<Q", raw, at + 4 + length)
        records[name] = np.frombuffer(raw, "<f4", count, at + 12 + length)
        at += 12 + length + 4 * count
    return records


def from_words(words):
    return sum(int(w) << (16 * i) for i, w in enumerate(words))


def initial_weights(unit):
    parts = [part for layer in sum(build(unit), []) for part in layer.parts()]
    total = sum(int(np.prod(shape)) for _, shape in parts)
    n = 0.02 * normals(total, unit["seed"], 0, 0, 2)  # blocks beyond 2^32 do not occur here, so c1 = 0
    at = 0
    for name, shape in parts:
        part = slice(at, at + int(np.prod(shape)))
        n[part] = 0 if name.endswith("shift") else n[part] + (1 if name.endswith("scale") else 0)
        at = part.stop
    return n


def read_fixture(r):
    """The unit of a fixture, its images and its noise."""
    names = ("channels", "image_size", "latent", "generator_features", "discriminator_features", "images", "batch")
    unit = dict(zip(names, (int(x) for x in r["config"])))
    unit.update(seed=from_words(r["seed_words"]), iteration=int(r["iteration"][0]),
                first_position=from_words(r["position_words"]))
    shape = (unit["images"], unit["image_size"], unit["image_size"], unit["channels"])
    noise = latent(unit["seed"], unit["iteration"], unit["first_position"], unit["images"], unit["latent"])
    return unit, r["images"].astype(np.float64).reshape(shape), noise


def check_local_fixture(report, path):
    r = read_records(path)
    unit, images, noise = read_fixture(r)
    rates = (float(x) for x in r["local_options"])
    unit.update(zip(("generator_learning_rate", "discriminator_learning_rate", "norm_momentum"), rates))
    unit.update(beta1=0.5, beta2=0.999, epsilon=1e-8, learning_rate_schedule="constant", warmup_iterations=0, target_iterations=100)
    losses = dict(zip(("loss_d", "loss_g", "accuracy_real", "accuracy_fake"), r["local_losses"].astype(np.float64)))
    compare_unit(report, unit, (r["change"], r["local_statistics"], losses), compute_local(unit, r["weights"], images, noise),
                 np.zeros(len(r["weights"])))


def check_fixture(report, path):
    r = read_records(path)
    unit, images, noise = read_fixture(r)
    report.tensor("noise", r["noise"], noise)
    report.tensor("initial weights", r["initial_weights"], initial_weights(unit))
    losses = dict(zip(("loss_d", "loss_g", "accuracy_real", "accuracy_fake"), r["losses"].astype(np.float64)))
    compare_unit(report, unit, (r["gradient"], r["statistics"], losses), compute(unit, r["weights"], images, noise))


def check_vectors(report, path):
    counts = {"philox": 0, "normal": 0, "permute": 0}
    with open(path) as file:
        lines = [line.split() for line in file if line.strip() and not line.startswith("#")]
    for kind, *fields in lines:
        if kind == "philox":
            c0, c1, c2, c3, k0, k1, *result = (int(x, 16) for x in fields)
            good = [int(w) for w in philox(c0, c1, c2, c3, k0 + (k1 << 32))] == result
        elif kind == "normal":
            seed, c1, c2, c3, index = (int(x) for x in fields[:5])
            good = abs(normals(8, seed, c1, c2, c3)[index] - float(fields[5])) <= 1e-6
        else:
            seed, epoch, n, index, result = (int(x) for x in fields)
            good = permute(seed, epoch, n, index) == result
        counts[kind] += 1
        if not good:
            report.failures.append(" ".join([kind] + fields))
    print("vectors checked:", ", ".join(f"{count} {kind}" for kind, count in counts.items()))
    if not all(counts.values()):
        report.failures.append("vectors.txt: a kind of vector is missing")


def selftest(folder):
    report = Report()
    published = [int(w) for w in philox(0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344, 0x299f31d0a4093822)]
    if published != [0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1] or crc32c(b"123456789") != 0xE3069283:
        report.failures.append("Philox or CRC-32C: published vector")
    check_vectors(report, os.path.join(folder, "vectors.txt"))
    for name in ("unit_a.bin", "unit_b.bin"):
        print(f"--- {name}")
        check_fixture(report, os.path.join(folder, name))
    print("--- local.bin")
    check_local_fixture(report, os.path.join(folder, "local.bin"))
    return report


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    try:
        report = selftest(sys.argv[2]) if sys.argv[1] == "--selftest" else check_unit(sys.argv[1], sys.argv[2])
    except (Wrong, OSError, KeyError, ValueError) as error:
        print(f"WRONG: {error}")
        sys.exit(1)
    if report.failures:
        print(f"WRONG: {len(report.failures)} beyond {TOLERANCE}: {', '.join(report.failures)}")
        sys.exit(1)
    print(f"all good, largest error {report.worst:.3e}")


if __name__ == "__main__":
    main()
