"""Prompts to the tokens of CLIP's text encoders, and which tokens a word became; no jax.

The tokenizer is a byte-level BPE over lower-cased words (Radford et al. 2021), by the library
`tokenizers` (extra `text`), from the files that models of diffusers bring in `tokenizer/`.
"""

import json
import math
import unicodedata
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from jaxtyping import Int

from ddib_jax.files import read_json

if TYPE_CHECKING:
    import tokenizers

_WORDS = (
    r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
)
"""What counts as a word: letters, one digit, an English ending, or other signs in a row."""
_SPECIAL = {
    "bos_token": "<|startoftext|>",
    "eos_token": "<|endoftext|>",
    "unk_token": "<|endoftext|>",
    "pad_token": "<|endoftext|>",
}
"""The tokens with a meaning of their own, unless the tokenizer's files name others."""
_FLAGS = ("single_word", "lstrip", "rstrip", "normalized", "special")
_BYTES = 514
"""Tokens of every vocabulary: the bytes, each within a word and at its end, start and end."""
LENGTH = 77
"""Tokens of a prompt, the first and the last one included, in every published CLIP."""


class Span(NamedTuple):
    """A word of a prompt and its tokens: `ids[start:stop]`."""

    word: str
    start: int
    stop: int


class Tokens(NamedTuple):
    """The tokens of one prompt.

    ids [n]: a start, the prompt's tokens, an end, and padding up to the tokenizer's length. spans:
    the prompt's words in order, as far as all of their tokens are in `ids`.
    """

    ids: Int[np.ndarray, " n"]
    spans: tuple[Span, ...]


@dataclass(frozen=True)
class Tokenizer:
    """Prompts -> `Tokens` of a fixed length.

    bpe: what splits text into tokens. start, end, pad: ids of the tokens before the prompt, behind
    it, and after that up to `length` tokens in all.
    """

    bpe: "tokenizers.Tokenizer"
    start: int
    end: int
    pad: int
    length: int = LENGTH

    @property
    def size(self) -> int:
        """How many tokens there are."""
        return self.bpe.get_vocab_size()

    def save(self, folder: str | Path) -> None:
        """Write it as `read_tokenizer` reads it: vocab.json, merges.txt, tokenizer_config.json."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self.bpe.model.save(str(folder))
        words = {"bos_token": self.start, "eos_token": self.end, "pad_token": self.pad}
        config = {name: self.bpe.id_to_token(number) for name, number in words.items()}
        config |= {"unk_token": config["eos_token"], "model_max_length": self.length}
        (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=1) + "\n")

    def __call__(self, prompt: str) -> Tokens:
        """The tokens of a prompt, and the spans of its words.

        What is beyond the length is dropped with a warning that names the words. Raises ValueError
        for a prompt that is no text.
        """
        prompt = unicodedata.normalize("NFC", prompt)  # or words would end before their accents
        try:
            prompt.encode()
        except UnicodeEncodeError as error:
            raise ValueError(f"The prompt {prompt!r} is no text in Unicode; mend it.") from error
        encoding = self.bpe.encode(prompt, add_special_tokens=False)
        room = self.length - 2
        spans = _spans(prompt, encoding)
        kept = tuple(span for span in spans if span.stop <= room + 1)
        if len(encoding.ids) > room:
            dropped = " ".join(span.word for span in spans[len(kept) :])
            warnings.warn(
                f"A prompt has room for {room} tokens and this one has {len(encoding.ids)}; dropped"
                f" are: {dropped}",
                stacklevel=2,
            )
        ids = np.full(self.length, self.pad, np.int32)
        inner = encoding.ids[:room]
        ids[: len(inner) + 2] = [self.start, *inner, self.end]
        return Tokens(ids, kept)


def read_tokenizer(folder: str | Path, *, length: int = LENGTH) -> Tokenizer:
    """The CLIP tokenizer of a folder: `vocab.json` and `merges.txt`, or `tokenizer.json` alone.

    `special_tokens_map.json` comes before `tokenizer_config.json`: the first alone says that Stable
    Diffusion 2 pads with "!". length: tokens that the text encoder has places for, where the
    tokenizer does not name fewer. Raises ImportError without the library `tokenizers`,
    FileNotFoundError for missing files and ValueError for damaged ones.
    """
    folder = Path(folder)
    vocabulary, merges, added = _vocabulary(folder)
    config = _object(folder / "tokenizer_config.json")
    named = {key: config[key] for key in _SPECIAL if config.get(key) is not None}
    named = _SPECIAL | named | _object(folder / "special_tokens_map.json")
    special = {key: named[key] for key in _SPECIAL}
    words = {key: _content(folder, token) for key, token in special.items()}
    if strange := sorted(set(words.values()) - vocabulary.keys()):
        raise ValueError(f"{folder} has no token {strange[0]!r}, which its files name.")
    try:
        bpe = _splitter(vocabulary, merges, words["unk_token"])
    except ImportError:
        raise
    except Exception as error:  # the library raises Exception itself, for merges out of no tokens
        raise ValueError(f"The vocabulary of {folder} cannot be used: {error}.") from error
    added = {
        int(key): token for key, token in config.get("added_tokens_decoder", {}).items()
    } | added
    _add(bpe, folder, [added[key] for key in sorted(added)] + list(special.values()))
    if moved := [key for key, token in added.items() if bpe.token_to_id(token["content"]) != key]:
        raise ValueError(f"{folder} adds a token of the number {moved[0]}, which is not the next.")
    length = length_of(folder, length=length)
    start, end, pad = (vocabulary[words[key]] for key in ("bos_token", "eos_token", "pad_token"))
    return Tokenizer(bpe, start, end, pad, length)


def learn_tokenizer(captions: Iterable[str], folder: str | Path, *, size: int) -> Tokenizer:
    """A tokenizer like CLIP's of the words of captions, which is written to `folder`.

    size: tokens at most; 512 are bytes, from which any text can be spelt, and the frequent words of
    the captions become tokens of their own. Its texts have room for the longest of the captions, up
    to `LENGTH` tokens. Raises ImportError without the library `tokenizers`, and ValueError for no
    room for the bytes.
    """
    if size < _BYTES:
        raise ValueError(
            f"A vocabulary of {size} has no room for all bytes; give at least {_BYTES}."
        )
    splitter = _splitter({}, [], _SPECIAL["unk_token"])
    from tokenizers import pre_tokenizers, trainers

    captions = list(captions)
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    special = [_SPECIAL["bos_token"], _SPECIAL["eos_token"]]
    # Any byte may end a word, also one that ends none of the captions'. Left to itself the library
    # numbers those that do in the order of a hash table, which is another one every time.
    ends = [f"{letter}</w>" for letter in letters]
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=special + ends,
        initial_alphabet=letters,
        end_of_word_suffix="</w>",
        show_progress=False,
    )
    splitter.train_from_iterator(captions, trainer)
    learnt = json.loads(splitter.to_str())["model"]
    vocabulary, merges = learnt["vocab"], [tuple(pair) for pair in learnt["merges"]]
    bpe = _splitter(vocabulary, merges, _SPECIAL["unk_token"])
    start, end = (vocabulary[word] for word in special)
    longest = max((len(bpe.encode(caption).ids) for caption in captions), default=0)
    # Some room to spare, for texts that are not among the captions.
    room = 4 * math.ceil((longest + 2) / 4)
    tokenizer = Tokenizer(bpe, start, end, end, min(room, LENGTH))
    tokenizer.save(folder)
    return read_tokenizer(folder)


def length_of(folder: str | Path, *, length: int = LENGTH) -> int:
    """Tokens of every prompt: those that the tokenizer of a folder names, at most `length`."""
    named = _object(Path(folder) / "tokenizer_config.json").get("model_max_length")
    return min(length, named) if isinstance(named, int) else length


def _splitter(
    vocabulary: dict[str, int], merges: list[tuple[str, str]], unknown: str
) -> "tokenizers.Tokenizer":
    """What splits texts into tokens as CLIP does."""
    try:
        from tokenizers import Regex, Tokenizer, normalizers, pre_tokenizers
        from tokenizers.models import BPE
    except ImportError as error:
        raise ImportError(
            "Prompts need the library tokenizers: install ddib_jax[text], or `pip install"
            " tokenizers`."
        ) from error
    model = BPE(vocab=vocabulary, merges=merges, end_of_word_suffix="</w>", unk_token=unknown)
    bpe = Tokenizer(model)
    bpe.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_WORDS), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    return bpe


def _spans(prompt: str, encoding: "tokenizers.Encoding") -> list[Span]:
    """The words of a prompt, with the places of their tokens behind the start token."""
    spans = []
    for _, group in groupby(enumerate(encoding.word_ids), key=lambda pair: pair[1]):
        places = [place for place, _ in group]
        begins, ends = zip(*(encoding.offsets[place] for place in places), strict=True)
        spans.append(Span(prompt[min(begins) : max(ends)], places[0] + 1, places[-1] + 2))
    return spans


def _vocabulary(
    folder: Path,
) -> tuple[dict[str, int], list[tuple[str, str]], dict[int, dict[str, Any]]]:
    """The tokens' numbers, the merges in order of rank, and the tokens added, by their numbers."""
    if (folder / "vocab.json").is_file() and (folder / "merges.txt").is_file():
        vocabulary = _object(folder / "vocab.json")
        lines = (folder / "merges.txt").read_text(encoding="utf-8").splitlines()
        # The first line is the version of the format.
        merges = [tuple(line.split()) for line in lines[1:] if line.strip()]
        added = {}
    elif (folder / "tokenizer.json").is_file():
        whole = _object(folder / "tokenizer.json")
        model = whole.get("model")
        if not isinstance(model, dict) or not {"vocab", "merges"} <= model.keys():
            raise ValueError(f"{folder / 'tokenizer.json'} is no BPE tokenizer, as CLIP's is.")
        vocabulary = model["vocab"]
        merges = [
            tuple(pair.split() if isinstance(pair, str) else pair) for pair in model["merges"]
        ]
        added = {token["id"]: token for token in whole.get("added_tokens", ())}
    else:
        raise FileNotFoundError(
            f"{folder} holds no tokenizer; vocab.json and merges.txt, or tokenizer.json, are"
            " expected there."
        )
    if any(len(pair) != 2 for pair in merges) or not isinstance(vocabulary, dict):
        raise ValueError(f"{folder} holds a damaged vocabulary; fetch its files anew.")
    return vocabulary, [(first, second) for first, second in merges], added


def _add(bpe: "tokenizers.Tokenizer", folder: Path, tokens: list[Any]) -> None:
    """Let the tokens be found in a text before it is split into words, each once."""
    from tokenizers import AddedToken

    contents = set()
    for token in tokens:
        content = _content(folder, token)
        if content in contents:
            continue
        contents.add(content)
        own = token if isinstance(token, Mapping) else {}
        flags = {flag: bool(own[flag]) for flag in _FLAGS if flag in own}
        bpe.add_tokens([AddedToken(content, **({"special": True} | flags))])


def _content(folder: Path, token: Any) -> str:
    """A special token is a word, or an object with its flags."""
    content = token.get("content") if isinstance(token, Mapping) else token
    if not isinstance(content, str) or not content:
        raise ValueError(f"{folder} names the special token {token!r}, which is no word.")
    return content


def _object(path: Path) -> dict[str, Any]:
    """An object of a file of JSON, {} where there is none."""
    if not path.is_file():
        return {}
    contents = read_json(path, "a tokenizer's options")
    if not isinstance(contents, dict):
        raise ValueError(f"{path} holds no object of a tokenizer's options.")
    return contents
