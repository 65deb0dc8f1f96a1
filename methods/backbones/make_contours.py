"""How `contours.safetensors` was made: a small U-Net that learns to trace generated drawings.

    python methods/backbones/make_contours.py --out contours.safetensors

Every image is drawn here, from random polygons, silhouettes that join two polygons, and strokes, one over the other,
filled or as outlines, with random grey levels, stripes, light, blur and noise: no photograph, no cell, no data set. For
each pixel the network predicts whether it is an edge, a filled drawing or a stroke, how many filled drawings lie there
(none, one, more), and how far the next edge is. The weights are the network's without the layer that predicts; each
convolution is then scaled down, which the normalisation after it undoes (see `lighten`). Random numbers are counters
(`bench.core.streams`): batch k depends on k alone, so that the same machine, library versions and thread count give the
same file. About four minutes on one core.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from scipy.ndimage import distance_transform_edt, gaussian_filter
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, mse_loss

from bench.core.loading import load
from bench.core.streams import generator, seed

Floats = NDArray[np.float32]

SIZE = 64
STEPS, BATCH, PEAK_LR, WEIGHT_DECAY = 2000, 16, 4e-3, 0.01
FILLED, STROKES, SIDES, POINTS = 5, 2, 7, 20  # at most per image, per polygon, per stroke
FAR = 8.0  # pixels: distances to an edge are cut off here
LIGHT = 0.01  # root mean square of each convolution's weights, as shipped
OUTPUTS = 7  # edge, fill, stroke, distance; none, one, more
EDGE, FILL, STROKE, DISTANCE = range(4)


def polygons(draw: np.random.Generator, count: int, middles: Floats, radii: Floats) -> Floats:
    """Signed distances in pixels (count, SIZE, SIZE), negative inside: each the meet of 3 to SIDES half-planes."""
    down, across = _grid()
    sides = draw.integers(3, SIDES + 1, (count, 1))
    angles = (np.arange(SIDES) + draw.uniform(-0.3, 0.3, (count, SIDES))) * 2 * np.pi / sides
    angles = (angles + draw.uniform(0, 2 * np.pi, (count, 1))).astype(np.float32)
    reach = (radii[:, None] * draw.uniform(0.55, 1.1, (count, SIDES))).astype(np.float32)
    found = np.full((count, SIZE, SIZE), -np.inf, dtype=np.float32)
    for side in range(SIDES):
        normal, there = angles[:, side, None, None], sides[:, 0] > side
        plane = np.cos(normal) * (across - middles[:, 1, None, None]) + np.sin(normal) * (
            down - middles[:, 0, None, None]
        )
        found[there] = np.maximum(found, plane - reach[:, side, None, None])[there]
    return found


def strokes(draw: np.random.Generator, count: int) -> Floats:
    """Signed distances in pixels (count, SIZE, SIZE) to curves of random thickness, negative inside."""
    down, across = _grid()
    corners = draw.uniform(0, SIZE, (count, 3, 2))
    at = np.linspace(0, 1, POINTS)
    weights = np.stack([(1 - at) ** 2, 2 * at * (1 - at), at**2], -1)
    points = (weights @ corners).astype(np.float32)
    found = np.full((count, SIZE, SIZE), np.inf, dtype=np.float32)
    for point in range(POINTS - 1):
        start, step = points[:, point, :, None, None], (points[:, point + 1] - points[:, point])[:, :, None, None]
        y, x = down - start[:, 0], across - start[:, 1]
        part = ((y * step[:, 0] + x * step[:, 1]) / ((step**2).sum(1) + 1e-6)).clip(0, 1)
        found = np.minimum(found, (y - part * step[:, 0]) ** 2 + (x - part * step[:, 1]) ** 2)
    return np.sqrt(found) - draw.uniform(0.7, 2.2, (count, 1, 1)).astype(np.float32)


def _grid() -> tuple[Floats, Floats]:
    """Pixel centres, down (SIZE, 1) and across (1, SIZE)."""
    centres = np.arange(SIZE, dtype=np.float32) + 0.5
    return centres[:, None], centres[None]


def drawings(count: int, *coordinates: str | int) -> tuple[NDArray[np.uint8], Floats]:
    """Images (count, SIZE, SIZE) and targets (count, 5, SIZE, SIZE): edge, fill, stroke, distance 0..1, depth 0..2.

    A function of the arguments.
    """
    draw = generator("augmentation", "contours", *coordinates)
    ground = draw.uniform(0.1, 0.9, (count, 1, 1)).astype(np.float32)
    paper = np.broadcast_to(ground, (count, SIZE, SIZE)).copy()
    top, depth = (np.zeros((count, SIZE, SIZE), dtype=np.int64) for _ in range(2))
    middles = np.zeros((count, 2), dtype=np.float32)
    for layer in range(FILLED + STROKES):
        shown = draw.random((count, 1, 1)) < (0.75 if layer else 1.0)
        if layer < FILLED:
            inner = (draw.random(count) < 0.35) & (layer > 0)  # lies on the drawing before
            near = middles + draw.uniform(-3, 3, (count, 2))
            middles = np.where(inner[:, None], near, draw.uniform(0, SIZE, (count, 2))).astype(np.float32)
            radii = np.where(inner, draw.uniform(3, 7, count), draw.uniform(5, 15, count)).astype(np.float32)
            away = polygons(draw, count, middles, radii)
            second = polygons(draw, count, middles + draw.normal(size=(count, 2)).astype(np.float32) * 6, radii * 0.7)
            away = np.where(draw.random((count, 1, 1)) < 0.4, np.minimum(away, second), away)
        else:
            away = strokes(draw, count)
        within = (away < 0) & shown
        paper = np.where(within, _ink(draw, paper, away, layer < FILLED), paper)
        top[within] = layer + 1
        depth += within & (layer < FILLED)
    return _develop(draw, paper), _targets(top, depth)


def _ink(draw: np.random.Generator, paper: Floats, away: Floats, filled: bool) -> Floats:
    """What a drawing looks like: a grey, striped or shaded area, or an outline of 1.5 pixels through which one sees."""
    count = len(paper)
    down, across = _grid()
    shift = draw.choice([-1, 1], (count, 1, 1)) * draw.uniform(0.12, 0.45, (count, 1, 1))
    grey = paper.mean((1, 2), keepdims=True) + shift
    grey = np.where((grey < 0) | (grey > 1), grey - 2 * shift, grey)
    angle, wave = draw.uniform(0, np.pi, (count, 1, 1)), draw.uniform(0.5, 1.5, (count, 1, 1))
    stripes = np.sin((down * np.sin(angle) + across * np.cos(angle)) * wave)
    grey = grey + stripes * np.where(draw.random((count, 1, 1)) < 0.25, draw.uniform(0.03, 0.15, (count, 1, 1)), 0)
    grey = grey + 0.015 * draw.uniform(-1, 1, (count, 1, 1)) * away.clip(-8, 0)
    hollow = (draw.random((count, 1, 1)) < (0.25 if filled else 0)) & (away < -1.5)
    return np.where(hollow, paper, grey).astype(np.float32)


def _develop(draw: np.random.Generator, paper: Floats) -> NDArray[np.uint8]:
    """Blur, a light gradient and noise; grey levels 0..255."""
    count = len(paper)
    down, across = _grid()
    widths = draw.uniform(0.3, 1.2, count)
    blurred = np.stack([gaussian_filter(image, width) for image, width in zip(paper, widths, strict=True)])
    slope = draw.uniform(-0.4, 0.4, (count, 2, 1, 1))
    light = (
        draw.uniform(0.7, 1.2, (count, 1, 1)) + slope[:, 0] * (down / SIZE - 0.5) + slope[:, 1] * (across / SIZE - 0.5)
    )
    noise = draw.normal(size=paper.shape) * draw.uniform(0, 0.06, (count, 1, 1))
    return ((blurred * light + noise).clip(0, 1) * 255).round().astype(np.uint8)


def _targets(top: NDArray[np.int64], depth: NDArray[np.int64]) -> Floats:
    """(count, 5, SIZE, SIZE) of the number of the drawing that is seen, and of how many filled ones lie there."""
    edge = np.zeros(top.shape, dtype=bool)
    for axis in (1, 2):
        differs = np.diff(top, axis=axis) != 0
        before, after = [(0, 0), (0, 0), (0, 0)], [(0, 0), (0, 0), (0, 0)]
        before[axis], after[axis] = (0, 1), (1, 0)
        edge |= np.pad(differs, before) | np.pad(differs, after)
    away = np.stack([distance_transform_edt(~each) if each.any() else np.full(each.shape, FAR) for each in edge])
    parts = (edge, (top > 0) & (top <= FILLED), top > FILLED, (away / FAR).clip(0, 1), depth.clip(0, 2))
    return np.stack([part.astype(np.float32) for part in parts], 1)


def pixels(raw: NDArray[np.uint8]) -> Tensor:
    """Images (n, SIZE, SIZE) as the network takes them: (n, 1, SIZE, SIZE), 0..1."""
    return torch.from_numpy(raw).unsqueeze(1).float() / 255


def error(found: Tensor, targets: Tensor) -> Tensor:
    """The sum of the tasks' losses; outputs (n, OUTPUTS, H, W), targets (n, 5, H, W)."""
    loss = binary_cross_entropy_with_logits(found[:, :DISTANCE], targets[:, :DISTANCE])
    return (
        3 * loss
        + 2 * mse_loss(found[:, DISTANCE], targets[:, DISTANCE])
        + cross_entropy(found[:, DISTANCE + 1 :], targets[:, DISTANCE + 1].long())
    )


def train(steps: int = STEPS, batch: int = BATCH, report: int = 100) -> tuple[nn.Module, float]:
    """The trained network, and the mean loss of the last `report` batches (no image is seen twice)."""
    torch.manual_seed(seed("init", "contours", "weights"))
    network: nn.Module = load("contours:Contours", Path(__file__).parent)()
    predict = nn.Conv2d(network.dim, OUTPUTS, 1)  # type: ignore[arg-type]
    parameters = [*network.parameters(), *predict.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=PEAK_LR, weight_decay=WEIGHT_DECAY)
    losses: list[float] = []
    begun = time.process_time()
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = PEAK_LR * min(1, (step + 1) / (0.05 * steps + 1), 1.03 * (1 - step / steps))
        raw, targets = drawings(batch, "train", step)
        loss = error(predict(network(pixels(raw))), torch.from_numpy(targets))
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        losses = [*losses, loss.item()][-report:]
        if (step + 1) % report == 0:
            print(f"{step + 1} steps, {time.process_time() - begun:.0f} s, loss {np.mean(losses):.3f}", flush=True)
    return network, float(np.mean(losses))


def lighten(network: nn.Module) -> None:
    """Scale each convolution, in place, so that its weights have the root mean square LIGHT (they had about 0.1).

    Every convolution is followed by a normalisation, so that features stay as they are but for its epsilon. Steps of
    fine-tuning are then larger in proportion to the weights: the learning rates of wide networks suit this one.
    """
    with torch.no_grad():
        for layer in network.modules():
            if isinstance(layer, nn.Conv2d):
                factor = LIGHT / layer.weight.square().mean().sqrt()
                layer.weight.mul_(factor)
                layer.bias.mul_(factor)  # type: ignore[union-attr]


def main() -> None:
    """Train, and write the weights in single precision."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=STEPS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    network, _ = train(options.steps)
    lighten(network)
    state = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
    save_file(state, options.out, metadata={"format": "pt"})
    print(f"{sum(tensor.numel() for tensor in state.values())} parameters, {options.out.stat().st_size} bytes")


if __name__ == "__main__":
    main()
