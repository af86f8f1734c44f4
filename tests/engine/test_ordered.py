"""map_ordered: order, how far it runs ahead, and how it ends."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from wavestream.engine.ordered import map_ordered


def threads_of_map() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("wavestream-map")]


def test_results_come_in_order_from_several_threads() -> None:
    seen = set()

    def slow_first(item: int) -> int:
        seen.add(threading.current_thread().name)
        time.sleep(0.02 if item % 4 == 0 else 0)
        return item * item

    assert list(map_ordered(slow_first, range(40), 4)) == [item * item for item in range(40)]
    assert len(seen) > 1
    assert list(map_ordered(slow_first, [], 4)) == []
    assert not threads_of_map()


def test_it_runs_ahead_by_twice_its_threads_only() -> None:
    drawn = []

    def items() -> Iterator[int]:
        for item in range(100):
            drawn.append(item)
            yield item

    results = map_ordered(lambda item: item, items(), 3)
    assert drawn == []
    assert next(results) == 0
    assert len(drawn) == 6
    assert next(results) == 1
    assert len(drawn) == 7
    results.close()
    assert not threads_of_map()


def test_an_error_is_raised_at_its_turn_and_ends_the_threads() -> None:
    def fail_at_3(item: int) -> int:
        if item == 3:
            raise ValueError("three")
        return item

    results = map_ordered(fail_at_3, range(10), 2)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="three"):
        next(results)
    assert not threads_of_map()
