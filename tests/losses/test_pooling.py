"""Pooled statistics: several pictures are held against a style as one."""

from typing import cast

import pytest
import torch
from torch import Tensor

from fst.config import MomentsLossConfig
from fst.losses.objective import towards
from fst.losses.pooling import RunningPool, pool_batch
from fst.losses.relative import MomentsLoss
from fst.losses.vgg import load_vgg16


class OneTarget:
    """As much of an objective as a pool looks at: two styles with one statistic."""

    names = ("colours",)

    def __init__(self, pictures: int) -> None:
        self.loss = self
        self.config = MomentsLossConfig(style_pictures=pictures)

    def get_buffer(self, name: str) -> Tensor:
        return torch.tensor([[1.0, 1.0], [5.0, 5.0]])


def running(pictures: int) -> RunningPool:
    return RunningPool(OneTarget(pictures))  # type: ignore[arg-type]


def pool_one(pool: RunningPool, style: int, *values: float) -> list[float]:
    statistics = torch.tensor([values])
    pooled = pool(torch.tensor([style]), "colours", statistics)
    pool.advance()
    return cast("list[float]", pooled[0].tolist())


def test_pictures_are_pooled_as_an_exponential_moving_average_that_begins_at_the_style():
    pool = running(pictures=3)  # each new picture has a half
    assert pool_one(pool, 0, 3, 1) == [2, 1]
    assert pool_one(pool, 0, 0, 1) == [1, 1]
    assert pool_one(pool, 1, 5, 9) == [5, 7]  # another style has its own pool
    assert pool_one(pool, 0, 1, 3) == [1, 2]


def test_a_pool_of_one_picture_is_that_picture():
    pool = running(pictures=1)
    pool_one(pool, 0, 7, 7)
    assert pool_one(pool, 0, 3, -2) == [3, -2]


def test_the_order_of_pictures_in_a_batch_makes_no_difference():
    pools = running(4), running(4)
    statistics = torch.tensor([[3.0, 1.0], [0.0, 2.0], [6.0, 6.0]])
    styles = torch.tensor([0, 0, 1])
    for pool, order in zip(pools, ([0, 1, 2], [2, 1, 0]), strict=True):
        pool(styles[order], "colours", statistics[order])
        pool.advance()
    first, second = (pool.get_buffer("colours") for pool in pools)
    torch.testing.assert_close(first, second)


def test_pictures_in_one_batch_count_as_much_as_in_several():
    batch, single = running(4), running(4)
    batch(torch.zeros(8, dtype=torch.long), "colours", torch.full((8, 2), 3.0))
    batch.advance()
    for _ in range(8):
        pool_one(single, 0, 3, 3)
    torch.testing.assert_close(batch.get_buffer("colours"), single.get_buffer("colours"))


def test_what_is_not_finite_is_not_kept():
    pool = running(pictures=3)
    pool_one(pool, 0, float("inf"), 3)
    assert pool.get_buffer("colours")[0].tolist() == [1, 2]


@pytest.mark.parametrize("kind", ["batch", "running"])
def test_each_picture_has_the_gradient_that_its_own_statistics_would_have(kind):
    pool = pool_batch if kind == "batch" else running(4)
    statistics = torch.rand(3, 2, requires_grad=True)
    weights = torch.rand(3, 2)
    (weights * pool(torch.tensor([0, 0, 1]), "colours", statistics)).sum().backward()
    torch.testing.assert_close(statistics.grad, weights)


def test_a_batch_is_pooled_by_style():
    statistics = torch.tensor([[1.0], [3.0], [10.0]])
    pooled = pool_batch(torch.tensor([1, 1, 0]), "colours", statistics)
    assert pooled.flatten().tolist() == [2, 2, 10]


def test_pictures_that_have_the_painting_between_them_are_in_its_style(random_vgg):
    """A sky and a meadow, held against a painting of both."""
    torch.manual_seed(0)
    vgg = load_vgg16(random_vgg, "relu3_3", verify=False)
    config = MomentsLossConfig(style_layers=["relu1_2"], style_levels=1)
    sky, meadow = torch.rand(2, 3, 64, 64) * 0.3 + torch.tensor([0.0, 0.7]).view(2, 1, 1, 1)
    loss = MomentsLoss(vgg, config)
    both = towards(loss, [(sky[None], 0.5), (meadow[None], 0.5)])
    pictures = torch.stack([sky, meadow])
    styles = torch.zeros(2, dtype=torch.long)
    alone = both(pictures, pictures, styles)["style"]
    together = both(pictures, pictures, styles, pool_batch)["style"]
    assert together.max() < 1e-6 < 0.01 < alone.min()
