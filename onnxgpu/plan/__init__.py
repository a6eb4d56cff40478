"""Stage 5: placed graph to steps: transfers, lifetimes, memory."""

from onnxgpu.plan.bound import bound
from onnxgpu.plan.plan import make_plan, pruned, settled
from onnxgpu.plan.steps import ABSENT, DISCARD, BodyCall, Plan, Slot, Step

__all__ = ["ABSENT", "DISCARD", "BodyCall", "Plan", "Slot", "Step", "bound", "make_plan", "pruned", "settled"]
