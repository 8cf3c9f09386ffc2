"""Trains the weights of `mobile.py` on photographs in Caltech-101's layout, those of the shipped sample left out.

First the network, then all of it, with what narrows and widens its features and without.
"""

import argparse
import json
from collections.abc import Callable, Iterable

import numpy as np
import torch
from mobile import WEIGHTS, Network
from safetensors.torch import save_file
from torch import Tensor
from torch.nn.functional import cross_entropy, pad

from testbed.aecnn.photographs import Photographs, open_photographs

BATCH = 64
Logits = Callable[[Network, Tensor], list[Tensor]]


def main() -> None:
    """Train, telling after each pass how well the sample's photographs are classified, and write the weights."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True, help="a folder or zip in Caltech-101's layout")
    parser.add_argument("--passes", type=int, default=40, help="over all photographs (default: 40)")
    parser.add_argument("--threads", type=int, default=1, help="of torch (default: 1)")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    torch.manual_seed(1)

    photographs = open_photographs(given.data)
    sample = open_photographs("sample", photographs.classes)
    held_out = {sample.name(index) for index in range(len(sample))}
    chosen = [index for index in range(len(photographs)) if photographs.name(index) not in held_out]
    training, test = loaded(photographs, chosen), loaded(sample, range(len(sample)))
    print(f"{len(chosen)} photographs of {len(photographs.classes)} classes; {len(sample)} to test", flush=True)

    network = Network(len(photographs.classes))
    fit(network, whole, given.passes, 6e-3, training, test)
    fit(network, compressed, max(1, given.passes // 5), 2e-3, training, test)

    state = network.state_dict().items()
    weights = {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in state}
    save_file(weights, WEIGHTS, {"classes": json.dumps(photographs.classes)})
    print(WEIGHTS)


def fit(
    network: Network,
    logits: Logits,
    passes: int,
    rate: float,
    training: tuple[Tensor, Tensor],
    test: tuple[Tensor, Tensor],
) -> None:
    """Train on what `logits` gives; batch normalisation takes its statistics from the whole network alone."""
    pixels, labels = training
    optimiser = torch.optim.AdamW(network.parameters(), weight_decay=0.05)
    steps = len(pixels) // BATCH
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=rate, total_steps=passes * steps)
    for number in range(1, passes + 1):
        network.train(logits is whole)
        for batch in torch.randperm(len(pixels))[: steps * BATCH].split(BATCH):
            answers = logits(network, varied(pixels[batch]))
            loss = sum(cross_entropy(answer, labels[batch], label_smoothing=0.1) for answer in answers)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
        network.eval()
        with torch.inference_mode():
            right = [(answer.argmax(1) == test[1]).float().mean() for answer in logits(network, test[0])]
        print(f"pass {number}: " + ", ".join(f"{share:.1%}" for share in right), flush=True)


def whole(network: Network, pixels: Tensor) -> list[Tensor]:
    """The whole network's logits."""
    return [network.back(network.front(pixels, "block7"), "block7")]


def compressed(network: Network, pixels: Tensor) -> list[Tensor]:
    """The whole network's logits and each operating point's; symbols are not rounded, so that there is a gradient."""
    found = []
    features = network.front(pixels, "block0")
    for name, block in network.blocks.items():
        features = block(features)
        if name in network.narrow:
            sent = network.narrow[name](features).sigmoid()
            found.append(network.back(network.widen[name](sent), name))
    return [network.classifier(features.mean((2, 3))), *found]


def loaded(photographs: Photographs, indices: Iterable[int]) -> tuple[Tensor, Tensor]:
    """uint8 `[N, 128, 128, 3]` and the classes `[N]`."""
    chosen = list(indices)
    pixels = np.stack([photographs.pixels(index) for index in chosen])
    return torch.from_numpy(pixels), torch.tensor([photographs.label(index) for index in chosen])


def varied(pixels: Tensor) -> Tensor:
    """Photographs shifted by up to 12 pixels, a batch alike, and mirrored, each or not; float32."""
    left, top = torch.randint(0, 25, (2,)).tolist()
    padded = pad(pixels.permute(0, 3, 1, 2).float(), (12, 12, 12, 12), mode="replicate")
    moved = padded[:, :, top : top + 128, left : left + 128].permute(0, 2, 3, 1)
    mirrored = torch.rand(len(moved)) < 0.5
    return torch.where(mirrored[:, None, None, None], moved.flip(2), moved)


if __name__ == "__main__":
    main()
