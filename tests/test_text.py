"""The tokenizer: CLIP's ids, the spans of words, and what is said of wrong files and prompts."""

import gzip
import importlib.util
import json
import random
import warnings
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from ddib_jax.text import Span, learn_tokenizer, read_tokenizer

pytest.importorskip("tokenizers", reason="tokenizers is not installed (extra 'text')")

WORDS = ("a", "photo", "of", "an", "astronaut", "riding", "horse", "sevens", "cat", "café")
"""Of which the small vocabulary has merges, from left to right."""
BYTES = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAC + 1), *range(0xAE, 0xFF + 1)]
SIGNS = (
    "abcdefghijklmnopqrstuvwxyz     ABC!?',.;:-_()[]{}<>|/\\\"éüñçøßåжш中文日本語한국어"
    "🎨🐶👩‍👩‍👧🏳️‍🌈0123456789\t\n’“”…—€™"
)
PROMPTS = [
    "",
    "  ",
    "a photo of an astronaut riding a horse",
    "A  Photo\tof\nan ASTRONAUT",
    "it's a cat, a CAFÉ, a cafe\u0301!!!",
    "hi !there! !!",
    "red-haired 1234 2,000.50",
    "<|endoftext|> sevens <|STARTOFTEXT|>",
    "İstanbul ǅ ß ﬁ",
    "cat " * 100,
    "x" * 300,
]


def prompts():
    """Two hundred of them: emoji, accents, long words, more than 77 tokens."""
    rng = random.Random(0)
    drawn = ["".join(rng.choices(SIGNS, k=rng.randint(1, 200))) for _ in range(200 - len(PROMPTS))]
    return PROMPTS + drawn


def write(folder, merges, *, pad, config=None):
    """A tokenizer's folder as transformers wrote them before 5."""
    signs = [*BYTES, *range(256, 256 + 256 - len(BYTES))]
    signs = [*map(chr, signs)]
    tokens = [*signs, *(sign + "</w>" for sign in signs), *map("".join, merges)]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    special = lambda content: {
        "content": content,
        "lstrip": False,
        "normalized": True,
        "rstrip": False,
        "single_word": False,
    }
    end = special("<|endoftext|>")
    marks = {"bos_token": special("<|startoftext|>"), "eos_token": end, "unk_token": end}
    contents = {
        "vocab.json": {token: number for number, token in enumerate(tokens)},
        "special_tokens_map.json": marks | {"pad_token": pad},
        # Which says the wrong pad of Stable Diffusion 2, as its own file does.
        "tokenizer_config.json": {"pad_token": "<|endoftext|>", "model_max_length": 77}
        | (config or {}),
    }
    folder.mkdir()
    for name, value in contents.items():
        (folder / name).write_text(json.dumps(value))
    lines = ["#version: 0.2", *(" ".join(pair) for pair in merges), ""]
    (folder / "merges.txt").write_text("\n".join(lines), encoding="utf-8")
    return folder


def small_merges():
    merges = {}
    for word in WORDS:
        signs = [chr(byte) for byte in word.encode()]  # none of these bytes is renamed
        signs = [*signs[:-1], signs[-1] + "</w>"]
        while len(signs) > 1:
            merges[signs[0], signs[1]] = None
            signs = [signs[0] + signs[1], *signs[2:]]
    return list(merges)


def clip_merges():
    """CLIP's, which open_clip brings along; it is not imported, for that takes torchvision."""
    spec = importlib.util.find_spec("open_clip")
    path = spec and Path(spec.origin).with_name("bpe_simple_vocab_16e6.txt.gz")
    if not path or not path.is_file():
        pytest.skip("CLIP's vocabulary is not here (it lies in open_clip_torch)")
    lines = gzip.decompress(path.read_bytes()).decode().split("\n")
    return [tuple(line.split()) for line in lines[1 : 49152 - 256 - 2 + 1]]


def quietly(tokenizer, prompt):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return tokenizer(prompt)


@pytest.fixture
def folder(tmp_path):
    return write(tmp_path / "tokenizer", small_merges(), pad="<|endoftext|>")


@pytest.mark.parametrize("pad", ["<|endoftext|>", "!"])
@pytest.mark.parametrize("vocabulary", ["small", "clip"])
def test_ids_are_those_of_transformers(tmp_path, vocabulary, pad):
    transformers = pytest.importorskip("transformers", minversion="5")
    merges = small_merges() if vocabulary == "small" else clip_merges()
    folder = write(tmp_path / "tokenizer", merges, pad=pad)
    mine, theirs = read_tokenizer(folder), transformers.CLIPTokenizer.from_pretrained(folder)
    options = {"padding": "max_length", "truncation": True, "max_length": 77}
    expected = theirs(prompts(), **options).input_ids
    np.testing.assert_array_equal([quietly(mine, p).ids for p in prompts()], expected)


def test_ids_of_the_small_vocabulary(folder):
    """Ids that transformers 5 gave, so that there is a test without it."""
    tokenizer = read_tokenizer(folder)
    size = 512 + len(small_merges()) + 2
    ids = tokenizer("A photo of a CAFÉ, riding!").ids
    words = [tokenizer.bpe.id_to_token(int(number)) for number in ids[:9]]
    assert words == [
        "<|startoftext|>", "a</w>", "photo</w>", "of</w>", "a</w>", "cafÃ©</w>", ",</w>",
        "riding</w>", "!</w>",
    ]  # fmt: skip
    assert ids[0] == size - 2
    assert set(ids[9:]) == {size - 1}


def test_stable_diffusion_2_pads_with_an_exclamation_mark(tmp_path):
    folder = write(tmp_path / "tokenizer", small_merges(), pad="!")
    ids = read_tokenizer(folder)("a cat!").ids
    assert ids[3] == 0  # the mark in the prompt is the pad too, not the end of a word
    assert set(ids[5:]) == {0}


def test_words_have_spans(folder):
    ids, spans = read_tokenizer(folder)("a Red-haired  cafe\u0301 cat")
    assert [span.word for span in spans] == ["a", "Red", "-", "haired", "café", "cat"]
    assert spans[0] == Span("a", 1, 2)
    assert spans[3].stop - spans[3].start > 1
    for before, after in pairwise(spans):
        assert before.stop == after.start
    assert ids[spans[-1].stop] == ids[-1]  # the end stands behind the last word


def test_what_does_not_fit_is_dropped_with_a_warning(folder):
    tokenizer = read_tokenizer(folder)
    with pytest.warns(UserWarning, match="room for 75 tokens.*dropped are: haired of red$"):
        ids, spans = tokenizer("cat " * 74 + "haired of red")
    assert len(ids) == 77
    assert [span.word for span in spans] == ["cat"] * 74
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert tokenizer("cat " * 75).spans[-1].stop == 76


def test_tokenizer_json_alone_is_enough(folder, tmp_path):
    contents = {
        "model": {
            "type": "BPE",
            "vocab": json.loads((folder / "vocab.json").read_text()),
            "merges": [" ".join(pair) for pair in small_merges()],
        },
        "added_tokens": [
            {"id": 512 + len(small_merges()) + 2, "content": "<mine>", "special": False}
        ],
    }
    alone = tmp_path / "alone"
    alone.mkdir()
    (alone / "tokenizer.json").write_text(json.dumps(contents))
    ids = read_tokenizer(alone)("a <mine> cat").ids
    assert ids[2] == contents["added_tokens"][0]["id"]
    plain = "a photo"
    np.testing.assert_array_equal(
        read_tokenizer(alone)(plain).ids, read_tokenizer(folder)(plain).ids
    )


def test_the_shorter_length_counts(tmp_path):
    folder = write(tmp_path / "a", small_merges(), pad="!", config={"model_max_length": 1e30})
    assert len(read_tokenizer(folder)("").ids) == 77
    assert len(read_tokenizer(folder, length=16)("").ids) == 16
    folder = write(tmp_path / "b", small_merges(), pad="!", config={"model_max_length": 32})
    assert len(read_tokenizer(folder)("").ids) == 32


@pytest.mark.parametrize(
    ("file", "contents", "words"),
    [
        ("special_tokens_map.json", '{"pad_token": "<pad>"}', "has no token '<pad>'"),
        ("special_tokens_map.json", '{"pad_token": 3}', "the special token 3, which is no word"),
        ("special_tokens_map.json", "[]", "holds no object"),
        ("vocab.json", "{", "is not valid JSON"),
        ("merges.txt", "#\na b c\n", "damaged vocabulary"),
        ("merges.txt", "#\nqq zz\n", "cannot be used"),
    ],
)
def test_damaged_files_are_refused_in_a_sentence(folder, file, contents, words):
    (folder / file).write_text(contents)
    with pytest.raises(ValueError, match=words):
        read_tokenizer(folder)


def test_no_tokenizer_and_no_text(tmp_path, folder):
    with pytest.raises(FileNotFoundError, match=r"holds no tokenizer; vocab\.json and merges\.txt"):
        read_tokenizer(tmp_path)
    with pytest.raises(ValueError, match="is no text in Unicode"):
        read_tokenizer(folder)("a \udce9")


CAPTIONS = ("a bold red seven on white", "an orange eight", "A RED seven", "zwei grüne Häuser")


def test_a_tokenizer_is_learnt_from_captions(tmp_path):
    """The frequent words are one token each, and anything else can still be spelt."""
    learnt = learn_tokenizer(CAPTIONS * 3, tmp_path / "a", size=700)
    assert 514 < learnt.size <= 700
    assert [span.stop - span.start for span in learnt("a bold RED seven").spans] == [1] * 4
    assert [span.stop - span.start for span in learnt("grüne  Häuser").spans] == [1, 1]
    assert len(learnt("").ids) == 8  # the longest caption has six words; start and end
    assert {*learnt("").ids} == {learnt.start, learnt.end}
    strange = "xylophone, 42 — 日本 🎨 ÿ!"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it has no room for them all
        assert [*learnt.bpe.encode(strange).tokens]
    tokens = [learnt.bpe.id_to_token(i) for i in learnt.bpe.encode(strange).ids]
    signs = {chr(b) for b in BYTES} | {chr(n) for n in range(256, 256 + 256 - len(BYTES))}
    assert set("".join(token.removesuffix("</w>") for token in tokens)) <= signs
    assert learnt.bpe.encode("xyz").tokens == ["x", "y", "z</w>"]


def test_learning_is_deterministic_and_a_round_trip(tmp_path):
    one, again = (learn_tokenizer(CAPTIONS, tmp_path / name, size=600) for name in "ab")
    for name in ("vocab.json", "merges.txt", "tokenizer_config.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    read = read_tokenizer(tmp_path / "a")
    read.save(tmp_path / "c")
    for text in (*CAPTIONS, "", "something else", "<|endoftext|>"):
        ids = [
            quietly(each, text).ids for each in (one, again, read, read_tokenizer(tmp_path / "c"))
        ]
        np.testing.assert_array_equal(ids, [ids[0]] * 4)
    assert (read.start, read.end, read.pad, read.length) == (
        one.start,
        one.end,
        one.pad,
        one.length,
    )
    assert read.size == one.size


def test_every_byte_is_in_the_smallest_vocabulary(tmp_path):
    smallest = learn_tokenizer(["a b"], tmp_path / "small", size=514)
    assert smallest.size == 514
    text = "日本 ÿ"
    spelt = smallest.bpe.encode(text).ids
    assert len(spelt) == len("日本ÿ".encode())
    with pytest.raises(ValueError, match="513 has no room for all bytes; give at least 514"):
        learn_tokenizer(["a"], tmp_path / "none", size=513)


def test_a_long_caption_is_no_longer_than_clips(tmp_path):
    assert learn_tokenizer(["cat " * 200], tmp_path / "long", size=600).length == 77
    assert learn_tokenizer([], tmp_path / "none", size=600).length == 4
