"""Where the caller wants certain nodes: by node name, by operator, or by the node's metadata; hard or soft.

Given as the session configuration entry `onnxgpu.placement`: parts separated by `;`, each of

    name:PATTERN=PROVIDER     nodes whose name matches the shell pattern
    op:OPERATOR=PROVIDER      nodes of this operator
    split=PROVIDER,PROVIDER   nodes of the first of these are dealt among all of them, by the bytes of their weights
    mode=balanced|listed|fastest

Of several providers with one name, the one on device 1 is `PROVIDER:1`, and `PROVIDER` the first in the list.

A provider with `!` behind it is a hard hint: the session is refused if the provider cannot run the node. `balanced`
(the default) follows the list of providers but moves a node to the host where that saves more in copies than it costs;
`listed` moves nothing; `fastest` also moves nodes to the host whose estimated time is shorter there.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase

from onnxgpu.errors import InvalidArgument
from onnxgpu.provider import Operation, Provider

MODES = ("balanced", "listed", "fastest")


@dataclass(frozen=True, slots=True)
class Hint:
    """One rule: nodes that match go to `provider`."""

    kind: str
    pattern: str
    provider: str
    hard: bool

    def matches(self, operation: Operation) -> bool:
        """True if this hint speaks of `operation`."""
        return fnmatchcase(operation.name if self.kind == "name" else operation.operator, self.pattern)

    def names(self, provider: Provider) -> bool:
        """True if nodes that match go to this provider of a session."""
        return is_called(provider, self.provider)

    def __str__(self) -> str:
        return f"{self.kind}:{self.pattern}={self.provider}{'!' if self.hard else ''}"


@dataclass(frozen=True, slots=True)
class Hints:
    """All hints of a session; the first that matches a node holds."""

    hints: tuple[Hint, ...] = ()
    mode: str = "balanced"
    split: tuple[str, ...] = ()

    def provider_for(self, operation: Operation) -> Hint | None:
        """The hint that holds for `operation`, if any."""
        return next((hint for hint in self.hints if hint.matches(operation)), None)


def is_called(provider: Provider, name: str) -> bool:
    """True if `name` means this provider of a session."""
    return name in (provider.label, f"{provider.name}:{provider.place.index}")


def parse_hints(text: str) -> Hints:
    """Hints from the text described in this module's docstring.

    Raises:
        InvalidArgument: a part is not of that form; quotes it.
    """
    hints: list[Hint] = []
    mode, split = "balanced", tuple[str, ...]()
    for part in (p.strip() for p in text.split(";")):
        if not part:
            continue
        left, equals, right = part.partition("=")
        kind, colon, pattern = left.partition(":")
        if left == "mode" and right in MODES:
            mode = right
        elif left == "split" and "," in right and all(names := [name.strip() for name in right.split(",")]):
            split = tuple(names)
        elif equals and colon and kind in ("name", "op") and pattern and right:
            hints.append(Hint(kind, pattern, right.rstrip("!"), right.endswith("!")))
        else:
            raise InvalidArgument(
                f"placement hint {part!r} is not understood: expected name:PATTERN=PROVIDER, op:OPERATOR=PROVIDER "
                f"(with ! for a hard hint), split=PROVIDER,PROVIDER or mode={'|'.join(MODES)}"
            )
    return Hints(tuple(hints), mode, split)
