"""The chain of background stages: order, how far ahead it runs, errors, and that its threads end."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from wavestream.engine.prefetch import prefetch


def double(value: int) -> int:
    return 2 * value


def plus_one(value: int) -> int:
    return value + 1


def prefetch_threads() -> list[str]:
    return [
        thread.name for thread in threading.enumerate() if thread.name.startswith(("wavestream-double", "wavestream-p"))
    ]


@pytest.mark.parametrize("depth", [0, 1, 2, 50])
@pytest.mark.parametrize("count", [0, 1, 2, 30])
def test_every_request_passes_every_stage_in_order(depth: int, count: int) -> None:
    assert list(prefetch(range(count), [double, plus_one], depth)) == [2 * value + 1 for value in range(count)]
    assert prefetch_threads() == []


@pytest.mark.parametrize("depth", [0, 1, 3])
def test_requests_are_drawn_by_the_consumer_at_most_depth_ahead(depth: int) -> None:
    drawn: list[tuple[int, int]] = []

    def requests() -> Iterator[int]:
        for value in range(10):
            drawn.append((value, threading.get_ident()))
            yield value

    iterator = prefetch(requests(), [double], depth)
    assert drawn == []
    for taken in range(1, 6):
        next(iterator)
        assert len(drawn) == taken + depth
    iterator.close()
    assert {thread for _, thread in drawn} == {threading.get_ident()}


def test_stages_overlap_and_each_is_one_thread() -> None:
    both = threading.Barrier(2, timeout=30)
    seen: dict[str, set[int]] = {"first": set(), "second": set()}

    def first(value: int) -> int:
        seen["first"].add(threading.get_ident())
        if value > 0:
            both.wait()
        return value

    def second(value: int) -> int:
        seen["second"].add(threading.get_ident())
        if value < 4:
            both.wait()
        return value

    # Each wait ends only if stage 2 of a request runs while stage 1 of the next does.
    assert list(prefetch(range(5), [first, second], 2)) == list(range(5))
    assert len(seen["first"]) == len(seen["second"]) == 1
    assert seen["first"].isdisjoint(seen["second"])


def test_an_error_is_raised_at_its_turn_and_ends_the_threads() -> None:
    def fails_at_three(value: int) -> int:
        if value == 3:
            raise ValueError("three")
        return value

    for stages, before in (([fails_at_three, plus_one], [1, 2, 3]), ([plus_one, fails_at_three], [1, 2])):
        taken: list[Any] = []
        with pytest.raises(ValueError, match="three"):
            taken.extend(prefetch(range(10), stages, 4))
        assert taken == before
        for value in prefetch(range(10), stages, 4):
            if value == 2:
                break
        assert prefetch_threads() == []


def test_an_error_of_the_source_reaches_the_consumer() -> None:
    def requests() -> Iterator[int]:
        yield 1
        raise KeyError("sampler")

    with pytest.raises(KeyError, match="sampler"):
        list(prefetch(requests(), [double], 2))
    assert prefetch_threads() == []


def test_dropping_the_generator_waits_for_the_running_stage_only() -> None:
    done = []

    def double(value: int) -> int:
        time.sleep(0.05)
        done.append(value)
        return value

    iterator = prefetch(range(1000), [double], 100)
    next(iterator)
    del iterator
    gc.collect()
    finished = len(done)
    assert finished < 100
    assert prefetch_threads() == []
    time.sleep(0.1)
    assert len(done) == finished
