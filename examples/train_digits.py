"""Train the small convolutional network that `onnxgpu demo` runs, and write it with held-out images.

    python examples/train_digits.py OUT_DIR

Needs torch, onnxscript and scikit-learn (`pip install onnxgpu[bench] scikit-learn`). The data are scikit-learn's digits:
1,797 images of 8×8 pixels. 360 of them, drawn with a fixed seed, are never trained on; they are written beside the
model as `digits.npz` (`images` uint8 (360, 8, 8), values 0 … 16; `labels` uint8 (360,)).
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnx_ir as ir
import torch
from onnx_ir.passes.common import ClearMetadataAndDocStringPass
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn

HELD_OUT = 360
EPOCHS = 60


class DigitsNetwork(nn.Module):
    """Images (batch, 1, 8, 8), values 0 … 16, to scores (batch, 10)."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, padding=1),
            nn.BatchNorm2d(32),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(32, 48, 3, padding=1),
            nn.BatchNorm2d(48),
            nn.ReLU(),
            nn.MaxPool2d(2),
        )
        self.classifier = nn.Sequential(nn.Flatten(), nn.Dropout(0.3), nn.Linear(48 * 4, 64), nn.ReLU(), nn.Linear(64, 10))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Scores of the ten digits."""
        scores: torch.Tensor = self.classifier(self.features(images / 16.0))
        return scores


def main(folder: Path) -> None:
    """Train, measure on the held-out images, write the model and the images."""
    torch.manual_seed(0)
    data = load_digits()
    train_x, test_x, train_y, test_y = train_test_split(data.images, data.target, test_size=HELD_OUT, random_state=0, stratify=data.target)
    network = DigitsNetwork()
    train(network, torch.tensor(train_x, dtype=torch.float32)[:, None], torch.tensor(train_y))
    network.eval()
    with torch.no_grad():
        predictions = network(torch.tensor(test_x, dtype=torch.float32)[:, None]).argmax(1).numpy()
    print(f"accuracy on {HELD_OUT} held-out images: {(predictions == test_y).mean():.4f}")
    folder.mkdir(parents=True, exist_ok=True)
    batch = torch.export.Dim("batch", min=1)
    program = torch.onnx.export(
        network,
        (torch.zeros(2, 1, 8, 8),),
        input_names=["images"],
        output_names=["scores"],
        dynamo=True,
        opset_version=18,
        dynamic_shapes=({0: batch},),
        external_data=False,
    )
    assert program is not None
    ClearMetadataAndDocStringPass()(program.model)
    ir.save(program.model, folder / "digits.onnx")
    np.savez_compressed(folder / "digits.npz", images=test_x.astype(np.uint8), labels=test_y.astype(np.uint8))


def train(network: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> None:
    """Adam with random shifts of up to one pixel."""
    optimizer = torch.optim.Adam(network.parameters(), lr=2e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS)
    for _ in range(EPOCHS):
        for indices in torch.randperm(len(images)).split(64):
            shift = torch.randint(-1, 2, (2,)).tolist()
            batch = torch.roll(images[indices], shift, dims=(2, 3))
            loss = nn.functional.cross_entropy(network(batch), labels[indices])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        schedule.step()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
