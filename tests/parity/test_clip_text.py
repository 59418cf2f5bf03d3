"""CLIP's text encoder computes what transformers' does."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddib_jax.nets import CLIPText
from ddib_jax.nets.hooks import read
from tests.parity.twins import assert_same, randomised, weights_of

torch = pytest.importorskip("torch", reason="torch is not installed (extra 'parity')")
transformers = pytest.importorskip(
    "transformers", reason="transformers is not installed (extra 'parity')"
)

END = 99
PLAIN = {
    "vocab_size": 100,
    "hidden_size": 8,
    "intermediate_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "max_position_embeddings": 12,
    "eos_token_id": END,
}
ENCODERS = {
    "as 1": PLAIN,
    "an old configuration": PLAIN | {"eos_token_id": 2},
    "as 2": PLAIN | {"hidden_act": "gelu", "layer_norm_eps": 1e-3},
    "second of XL": PLAIN | {"hidden_act": "gelu", "projection_dim": 6},
    "tanh": PLAIN | {"hidden_act": "gelu_new", "projection_dim": 6, "eos_token_id": 2},
}
TOKENS = np.asarray([[98, 5, 17, END, END, END], [98, 3, END, 0, 0, 0], [98, 8, 2, 9, 1, END]])


@pytest.mark.parametrize("name", ENCODERS)
def test_it_agrees(name):
    options = ENCODERS[name]
    network = CLIPText(**options)
    config = transformers.CLIPTextConfig(**options, bos_token_id=98, pad_token_id=0)
    projected = network.projection_dim is not None
    kind = transformers.CLIPTextModelWithProjection if projected else transformers.CLIPTextModel
    twin = randomised(kind, config)
    tokens = jnp.asarray(TOKENS)
    # transformers 5 writes a plain encoder without this prefix, and reads it with or without.
    prefix = "" if projected else "text_model."
    variables = weights_of(network, (tokens,), twin, prefix=prefix)
    with torch.no_grad():
        output = twin(torch.from_numpy(TOKENS), output_hidden_states=True)
        norm = (twin.text_model if projected else twin).final_layer_norm
        pooled = output.text_embeds if projected else output.pooler_output
        states = [state.numpy() for state in output.hidden_states]
        normed = norm(output.hidden_states[-3]).numpy()

    sites = [f"text_model.encoder.layers.{layer}" for layer in range(3)]

    @jax.jit
    def encode(variables):
        last, values = read(network, sites, variables, tokens)
        penultimate = network.apply(variables, tokens, skip=1, final_norm=False)
        return last, penultimate, network.apply(variables, tokens, skip=2).hidden, values

    last, penultimate, skipped, values = encode(variables)
    assert_same(last.hidden, output.last_hidden_state.numpy())
    assert_same(penultimate.hidden, states[-2])
    assert_same(skipped, normed)
    for found in (last, penultimate):
        assert_same(found.pooled, pooled.numpy())
    for layer, site in enumerate(sites):
        assert_same(values[site], states[layer + 1])
