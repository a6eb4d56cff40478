"""A case whose name leaves out the long lists that the models of ai.onnx.ml are made of."""

from __future__ import annotations

from dataclasses import dataclass, replace

from tests.cases import Case

LONGEST = 6


@dataclass(frozen=True)
class ModelCase(Case):
    """One node of ai.onnx.ml, with a model in its attributes."""

    domain: str = "ai.onnx.ml"

    def __str__(self) -> str:
        short = {name: value if isinstance(value, (str, int, float)) else _shown(value) for name, value in self.attributes.items()}
        return str(Case(**{**vars(replace(self)), "attributes": {name: value for name, value in short.items() if value is not None}}))


def _shown(value: object) -> object:
    return value if isinstance(value, list) and len(value) <= LONGEST else None
