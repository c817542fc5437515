"""Pictures that wait for the same pass are taken along by it."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor

from fst.serve.batching import MOST_PX, Batcher


class SlowNetwork:
    """Returns what was given plus one, once it may; remembers how many pictures came at once."""

    def __init__(self) -> None:
        self.may = threading.Event()
        self.entered = threading.Event()
        self.passes: list[int] = []

    def __call__(self, pictures: Tensor) -> Tensor:
        self.passes.append(len(pictures))
        self.entered.set()
        assert self.may.wait(10)
        if bool((pictures == 99).any()):
            raise ValueError("a picture at fault")
        return pictures + 1


def numbered(number: int, side: int = 8) -> Tensor:
    return torch.full((1, 3, side, side), number, dtype=torch.uint8)


def all_at_once(batcher: Batcher, network: SlowNetwork, asked: list[tuple[str, Tensor]]) -> list:
    """The results of all, the others of which came during the first's pass."""
    with ThreadPoolExecutor(len(asked)) as threads:
        futures = [threads.submit(batcher.render, *asked[0], network)]
        assert network.entered.wait(10)
        futures += [threads.submit(batcher.render, *each, network) for each in asked[1:]]
        while sum(map(len, batcher._waiting.values())) < len(asked) - 1:
            pass
        network.may.set()
        return [future.exception() or future.result() for future in futures]


def test_those_who_wait_for_the_same_share_a_pass_and_get_their_own_result():
    network, told = SlowNetwork(), []
    asked = [("a" if number % 2 else "b", numbered(number)) for number in range(9)]
    results = all_at_once(Batcher(1, told.append), network, asked)
    assert [int(result.unique()) for result in results] == list(range(1, 10))
    assert sorted(network.passes) == sorted(told) == [1, 4, 4]


def test_a_picture_at_fault_fails_alone():
    network = SlowNetwork()
    numbers = [0, 1, 99, 3]
    results = all_at_once(Batcher(1), network, [("a", numbered(number)) for number in numbers])
    assert [isinstance(result, ValueError) for result in results] == [False, False, True, False]
    assert [int(result.unique()) for result in (results[0], results[1], results[3])] == [1, 2, 4]
    assert network.passes == [1, 3, 1, 1, 1]


def test_a_pass_takes_no_more_pixels_than_it_may():
    side = int((MOST_PX / 2.5) ** 0.5)
    network = SlowNetwork()
    asked = [("a", numbered(number, side)) for number in range(6)]
    results = all_at_once(Batcher(1), network, asked)
    assert [int(result.unique()) for result in results] == list(range(1, 7))
    assert sorted(network.passes) == [1, 1, 2, 2]


@pytest.mark.parametrize("passes", [1, 2])
def test_under_load_everybody_gets_the_own_result(passes: int):
    batcher = Batcher(passes)
    with ThreadPoolExecutor(8) as threads:
        futures = [
            threads.submit(batcher.render, number % 3, numbered(number), lambda given: given + 1)
            for number in range(200)
        ]
        assert [int(future.result().unique()) for future in futures] == list(range(1, 201))
    assert not batcher._waiting
