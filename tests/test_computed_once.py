"""Properties that are computed once, in programs of several threads and processes."""

from __future__ import annotations

import threading

from onnxgpu.computed_once import computed_once


class Slow:
    """`value` takes until `may_end` is set."""

    def __init__(self) -> None:
        self.calls = 0
        self.begun, self.may_end = threading.Event(), threading.Event()

    @computed_once
    def value(self) -> int:
        """How often it was computed."""
        self.calls += 1
        self.begun.set()
        assert self.may_end.wait(60)
        return self.calls


def test_it_is_kept() -> None:
    slow = Slow()
    slow.may_end.set()
    assert [slow.value, slow.value] == [1, 1]
    assert Slow.value.__doc__ == "How often it was computed."


def test_no_object_waits_for_another() -> None:
    """Nor does a child that was forked meanwhile, where nobody would ever release a lock."""
    first, second = Slow(), Slow()
    thread = threading.Thread(target=lambda: first.value)
    thread.start()
    try:
        assert first.begun.wait(60)
        second.may_end.set()
        answers: list[int] = []
        other = threading.Thread(target=lambda: answers.append(second.value), daemon=True)
        other.start()
        other.join(60)
        assert answers == [1]
    finally:
        first.may_end.set()
        thread.join()
