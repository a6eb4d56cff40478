"""Every operator schema of ONNX on generated inputs, against onnxruntime and `onnx.reference` (see `tests/schemas`)."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Flaky

from tests.schemas.disagreements import KNOWN, Disagreement
from tests.schemas.draw import Draw
from tests.schemas.examples import Example
from tests.schemas.not_comparable import reason
from tests.schemas.operators import GENERATORS
from tests.schemas.verdict import is_needed, judge

FEW, MANY = 4, 60
"""Examples a schema: in every run, and in the long sweep."""

SCHEMAS = sorted(onnx.defs.get_all_schemas_with_history(), key=lambda s: (s.domain, s.name, s.since_version))
GENERATED = [schema for schema in SCHEMAS if not schema.deprecated and (schema.domain, schema.name) in GENERATORS]


def name(schema: onnx.defs.OpSchema) -> str:
    return f"{schema.domain + '.' if schema.domain else ''}{schema.name}-{schema.since_version}"


def example_of(data: Any, schema: onnx.defs.OpSchema) -> Example:
    """A drawn example; a third with unknown sizes, a quarter with every input but the first as an initializer."""
    draw = Draw(data, schema)
    example = GENERATORS[schema.domain, schema.name](draw)
    return replace(example.with_constants() if draw.integer(0, 3) == 3 else example, symbolic=draw.integer(0, 2) == 2)


def sweep(schema: onnx.defs.OpSchema, count: int) -> Counter[str]:
    """Judge `count` examples; gives how often each oracle decided."""
    verdicts: Counter[str] = Counter()

    @settings(derandomize=True, max_examples=count, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(data=st.data())
    def judged(data: Any) -> None:
        verdicts[judge(schema, example_of(data, schema))] += 1

    judged()
    return verdicts


def test_every_schema_is_compared_or_has_a_reason() -> None:
    """Counts them; docs/testing.md has the count."""
    lost = [name(schema) for schema in SCHEMAS if reason(schema) is None and schema not in GENERATED]
    assert not lost, f"neither a generator in tests/schemas/operators nor a reason in not_comparable.py: {lost}"
    compared = [schema for schema in SCHEMAS if reason(schema) is None]
    operators_compared = {(schema.domain, schema.name) for schema in compared}
    count = f"{len(compared)} of {len(SCHEMAS)} schemas, of {len(operators_compared)} operators"
    print(count)
    assert count in (Path(__file__).parents[1] / "docs" / "testing.md").read_text().replace("\n", " ")


@pytest.mark.parametrize("schema", GENERATED, ids=name)
def test_schema(schema: onnx.defs.OpSchema) -> None:
    sweep(schema, FEW)


@pytest.mark.slow
@pytest.mark.parametrize("schema", GENERATED, ids=name)
def test_schema_at_length(schema: onnx.defs.OpSchema) -> None:
    """Many examples, and an oracle runs some of them if and only if the schema has no reason not to be compared."""
    verdicts = sweep(schema, MANY)
    assert (verdicts["onnxruntime"] + verdicts["reference"] > 0) == (reason(schema) is None), dict(verdicts)


class Met(Exception):
    """An example that a known disagreement explains."""


@pytest.mark.slow
@pytest.mark.parametrize("entry", KNOWN, ids=str)
def test_known_disagreement(entry: Disagreement) -> None:
    """An entry that no example meets any more, or whose oracle is right, has to go; the search ends at the first that needs it."""
    named = [schema for schema in GENERATED if (schema.domain, schema.name) == (entry.domain, entry.operator)]
    concerned = [schema for schema in named if entry.since <= schema.since_version <= entry.until]

    @settings(
        derandomize=True,
        max_examples=30 * MANY,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
    )
    @given(data=st.data(), schema=st.sampled_from(concerned))
    def looked(data: Any, schema: onnx.defs.OpSchema) -> None:
        if is_needed(entry, schema, example_of(data, schema)):
            raise Met

    with pytest.raises((Met, Flaky)):  # what an oracle reads from uninitialised memory is not the same when it is looked at again
        looked()
