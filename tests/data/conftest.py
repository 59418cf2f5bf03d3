from pathlib import Path

import pytest

from ddib_jax.data import bundled_digits

SHARED_MNIST = Path(__file__).resolve().parents[3] / "shared" / "data" / "mnist"


@pytest.fixture
def idx_directory():
    if not SHARED_MNIST.is_dir():
        pytest.skip("MNIST's IDX files are not in ../shared/data/mnist beside the repository")
    return SHARED_MNIST


@pytest.fixture(params=["train", "test"])
def split(request):
    return request.param


@pytest.fixture
def fives():
    return bundled_digits("test").only([5])
