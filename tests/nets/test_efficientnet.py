"""EfficientNet-Lite0: its convolutions, its size, strict loading, and cats told from dogs."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddib_jax import pretrained
from ddib_jax.data import image_folder
from ddib_jax.evaluation import Classifier, classify
from ddib_jax.nets.efficientnet import FEATURES, DepthwiseConv, EfficientNetLite0
from ddib_jax.pretrained.torch_names import state_dict

pytestmark = pytest.mark.slow

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
CATS, DOGS = range(281, 286), range(151, 269)


@pytest.mark.parametrize(
    ("side", "stride", "size"), [(3, 1, 8), (3, 2, 8), (3, 2, 7), (5, 1, 9), (5, 2, 8), (5, 2, 11)]
)
def test_shifted_images_make_the_grouped_convolution(side, stride, size):
    layer = DepthwiseConv(side, stride)
    x = jax.random.normal(jax.random.key(0), (2, size, size + 2, 6))
    params = layer.init(jax.random.key(1), x)
    layout = ("NHWC", "HWIO", "NHWC")
    whole = jax.lax.conv_general_dilated(
        x,
        params["params"]["kernel"],
        (stride, stride),
        "SAME",
        dimension_numbers=layout,
        feature_group_count=6,
    )
    np.testing.assert_allclose(layer.apply(params, x), whole, atol=1e-5)


@pytest.fixture(scope="module")
def weights():
    """Random weights as torch names them."""
    variables = jax.jit(EfficientNetLite0().init)(jax.random.key(0), jnp.zeros((1, 32, 32, 3)))
    return variables["params"], state_dict(variables["params"])


def test_size_and_names(weights):
    """4.65 million parameters (its authors' table), under the names of the PyTorch package."""
    _, state = weights
    learnt = sum(array.size for name, array in state.items() if "running" not in name)
    assert learnt == 4_652_008
    assert {
        "_conv_stem.weight",
        "_blocks.15._project_conv.weight",
        "_blocks.1._bn0.running_var",
        "_fc.bias",
    } <= state.keys()
    assert state["_blocks.1._depthwise_conv.weight"].shape == (96, 1, 3, 3)


def test_weights_are_read_strictly(weights, tmp_path):
    params, state = weights
    np.savez(tmp_path / "whole.npz", **state)
    loaded, network = pretrained.load_efficientnet(tmp_path / "whole.npz")
    assert jax.tree.all(jax.tree.map(np.array_equal, loaded, params))
    logits, features = network.apply({"params": loaded}, jnp.zeros((2, 40, 40, 3)))
    assert logits.shape == (2, 1000)
    assert features.shape == (2, FEATURES)
    less = {name: array for name, array in state.items() if name != "_fc.bias"}
    np.savez(tmp_path / "less.npz", **less)
    with pytest.raises(ValueError, match=r"_fc\.bias is missing"):
        pretrained.load_efficientnet(tmp_path / "less.npz")
    (tmp_path / "cut.npz").write_bytes((tmp_path / "whole.npz").read_bytes()[:1000])
    with pytest.raises(ValueError, match=r"cut\.npz is no \.npz file of arrays"):
        pretrained.load_efficientnet(tmp_path / "cut.npz")
    with pytest.raises(FileNotFoundError, match="There is no file of weights"):
        pretrained.load_efficientnet(tmp_path / "none.npz")


def test_it_knows_cats_from_dogs():
    path = SHARED / "nets" / "efficientnet_lite0_f16.npz"
    if not path.is_file():
        pytest.skip(
            "EfficientNet-Lite0's weights are not in ../shared/data/nets beside the repository"
        )
    classifier = Classifier(*pretrained.load_efficientnet(path))
    margins = []
    for species in ("cats", "dogs"):
        images = image_folder(SHARED / "cats_dogs_64" / "test" / species).take(range(40))
        logits, _ = classify(classifier, images, batch_size=20)
        cat, dog = (np.logaddexp.reduce(logits[:, group], axis=1) for group in (CATS, DOGS))
        margins.append(dog - cat)
    assert np.mean(margins[1][:, None] > margins[0][None]) >= 0.95, (
        "the area under the curve; .99 of a thousand each"
    )
