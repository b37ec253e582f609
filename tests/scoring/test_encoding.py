"""Prompts and options as tokens: parted where they differ, closed where one begins another, refused where alike."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scoring.samples import item
from tiny import BOS, EOS, tiny_tokenizer

from equipoise.errors import InputError
from equipoise.scoring import encode, prompt_ids, prompt_text, text_ids

CHAT = ({"role": "user", "content": "Who was late?"},)


class OneTokenAWord:
    """A tokenizer of whole words; unknown words vanish, and words that ``same`` lists are one token."""

    bos_token_id = None
    eos_token_id = 99
    chat_template = "yes"

    def __init__(self, vocabulary: dict[str, int]) -> None:
        self._vocabulary = vocabulary

    def __call__(self, text: str, add_special_tokens: bool = True) -> dict[str, list[int]]:
        return {"input_ids": [self._vocabulary[word] for word in text.split() if word in self._vocabulary]}

    def apply_chat_template(self, turns: list[dict[str, str]], **_: object) -> str:
        return " ".join(turn["content"] for turn in turns)


WORDS = OneTokenAWord({"who": 1, "he": 2, "she": 3, "HE": 2, "was": 4, ".": 5, "stop": 6, "he.": 2})


@settings(max_examples=60, deadline=None)
@given(
    prompt=st.text("abc hes.,T", min_size=1, max_size=12),
    options=st.lists(st.text(" hesa.", min_size=1, max_size=6), min_size=2, max_size=4, unique=True),
)
def test_prompt_and_option_are_the_tokens_of_the_whole_text(prompt: str, options: list[str]) -> None:
    tokenizer = tiny_tokenizer(add_bos=True)
    try:
        encoded = encode(tokenizer, item(prompt, options))
    except InputError:  # what is refused has tests of its own
        return
    assert encoded.prompt[0] == BOS
    plain = [tuple(tokenizer(prompt + option)["input_ids"]) for option in options]
    closed = [tuple(tokenizer(prompt + option + ".")["input_ids"]) for option in options]
    assert [encoded.prompt + option for option in encoded.options] in (plain, closed)
    for a in encoded.options:
        assert a
        assert sum(b[: len(a)] == a for b in encoded.options) == 1


def test_a_token_across_the_border_belongs_to_the_option() -> None:
    tokenizer = tiny_tokenizer()
    whole = tokenizer("The nurse said")["input_ids"]
    encoded = encode(tokenizer, item("The nu", ("rse said", "t")))
    assert list(encoded.prompt + encoded.options[0]) == whole
    assert list(encoded.prompt) == tokenizer("The")["input_ids"]


def test_options_that_begin_others_are_closed() -> None:
    tokenizer = tiny_tokenizer()
    texts = (" the nurse", " the nurse and the doctor")
    encoded = encode(tokenizer, item("She met", texts))
    assert [tokenizer.decode(option) for option in encoded.options] == [text + "." for text in texts]
    ended = encode(tokenizer, item("She met", texts, terminator="!"))
    assert [tokenizer.decode(option) for option in ended.options] == [text + "!" for text in texts]
    chat = encode(tokenizer, item(CHAT, texts))
    assert [option[-1] for option in chat.options] == [EOS, EOS]
    assert [tokenizer.decode(option[:-1]) for option in chat.options] == list(texts)


def test_options_that_do_not_stay_as_they_are() -> None:
    tokenizer = tiny_tokenizer()
    texts = (" the nurse", " the doctor")
    encoded = encode(tokenizer, item("She met", texts, terminator="!"))
    assert [tokenizer.decode(option) for option in encoded.options] == list(texts)


def test_a_terminator_that_does_not_part_is_refused() -> None:
    with pytest.raises(InputError, match=r"item 'item 7'.*terminator 'was'"):
        encode(WORDS, item("who", (" he ", " he was was "), 7, terminator="was"))


def test_a_chat_without_an_end_token_needs_a_terminator() -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.eos_token = None
    texts = (" the nurse", " the nurse and the doctor")
    with pytest.raises(InputError, match=r"item 'item 3'.*terminator"):
        encode(tokenizer, item(CHAT, texts, 3))
    assert len(encode(tokenizer, item(CHAT, texts, 3, terminator=".")).options) == 2


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((" he", " unknown"), "option ' unknown' tokenises to nothing"),
        ((" he", " HE"), "options ' he' and ' HE' tokenise to exactly the same"),
    ],
)
def test_empty_and_equal_options_are_refused_by_name(options: tuple[str, str], said: str) -> None:
    with pytest.raises(InputError, match=r"item 'item 7'") as error:
        encode(WORDS, item("who", options, 7))
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_a_prompt_without_tokens_is_refused() -> None:
    with pytest.raises(InputError, match=r"item 'item 7'.*prompt"):
        encode(WORDS, item("unknown", (" he", " she"), 7))


def test_without_a_prompt_options_begin_a_text() -> None:
    tokenizer = tiny_tokenizer()
    start = tokenizer.eos_token_id if tokenizer.bos_token_id is None else tokenizer.bos_token_id
    assert encode(tokenizer, item("", ("he", "she"))).prompt == (start,)


def test_the_first_token_may_be_the_opening_one() -> None:
    encoded = encode(tiny_tokenizer(add_bos=True), item("", ("he", "she")))
    assert encoded.prompt == (BOS,)


def test_a_chat_needs_a_template() -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = None
    with pytest.raises(InputError, match="chat template"):
        encode(tokenizer, item(CHAT, (" he", " she")))
    assert prompt_text(tokenizer, "Who was late?") == "Who was late?"


def test_chats_are_laid_out_once() -> None:
    for add_bos in (False, True):
        tokenizer = tiny_tokenizer(add_bos=add_bos)
        assert prompt_text(tokenizer, CHAT) == "<|user|>Who was late?</s><|assistant|>"
        # The template writes what opens a chat; the tokenizer's own opening token stays out.
        assert prompt_ids(tokenizer, CHAT)[0] == tokenizer.convert_tokens_to_ids("<|user|>")


def test_text_opens_as_the_tokenizer_opens_it() -> None:
    for add_bos in (False, True):
        tokenizer = tiny_tokenizer(add_bos=add_bos)
        for text in ("The nurse said", ""):
            assert text_ids(tokenizer, text) == prompt_ids(tokenizer, text) == tokenizer(text)["input_ids"]


def test_a_template_without_a_system_turn_gets_its_text_from_the_user() -> None:
    class NoSystem(OneTokenAWord):
        def apply_chat_template(self, turns: list[dict[str, str]], **_: object) -> str:
            if turns[0]["role"] != "user":
                raise ValueError("System role not supported")
            return super().apply_chat_template(turns)

    tokenizer = NoSystem({"who": 1, "he": 2, "she": 3, "stop": 6})
    turns = ({"role": "system", "content": "stop"}, {"role": "user", "content": "who"})
    assert (
        encode(tokenizer, item(turns, (" he", " she"))).prompt
        == encode(WORDS, item(turns, (" he", " she"))).prompt
    )
    with pytest.raises(InputError, match="can't lay out this prompt: System role not supported"):
        encode(tokenizer, item(({"role": "assistant", "content": "who"},), (" he", " she")))
