#!/usr/bin/env python3
"""Reads a checkpoint (safetensors) with numpy alone, or with PyTorch, and draws with its generator.

    checkpoint.py numpy FILE PNG SEED          compare the generator's images, in evaluation mode, with a sheet of gan_generate's
    checkpoint.py torch FILE PNG SEED COPY     the same with the networks of PyTorch's DCGAN tutorial, loaded strictly; then save all of
                                               their state as another safetensors file

Exit status 1 if the pictures differ by more than one level in any pixel.
"""

import json
import os
import struct
import sys

import numpy as np
from PIL import Image

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from recompute import BN_EPSILON, conv_transposed, normals  # noqa: E402


def read_safetensors(path):
    """{name: array} and the metadata."""
    with open(path, "rb") as file:
        raw = file.read()
    length = struct.unpack("<Q", raw[:8])[0]
    header = json.loads(raw[8:8 + length])
    metadata = header.pop("__metadata__", {})
    types = {"F32": "<f4", "I64": "<i8"}
    data = raw[8 + length:]
    return {name: np.frombuffer(data[slice(*t["data_offsets"])], types[t["dtype"]]).reshape(t["shape"]) for name, t in header.items()}, metadata


def write_safetensors(path, tensors):
    header, data = {}, b""
    for name, array in tensors.items():
        kind = {"float32": "F32", "int64": "I64"}[str(array.dtype)]
        header[name] = {"dtype": kind, "shape": list(array.shape), "data_offsets": [len(data), len(data) + array.nbytes]}
        data += array.tobytes()
    text = json.dumps(header).encode()
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + data)


def noise(seed, count, size):
    """The latent vectors of gan_generate: stream 4."""
    return np.array([normals(size, seed, i, 0, 4) for i in range(count)]).astype(np.float32)


def draw(tensors, z):
    """The generator in evaluation mode, in double precision."""
    x = z.astype(np.float64).reshape(len(z), 1, 1, -1)
    number = 0
    while True:
        part = {name.rsplit(".", 1)[1]: t.astype(np.float64) for name, t in tensors.items() if name.startswith(f"generator.main.{number + 1}.")}
        w = tensors[f"generator.main.{number}.weight"].astype(np.float64).transpose(0, 2, 3, 1)
        x = conv_transposed(x, w, 1 if number == 0 else 2, 0 if number == 0 else 1)
        if not part:
            return np.tanh(x)
        x = np.maximum((x - part["running_mean"]) / np.sqrt(part["running_var"] + BN_EPSILON) * part["weight"] + part["bias"], 0)
        number += 3


def samples(images):
    return np.clip(np.floor((images + 1) * 127.5 + 0.5), 0, 255)


def sheet(path, count, size, channels):
    """The images of a sheet, one after the other."""
    pixels = np.asarray(Image.open(path)).astype(np.float64)
    pixels = pixels.reshape(pixels.shape[0], pixels.shape[1], channels)
    columns = pixels.shape[1] // size
    return np.stack([pixels[i // columns * size:(i // columns + 1) * size, i % columns * size:(i % columns + 1) * size] for i in range(count)])


def compare(images, path):
    count, size, _, channels = images.shape
    difference = np.abs(samples(images) - sheet(path, count, size, channels))
    print(f"{count} images: largest difference {difference.max():.0f} levels, mean level {samples(images).mean():.1f}")
    if difference.max() > 1 or samples(images).std() == 0:
        sys.exit("WRONG: the pictures differ")


def tutorial_networks(nn, latent, f, e, channels, stages):
    """Generator and Discriminator as in PyTorch's DCGAN tutorial (there: latent 100, f = e = 64, channels 3, stages 4)."""
    class Network(nn.Module):
        def __init__(self, layers):
            super().__init__()
            self.main = nn.Sequential(*layers)

        def forward(self, x):
            return self.main(x)

    g, width = [nn.ConvTranspose2d(latent, f << (stages - 1), 4, 1, 0, bias=False)], f << (stages - 1)
    for _ in range(stages - 1):
        g += [nn.BatchNorm2d(width), nn.ReLU(True), nn.ConvTranspose2d(width, width // 2, 4, 2, 1, bias=False)]
        width //= 2
    g += [nn.BatchNorm2d(width), nn.ReLU(True), nn.ConvTranspose2d(width, channels, 4, 2, 1, bias=False), nn.Tanh()]
    d, width = [nn.Conv2d(channels, e, 4, 2, 1, bias=False), nn.LeakyReLU(0.2, inplace=True)], e
    for _ in range(stages - 1):
        d += [nn.Conv2d(width, width * 2, 4, 2, 1, bias=False), nn.BatchNorm2d(width * 2), nn.LeakyReLU(0.2, inplace=True)]
        width *= 2
    d += [nn.Conv2d(width, 1, 4, 1, 0, bias=False), nn.Sigmoid()]
    return Network(g), Network(d)


def with_torch(tensors, metadata, z, png, copy):
    import torch
    stages = int(metadata["image_size"]).bit_length() - 3
    networks = dict(zip(("generator", "discriminator"), tutorial_networks(
        torch.nn, *(int(metadata[k]) for k in ("latent", "generator_features", "discriminator_features", "channels")), stages)))
    for name, network in networks.items():
        state = {key[len(name) + 1:]: torch.from_numpy(t.copy()) for key, t in tensors.items() if key.startswith(name + ".")}
        network.load_state_dict(state, strict=True)
        network.eval()
    with torch.no_grad():
        fake = networks["generator"](torch.from_numpy(z).reshape(len(z), -1, 1, 1))
        judged = networks["discriminator"](fake)
    compare(fake.numpy().transpose(0, 2, 3, 1), png)
    print(f"PyTorch {torch.__version__}: the discriminator takes {float(judged.mean()):.3f} of them for real")
    write_safetensors(copy, {f"{name}.{key}": t.numpy() for name, network in networks.items() for key, t in network.state_dict().items()})


def main():
    if len(sys.argv) < 5:
        sys.exit(__doc__)
    how, file, png, seed = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
    tensors, metadata = read_safetensors(file)
    z = noise(seed, 16, tensors["generator.main.0.weight"].shape[0])
    if how == "numpy":
        compare(draw(tensors, z), png)
    else:
        with_torch(tensors, metadata, z, png, sys.argv[5])


if __name__ == "__main__":
    main()
