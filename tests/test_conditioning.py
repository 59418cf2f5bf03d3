"""Conditioners: words to conditions, and what their error sentences say."""

import numpy as np
import pytest

from ddib_jax.conditioning import Classes, Conditioner, Embeddings, Numbers, Prompts
from ddib_jax.nets import MLP, DhariwalUNet, SongUNet, UNet, UNet2D
from ddib_jax.pretrained.checkpoint import conditioner_of

ANIMALS = Classes(("cat", "dog"), 2, 2, "'animals'")


def lengths(prompts):
    """An encoder that says of a text how long it is."""
    counts = np.asarray([[len(prompt)] for prompt in prompts], np.float32)
    return {"text": counts, "pooled": 2 * counts, "size": np.full_like(counts, 64)}


def unread(prompt):
    raise AssertionError("a condition needs no tokens")


PROMPTS = Prompts(lengths, unread, blank=("text", "pooled"), whose="'painter'")


@pytest.mark.parametrize("conditioner", [ANIMALS, Numbers(), Embeddings((3,)), PROMPTS])
def test_they_are_what_the_protocol_says(conditioner):
    assert isinstance(conditioner, Conditioner)


def test_classes_by_name_or_number():
    labels = ANIMALS(["dog", "0", "cat", "1"])
    assert labels.tolist() == [1, 0, 0, 1]
    assert labels.dtype == np.int32
    assert (ANIMALS.null, ANIMALS.vocabulary) == (2, ("cat", "dog"))
    nameless = Classes((), 3)
    assert nameless(["2"]).tolist() == [2]
    assert (nameless.null, nameless.vocabulary) == (None, ("0", "1", "2"))
    for conditioner in (ANIMALS, nameless):
        assert len(conditioner(conditioner.vocabulary)) == conditioner.count


def test_a_name_comes_before_a_number():
    assert Classes(("1", "0"), 2)(["1", "0"]).tolist() == [0, 1]


def test_numbers_are_any():
    assert Numbers()(["7", "900"]).tolist() == [7, 900]
    assert (Numbers().null, Numbers().vocabulary) == (None, ())


def test_embeddings_are_files(tmp_path):
    values = np.arange(12.0).reshape(2, 2, 3)
    paths = [tmp_path / name for name in ("a.npy", "b.npy")]
    for path, value in zip(paths, values, strict=True):
        np.save(path, value)
    embeddings = Embeddings((2, 3))(list(map(str, paths)))
    np.testing.assert_array_equal(embeddings, values)
    assert embeddings.dtype == np.float32
    assert (Embeddings((2, 3)).null, Embeddings((2, 3)).vocabulary) == (None, ())
    none = np.zeros(3)
    assert Embeddings((3,), none).null is none


@pytest.mark.parametrize(
    ("conditioner", "words", "said"),
    [
        (ANIMALS, [], r"'animals' has classes \(cat, dog\); say which by its name or number\."),
        (ANIMALS, ["cat", "cow"], "'animals' has no class 'cow'; its classes are cat, dog"),
        (ANIMALS, ["2"], "'animals' has no class '2'"),
        (ANIMALS, ["-1"], "'animals' has no class '-1'"),
        (Classes((), 1000), ["1000"], "The model has no class '1000'; its classes are 0 to 999"),
        (Classes(tuple("abcdefghijklmn"), 14), [], r"a, b, c, d, e, f, g, h, i, j, k, l, \.\.\.\)"),
        (Numbers("'it'"), [], "'it' is told its class as any whole number; say which"),
        (ANIMALS, ["²"], "'animals' has no class '²'"),
        (Numbers(), [str(2**31)], "any whole number; say which, not '2147483648'"),
        (Numbers(), ["3", "cat"], "any whole number; say which, not 'cat'"),
        (Embeddings((2, 3)), [], "is told embeddings, not classes; name a .npy file with one of 2"),
        (Embeddings((3,)), ["nowhere.npy"], "'nowhere.npy' is no .npy file that can be read"),
    ],
)
def test_words_that_mean_nothing_are_refused(conditioner, words, said):
    with pytest.raises(ValueError, match=said):
        conditioner(words)


@pytest.mark.parametrize(
    ("stored", "said"),
    [
        (np.zeros((3, 2)), "is told embeddings of 2 x 3; '.*' holds 3 x 2"),
        (np.full((2, 3), np.nan), "holds values that are no finite numbers"),
        (np.asarray([["a"] * 3] * 2), "holds values that are no finite numbers"),
        (np.asarray([object()]), "is no .npy file that can be read"),
    ],
)
def test_files_that_hold_no_embedding_are_refused(tmp_path, stored, said):
    np.save(tmp_path / "a.npy", stored)
    with pytest.raises(ValueError, match=said):
        Embeddings((2, 3))([str(tmp_path / "a.npy")])


SMALL = {"img_resolution": 8, "label_dim": 4}
OF_NETWORKS = [
    (MLP(), (), None),
    (UNet(), (), None),
    (UNet2D(), (), None),
    (SongUNet(), (), None),
    (UNet(num_classes=4), (), Classes((), 4, None, "'it'")),
    (UNet(num_classes=4), tuple("abcd"), Classes(tuple("abcd"), 4, None, "'it'")),
    (UNet(num_classes=5), tuple("abcd"), Classes(tuple("abcd"), 4, 4, "'it'")),
    (UNet2D(num_class_embeds=4), (), Classes((), 4, None, "'it'")),
    (UNet2D(class_embed_type="timestep", num_class_embeds=4), (), Numbers("'it'")),
    (UNet2D(class_embed_type="identity"), (), Embeddings((896,), None, "'it'")),
    (SongUNet(**SMALL), (), Classes((), 4, None, "'it'")),
    (SongUNet(**SMALL, label_dropout=0.1), (), Classes((), 4, 4, "'it'")),
    (DhariwalUNet(**SMALL, label_dropout=0.1), tuple("abcd"), Classes(tuple("abcd"), 4, 4, "'it'")),
]


@pytest.mark.parametrize(("network", "names", "expected"), OF_NETWORKS)
def test_conditioners_of_networks(network, names, expected):
    """Each gives conditions of its network's spec, and a null of it."""
    conditioner = conditioner_of(network, names, "it")
    assert conditioner == expected
    spec = network.condition_spec()
    assert (conditioner is None) == (spec is None)
    if conditioner is not None and conditioner.vocabulary:
        conds = conditioner(conditioner.vocabulary)
        assert conds.shape[1:] == spec.shape
        assert conds.dtype == spec.dtype


def test_more_names_than_labels_are_refused():
    with pytest.raises(ValueError, match="'it' has 2 classes and 3 names for them"):
        conditioner_of(UNet(num_classes=2), tuple("abc"), "it")


def test_prompts_are_encoded_together():
    told = PROMPTS(["a cat", ""])
    assert told["text"].tolist() == [[5], [0]]
    assert told["size"].tolist() == [[64], [64]]
    assert PROMPTS.vocabulary == ()
    with pytest.raises(ValueError, match="'painter' is told a text of every image; say one"):
        PROMPTS([])


def test_no_negative_prompt_is_blank_where_a_model_was_trained_so():
    values = lambda null: [float(null[name][0]) for name in ("text", "pooled", "size")]
    assert values(PROMPTS.null) == [0, 0, 64]
    assert values(PROMPTS.away_from("ugly").null) == [4, 8, 64]
    assert values(
        Prompts(lambda prompts: lengths(["x" + each for each in prompts]), unread).null
    ) == [
        1,
        2,
        64,
    ]
