import pytest
from jaxtyping import config


@pytest.fixture
def unchecked():
    """The package's own checks alone: jaxtyping's, where the suite runs with them, would speak before."""
    before = config.jaxtyping_disable
    config.update("jaxtyping_disable", True)
    yield
    config.update("jaxtyping_disable", before)
