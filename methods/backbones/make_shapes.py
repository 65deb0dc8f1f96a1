"""How `shapes.safetensors` was made: a small vision transformer that learns to tell generated shapes apart.

    python methods/backbones/make_shapes.py --out shapes.safetensors

Every image is drawn here, from random strokes and random silhouettes: no photograph, no font, no data set. A class
is a drawing; each of its images is drawn anew, with another pose, thickness, resolution and contrast. The weights are
those of a classifier of these classes without its head. The recipe was judged by a linear probe on classes that were
not trained on. Random numbers are counters (`bench.core.streams`): batch k depends on k alone, so that the same
machine, library versions and thread count give the same file. About nine minutes on one core.
"""

from __future__ import annotations

import argparse
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor, nn

from bench.core.streams import generator, seed

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

ARCHITECTURE = "vit_tiny_patch16_224"
ARGS: dict[str, Any] = {
    "img_size": 32, "patch_size": 4, "in_chans": 1, "embed_dim": 96, "depth": 6, "num_heads": 4,
    "class_token": False, "global_pool": "avg", "num_classes": 0,
}  # fmt: skip
SIZE = 32
CLASSES = 1024  # trained on
HELD_OUT = 64  # further ones, for the probe
STEPS, BATCH, PEAK_LR, WEIGHT_DECAY = 4200, 64, 1.5e-3, 0.05
REDRAW = 3.0  # weight of the second task, to redraw the class as it was invented
WHOLE = 0.1  # the last part of the steps, which sees whole images; before it half of the patches are left out
HARD = 0.4  # the part of the steps over which images grow from plain ones to fully varied ones
STROKES, POINTS, ANGLES = 4, 32, 64


@dataclass(frozen=True)
class Drawings:
    """One drawing per class, in a box of about -1..1; a class is drawn with strokes, or as a silhouette."""

    strokes: Floats  # (classes, STROKES, POINTS, 2), (x, y)
    drawn: Floats  # (classes, STROKES), 1 where there is a stroke
    radii: Floats  # (classes, ANGLES), the silhouette's radius at equally spaced angles
    silhouette: NDArray[np.bool_]  # (classes,)

    def __len__(self) -> int:
        return len(self.silhouette)


def invent(count: int, *coordinates: str | int) -> Drawings:
    """`count` random classes, of which every fifth is a silhouette; a function of the coordinates."""
    draw = generator("init", "shapes", *coordinates)
    strokes = np.stack([_stroke(draw, count) for _ in range(STROKES)], axis=1)
    for later in range(1, STROKES):  # two strokes in three begin where an earlier one passes
        earlier, place = draw.integers(0, later, count), draw.integers(0, POINTS, count)
        step = strokes[np.arange(count), earlier, place] - strokes[:, later, 0]
        strokes[:, later] += np.where(draw.random((count, 1, 1)) < 0.67, step[:, None], 0)
    number = draw.choice(np.arange(1, STROKES + 1), count, p=[0.1, 0.35, 0.35, 0.2])
    drawn = (np.arange(STROKES) < number[:, None]).astype(np.float32)
    shown = drawn[:, :, None, None] > 0
    low = np.where(shown, strokes, np.inf).min((1, 2), keepdims=True)
    high = np.where(shown, strokes, -np.inf).max((1, 2), keepdims=True)
    strokes = (strokes - (low + high) / 2) / np.maximum((high - low).max(-1, keepdims=True) / 2, 0.3)
    return Drawings(strokes.astype(np.float32), drawn, _silhouettes(draw, count), np.arange(count) % 5 == 4)


def _stroke(draw: np.random.Generator, count: int) -> NDArray[np.float64]:
    """One stroke per class, (count, POINTS, 2): a curve, a straight line, or an arc of an ellipse."""
    corners = draw.uniform(-1, 1, (count, 4, 2))
    curve = _bernstein() @ corners
    line = np.linspace(0, 1, POINTS)[:, None] * (corners[:, 3:] - corners[:, :1]) + corners[:, :1]
    angles = draw.uniform(0, 2 * np.pi, (count, 1)) + np.linspace(0, 1, POINTS) * draw.uniform(2, 7, (count, 1))
    circle = np.stack([np.cos(angles), np.sin(angles)], -1)
    arc = corners[:, 1:2] / 2 + circle * draw.uniform(0.3, 0.9, (count, 1, 2))
    kind = draw.random((count, 1, 1))
    return np.where(kind < 0.4, curve, np.where(kind < 0.7, line, arc))


def _bernstein() -> NDArray[np.float64]:
    """(POINTS, 4): weights of a cubic curve's control points."""
    at = np.linspace(0, 1, POINTS)
    return np.stack([math.comb(3, k) * at**k * (1 - at) ** (3 - k) for k in range(4)], -1)


def _silhouettes(draw: np.random.Generator, count: int) -> Floats:
    """(count, ANGLES): regular and irregular polygons, and smooth blobs with up to six lobes."""
    angles = np.arange(ANGLES) * 2 * np.pi / ANGLES
    waves = np.arange(1, 7)
    heights = draw.normal(size=(count, 6)) * 0.35 / np.sqrt(waves)
    blob = (heights[:, :, None] * np.cos(waves[:, None] * angles + draw.uniform(0, 6.3, (count, 6, 1)))).sum(1)
    sides = draw.integers(3, 8, (count, 1))
    turn = (angles + draw.uniform(0, 6.3, (count, 1))) % (2 * np.pi / sides) - np.pi / sides
    polygon = np.cos(np.pi / sides) / np.cos(turn) * (1 + draw.uniform(0, 0.5, (count, 1)) * np.tanh(blob))
    radii = np.where(draw.random((count, 1)) < 0.5, np.exp(blob), polygon)
    scaled: Floats = (0.95 * radii / radii.max(1, keepdims=True)).astype(np.float32)
    return scaled


def images(drawings: Drawings, labels: Ints, *coordinates: str | int, variety: float = 1.0) -> NDArray[np.uint8]:
    """A fresh image (SIZE, SIZE) of each label's drawing; a function of the arguments. `variety` 0 is a plain copy."""
    draw = generator("augmentation", "shapes", *coordinates)
    matrix, shift = _pose(draw, len(labels), variety)
    waves = draw.uniform(-3, 3, (len(labels), 2, 2)).astype(np.float32)
    phases = draw.uniform(0, 6.3, (len(labels), 2)).astype(np.float32)
    bend = (draw.normal(size=(len(labels), 2, 2)) * 0.06 * variety).astype(np.float32)
    width = draw.uniform(0.045, 0.13, len(labels)).astype(np.float32)
    jitter = (draw.normal(size=(len(labels), STROKES, 4, 2)) * 0.07 * variety).astype(np.float32)
    outlined = draw.random(len(labels)) < 0.3 * variety
    ink = np.empty((len(labels), SIZE, SIZE), dtype=np.float32)
    for filled in (False, True):
        rows = np.flatnonzero(drawings.silhouette[labels] == filled)
        chosen, elastic = labels[rows], (waves[rows], phases[rows], bend[rows])
        if filled:
            radii = drawings.radii[chosen]
            ink[rows] = _fill(radii, matrix[rows], shift[rows], elastic, width[rows], outlined[rows])
        else:
            points = drawings.strokes[chosen] + _bernstein().astype(np.float32) @ jitter[rows]
            ink[rows] = _trace(points, drawings.drawn[chosen], matrix[rows], shift[rows], elastic, width[rows])
    return _develop(draw, ink, variety)


def _pose(draw: np.random.Generator, count: int, variety: float) -> tuple[Floats, Floats]:
    """Affine maps of the box -1..1: rotation up to 25 degrees, scale, stretch, shear, shift."""
    angle, shear = draw.uniform(-0.44, 0.44, count), draw.uniform(-0.3, 0.3, count)
    scale = draw.uniform(0.55, 0.95, (count, 1, 1)) * np.exp(draw.uniform(-0.2, 0.2, (count, 1, 2)))
    turn = np.stack([np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle)], -1).reshape(-1, 2, 2)
    slant = np.stack([np.ones(count), shear, np.zeros(count), np.ones(count)], -1).reshape(-1, 2, 2)
    matrix = (1 - variety) * 0.75 * np.eye(2) + variety * (turn @ slant * scale)
    return matrix.astype(np.float32), variety * draw.uniform(-0.15, 0.15, (count, 2)).astype(np.float32)


def _bent(points: Floats, elastic: tuple[Floats, Floats, Floats]) -> Floats:
    """`points` (n, p, 2) moved along two slow random waves per image."""
    waves, phases, bend = elastic
    moved: Floats = points + np.sin(points @ waves.transpose(0, 2, 1) + phases[:, None]) @ bend
    return moved


def _trace(
    points: Floats, drawn: Floats, matrix: Floats, shift: Floats, elastic: tuple[Floats, Floats, Floats], width: Floats
) -> Floats:
    """Ink 0..1 (n, SIZE, SIZE) of strokes: a sum of round dots, which a product of two thin matrices gives at once."""
    flat = _bent(points.reshape(len(points), -1, 2), elastic) @ matrix.transpose(0, 2, 1) + shift[:, None]
    grid = _grid()
    dots = np.exp(-(((flat[..., None] - grid) / width[:, None, None, None]) ** 2))  # (n, points, 2, SIZE)
    weight = np.repeat(drawn, POINTS, axis=1)
    rows = (dots[:, :, 1] * weight[:, :, None]).transpose(0, 2, 1)
    ink: Floats = 1 - np.exp(-1.6 * (rows @ dots[:, :, 0]))
    return ink


def _fill(
    radii: Floats,
    matrix: Floats,
    shift: Floats,
    elastic: tuple[Floats, Floats, Floats],
    width: Floats,
    outlined: NDArray[np.bool_],
) -> Floats:
    """Ink 0..1 (n, SIZE, SIZE) of silhouettes, filled or as an outline."""
    across, down = np.meshgrid(_grid(), _grid())
    pixels = np.stack([across, down], -1).reshape(1, -1, 2) - shift[:, None]
    found = _bent(pixels @ np.linalg.inv(matrix).transpose(0, 2, 1), elastic)
    angle = np.arctan2(found[..., 1], found[..., 0]) * (ANGLES / (2 * np.pi)) % ANGLES
    before = angle.astype(np.int64) % ANGLES
    part = angle - np.floor(angle)
    rows = np.arange(len(radii))[:, None]
    edge = radii[rows, before] * (1 - part) + radii[rows, (before + 1) % ANGLES] * part
    outside = (np.hypot(found[..., 0], found[..., 1]) - edge) / width[:, None]
    ink = np.where(outlined[:, None], np.exp(-(outside**2)), 1 / (1 + np.exp(np.clip(4 * outside, -30, 30))))
    return ink.reshape(-1, SIZE, SIZE).astype(np.float32)


def _grid() -> Floats:
    """Pixel centres along one axis of the box -1..1."""
    return ((np.arange(SIZE) + 0.5) * 2 / SIZE - 1).astype(np.float32)


def _develop(draw: np.random.Generator, ink: Floats, variety: float) -> NDArray[np.uint8]:
    """Resolution, contrast, polarity, a light gradient and noise; grey levels 0..255."""
    count = len(ink)
    coarse = draw.choice([8, 12, 16, SIZE], count, p=[0.2 * variety, 0.15 * variety, 0.15 * variety, 1 - 0.5 * variety])
    for size in (8, 12, 16):
        rows = np.flatnonzero(coarse == size)
        ink[rows] = _coarser(size) @ ink[rows] @ _coarser(size).T
    ink = ink ** draw.uniform(0.7, 1.4, (count, 1, 1)).astype(np.float32)
    paper, strength = draw.uniform(0, 0.25, (count, 1, 1)), draw.uniform(0.6, 1, (count, 1, 1))
    plain = draw.random((count, 1, 1)) < 1 - 0.5 * variety  # the full range on an even ground
    slope, grid = draw.uniform(-0.15, 0.15, (count, 2, 1, 1)), _grid()
    ground = np.where(plain, 0, paper + slope[:, 0] * grid[:, None] + slope[:, 1] * grid)
    level = ground + ink * np.where(plain, 1, strength)
    level = np.where(draw.random((count, 1, 1)) < 0.25 * variety, 1 - level, level)
    noise = draw.normal(size=ink.shape) * np.where(plain, 0, draw.uniform(0, 0.06, (count, 1, 1)))
    return (np.clip(level + noise, 0, 1) * 255).round().astype(np.uint8)


def _coarser(size: int) -> Floats:
    """(SIZE, SIZE): averages into `size` cells and goes back to SIZE pixels by linear interpolation."""
    cells = np.arange(SIZE) * size // SIZE
    down = np.eye(size)[:, cells]
    at = np.clip((np.arange(SIZE) + 0.5) * size / SIZE - 0.5, 0, size - 1)
    up = np.clip(1 - np.abs(at[:, None] - np.arange(size)), 0, 1)
    both: Floats = (up @ (down / down.sum(1, keepdims=True))).astype(np.float32)
    return both


def pixels(raw: NDArray[np.uint8]) -> Tensor:
    """Images (n, SIZE, SIZE) as the network takes them: (n, 1, SIZE, SIZE), -1..1."""
    return torch.from_numpy(raw).unsqueeze(1).float() / 127.5 - 1


def features(network: nn.Module, raw: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Features (n, dim) of images."""
    network.eval()
    with torch.inference_mode():
        found = torch.cat([network(pixels(part)) for part in np.array_split(raw, -(-len(raw) // 256))])
    return found.double().numpy()


def ridge_accuracy(train: NDArray[np.float64], labels: Ints, test: NDArray[np.float64], truth: Ints) -> float:
    """Accuracy of a linear probe: ridge regression on class indicators, in closed form."""
    mean, scale = train.mean(0), train.std(0) + 1e-6
    left, right = (np.c_[(part - mean) / scale, np.ones(len(part))] for part in (train, test))
    penalty = 0.1 * len(left) * np.eye(left.shape[1])
    solution = np.linalg.solve(left.T @ left + penalty, left.T @ np.eye(labels.max() + 1)[labels])
    return float(((right @ solution).argmax(1) == truth).mean())


def probe(network: nn.Module, shots: int = 10, tests: int = 20) -> float:
    """Accuracy of a linear probe on classes never trained on, `shots` images of each."""
    drawings = invent(HELD_OUT, "held-out")
    labels = [np.repeat(np.arange(HELD_OUT), each) for each in (shots, tests)]
    found = [features(network, images(drawings, part, "probe", name)) for part, name in zip(labels, ("train", "test"))]
    return ridge_accuracy(found[0], labels[0], found[1], labels[1])


def redrawn(drawings: Drawings) -> Tensor:
    """(classes, 256): each class as it was invented, upright, 16 x 16, standardised; what the second task redraws."""
    labels = np.arange(len(drawings))
    plain = images(drawings, labels, "plain", variety=0.0) / 255
    small = plain.reshape(-1, 16, 2, 16, 2).mean((2, 4)).reshape(len(labels), -1)
    return torch.from_numpy((small - small.mean(0)) / small.std()).float()


def batch(drawings: Drawings, step: int, steps: int = STEPS) -> tuple[NDArray[np.uint8], Ints]:
    """Images and labels of training step `step` of `steps`."""
    labels = generator("order", "shapes", step).integers(0, len(drawings), BATCH)
    return images(drawings, labels, "train", step, variety=min(1.0, step / (HARD * steps))), labels


def make_network() -> nn.Module:
    """The network to train, with initial weights suited to its small width."""
    network: nn.Module = timm.create_model(ARCHITECTURE, pretrained=False, patch_drop_rate=0.5, **ARGS)
    for layer in network.modules():
        if isinstance(layer, nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
    side, width = SIZE // ARGS["patch_size"], ARGS["embed_dim"]
    place = 2 * np.pi * np.outer((np.arange(side) + 0.5) / side, np.arange(1, width // 4 + 1) / 6)
    waves = 0.5 * np.concatenate([np.sin(place), np.cos(place)], 1)  # (side, width / 2)
    where = np.concatenate([np.repeat(waves, side, 0), np.tile(waves, (side, 1))], 1)
    with torch.no_grad():
        network.pos_embed.copy_(torch.from_numpy(where))  # type: ignore[operator]
    return network


def make_optimizer(*modules: nn.Module) -> torch.optim.AdamW:
    """AdamW, which leaves biases and norms without decay."""
    parameters = [parameter for module in modules for parameter in module.parameters()]
    groups = [
        {"params": [parameter for parameter in parameters if parameter.ndim > 1], "weight_decay": WEIGHT_DECAY},
        {"params": [parameter for parameter in parameters if parameter.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=PEAK_LR, betas=(0.9, 0.98))


def train(steps: int = STEPS, classes: int = CLASSES, report: int = 100) -> tuple[nn.Module, float]:
    """The trained network, and its accuracy on the last `report` training batches (no image is seen twice)."""
    torch.manual_seed(seed("init", "shapes", "weights"))
    drawings = invent(classes, "trained")
    targets = redrawn(drawings)
    network = make_network()
    head, redraw = nn.Linear(network.num_features, classes), nn.Linear(network.num_features, targets.shape[1])  # type: ignore[arg-type]
    optimizer = make_optimizer(network, head, redraw)
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    correct: list[float] = []
    begun = time.process_time()
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = PEAK_LR * min(1, (step + 1) / (0.05 * steps + 1), 1.03 * (1 - step / steps))
        raw, drawn = batch(drawings, step, steps)
        labels = torch.from_numpy(drawn)
        torch.manual_seed(seed("dropout", "shapes", step))
        network.train()
        network.patch_drop.prob = 0.5 if step < (1 - WHOLE) * steps else 0.0  # type: ignore[union-attr]
        found = network(pixels(raw))
        scores = head(found)
        error = nn.functional.mse_loss(redraw(found), targets[labels])
        loss = nn.functional.cross_entropy(scores, labels) + REDRAW * error
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        correct = [*correct, float((scores.argmax(1) == labels).float().mean())][-report:]
        if (step + 1) % report == 0:
            print(f"{step + 1} steps, {time.process_time() - begun:.0f} s, accuracy {np.mean(correct):.3f}, "
                  f"redrawing error {error.item():.3f}", flush=True)  # fmt: skip
    return network, float(np.mean(correct))


def main() -> None:
    """Train, say how good the features are, and write the weights in half precision."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=STEPS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    network, accuracy = train(options.steps)
    print(f"accuracy on {CLASSES} trained classes {accuracy:.3f}")
    print(f"linear probe on {HELD_OUT} new classes, 10 images of each: {probe(network):.3f}")
    state = {name: tensor.half().contiguous() for name, tensor in network.state_dict().items()}
    save_file(state, options.out, metadata={"format": "pt"})
    print(f"{sum(tensor.numel() for tensor in state.values())} parameters, {options.out.stat().st_size} bytes")


if __name__ == "__main__":
    main()
