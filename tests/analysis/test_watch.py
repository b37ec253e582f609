"""Watching: strengths come from unsteered readings of the text so far, row by row and token by token."""

import pytest
import torch
from interventions.samples import intervention
from scoring.samples import PROMPTS, model
from tiny import ARCHITECTURES

from equipoise.analysis import Detector, Watch, activations
from equipoise.analysis.activations import Reading
from equipoise.errors import InputError
from equipoise.interventions import attach
from equipoise.models import LoadedModel
from equipoise.scoring import generate_ids, prompt_ids

NEW = 10
GREEDY = {"max_new_tokens": NEW, "temperature": 0.0, "seed": 0}


@pytest.fixture(params=ARCHITECTURES)
def loaded(request: pytest.FixtureRequest) -> LoadedModel:
    return model(request.param)


def ids_of(loaded: LoadedModel) -> list[list[int]]:
    return [prompt_ids(loaded.tokenizer, prompt) for prompt in PROMPTS]


def planted(loaded: LoadedModel, reading: Reading = "last", bias: float | None = None) -> Detector:
    """A random direction at block 1 that fires for about half of the base model's readings, or by its bias alone."""
    site = "block.1.out"
    if bias is not None:
        return Detector("x", site, torch.zeros(48), bias, reading=reading)
    weight = torch.randn(48, generator=torch.Generator().manual_seed(5))
    rows = ids_of(loaded)
    written = generate_ids(loaded, rows, **GREEDY)
    texts = [[*row, *new[:k]] for row, new in zip(rows, written, strict=True) for k in range(len(new))]
    middle = (activations(loaded, texts, [site], reading=reading)[site] @ weight).median()
    return Detector("x", site, weight, -float(middle), reading=reading)


def watched(
    loaded: LoadedModel, detector: Detector, strength: float = 1.0
) -> tuple[list[list[int]], dict[int, list[bool]]]:
    with attach(loaded, intervention(loaded, ("norm", "out")), 0.0) as handle:
        watch = Watch(loaded, [detector], handle, strength)
        return generate_ids(loaded, ids_of(loaded), batch_rows=4, before_step=watch, **GREEDY), watch.fired


def test_a_detector_that_never_fires_leaves_the_base_and_one_that_always_does_is_plain_steering(
    loaded: LoadedModel,
) -> None:
    rows = ids_of(loaded)
    base = generate_ids(loaded, rows, batch_rows=4, **GREEDY)
    with attach(loaded, intervention(loaded, ("norm", "out"))):
        steered = generate_ids(loaded, rows, batch_rows=4, **GREEDY)
    assert steered != base
    never, off = watched(loaded, planted(loaded, bias=-50.0))
    always, on = watched(loaded, planted(loaded, bias=50.0))
    assert never == base and not any(any(flags) for flags in off.values())
    assert always == steered and all(all(flags) for flags in on.values())
    # λ = 0 is the base model, whatever fires.
    assert watched(loaded, planted(loaded, bias=50.0), 0.0)[0] == base


@pytest.mark.parametrize("reading", ["last", "mean"])
def test_what_fires_is_what_an_unsteered_reading_of_the_text_so_far_says(
    loaded: LoadedModel, reading: Reading
) -> None:
    rows, detector = ids_of(loaded), planted(loaded, reading)
    written, fired = watched(loaded, detector)
    flags = []
    for number, (row, new) in enumerate(zip(rows, written, strict=True)):
        texts = [[*row, *new[:k]] for k in range(len(new))]
        scores = torch.tensor(detector.scores(loaded, texts))
        clear = (scores - 0.5).abs() > 1e-3
        said = torch.tensor(fired[number][: len(new)])
        assert torch.equal(said[clear], (scores > 0.5)[clear])
        flags += said.tolist()
    assert 0 < sum(flags) < len(flags)


@pytest.mark.parametrize("name", ["Llama", "GPT2", "Gemma3", "OPT"])
def test_each_token_keeps_the_strength_it_was_computed_with(name: str) -> None:
    """Against one uncached pass a token, in which every position has the strength of its own step."""
    loaded = model(name, double=True)
    detector = planted(loaded)
    edit = intervention(loaded, ("norm", "out"))
    written, fired = watched(loaded, detector)
    some = False
    for number, (row, new) in enumerate(zip(ids_of(loaded), written, strict=True)):
        flags = fired[number][: len(new)]
        some = some or len(set(flags)) == 2
        strengths = [float(flags[0])] * len(row) + [float(flag) for flag in flags[1:]]
        with attach(loaded, edit, 0.0) as handle, torch.no_grad():
            for k, token in enumerate(new):
                text = [*row, *new[:k]]
                handle.pack(range(len(text)))
                handle.strength = strengths[: len(text)]
                logits = loaded.model(input_ids=torch.tensor([text]), use_cache=False).logits[0, -1]
                assert int(logits.argmax()) == token
    assert some


def test_rows_without_a_firing_detector_are_the_base_models_among_steered_ones() -> None:
    loaded = model("Llama")
    rows = ids_of(loaded)
    base = generate_ids(loaded, rows, batch_rows=4, **GREEDY)
    weight = torch.randn(48, generator=torch.Generator().manual_seed(1))
    prompts = activations(loaded, rows, ["block.0.out"])["block.0.out"] @ weight
    detector = Detector("x", "block.0.out", weight, -float(prompts.max()) + 1e-3)
    written, fired = watched(loaded, detector)
    quiet = [n for n in range(len(rows)) if not any(fired[n][: len(written[n])])]
    assert quiet and len(quiet) < len(rows)
    assert all(written[n] == base[n] for n in quiet)
    assert any(written[n] != base[n] for n in range(len(rows)))


def test_a_watch_needs_a_detector_of_this_model() -> None:
    loaded = model("Llama")
    with attach(loaded, intervention(loaded), 0.0) as handle:
        with pytest.raises(InputError, match="no detector"):
            Watch(loaded, [], handle, 1.0)
        with pytest.raises(InputError, match="wide"):
            Watch(loaded, [Detector("x", "block.0.out", torch.ones(5), 0.0)], handle, 1.0)
