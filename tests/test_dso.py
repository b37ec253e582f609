"""The DSO repository's face does what the rooms below do, under that repository's names."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tasks.test_people import drawn
from tiny import tiny
from torch import Tensor
from vlms import tiny_vlm

from equipoise.dso import (
    Act4MeLoader,
    BaseDatasetLoader,
    CorefResolutionLoader,
    GenderParityRewardForSynthBias,
    GenderParityRewardForVisionTasks,
    HookInterventions,
    TabularDataset,
    TrainInterventions,
    get_layernorms,
)
from equipoise.errors import InputError
from equipoise.interventions import AffineEdit, Intervention, Provenance, attach
from equipoise.methods.dso import DsoSettings, SampledSettings, fit, fit_sampled
from equipoise.models import LoadedModel
from equipoise.tasks import Item, Task

IDS = torch.tensor([[1, 40, 50, 60, 70]])


def logits(loaded: LoadedModel) -> Tensor:
    with torch.inference_mode():
        out: Tensor = loaded.model(input_ids=IDS).logits
    return out


@pytest.fixture
def loaded() -> LoadedModel:
    return tiny("Llama")


@pytest.fixture
def intervention(loaded: LoadedModel) -> Intervention:
    generator = torch.Generator().manual_seed(0)
    edits = {
        norm.site: AffineEdit(*(0.3 * torch.randn(2, norm.width, generator=generator)))
        for norm in loaded.anatomy.norms
    }
    return Intervention(edits, "all", Provenance("dso", {}, loaded.fingerprint))


@pytest.fixture
def path(intervention: Intervention, tmp_path: Path) -> Path:
    return intervention.save(tmp_path / "interventions_llm.safetensors")


class TestGetLayernorms:
    def test_gives_the_norms_of_the_blocks_and_no_other(self, loaded: LoadedModel) -> None:
        norms = get_layernorms(loaded.model)
        assert list(norms) == list(loaded.anatomy.sites("norm"))
        assert "final.norm" not in norms
        assert get_layernorms(loaded) == norms

    def test_leaves_the_norms_of_queries_and_keys_alone(self) -> None:
        inner = [
            name for name, _ in tiny("Qwen3").model.named_modules() if name.endswith(("q_norm", "k_norm"))
        ]
        assert inner
        assert len(get_layernorms(tiny("Qwen3").model)) == 2 * len(tiny("Qwen3").anatomy.blocks)


class TestHookInterventions:
    def test_is_the_intervention_attached(
        self, loaded: LoadedModel, path: Path, intervention: Intervention
    ) -> None:
        base = logits(loaded)
        steered = HookInterventions(loaded.model, get_layernorms, intervention_path=path)
        steered.set_strength(0.8)
        ours = logits(loaded)
        assert torch.equal(steered(input_ids=IDS).logits, ours)
        steered.remove()
        with attach(loaded, intervention, 0.8):
            assert torch.equal(ours, logits(loaded))
        assert not torch.equal(ours, base)
        assert torch.equal(logits(loaded), base)

    def test_strength_zero_is_the_base_model(self, loaded: LoadedModel, path: Path) -> None:
        base = logits(loaded)
        with HookInterventions(loaded, get_layernorms, path) as steered:
            full = logits(loaded)
            steered.set_strength(0)
            assert torch.equal(logits(loaded), base)
            steered.set_strength(1)
            assert torch.equal(logits(loaded), full)
        assert not torch.equal(full, base)

    def test_sparsify_keeps_the_strongest_and_the_strength(
        self, loaded: LoadedModel, path: Path, intervention: Intervention
    ) -> None:
        with HookInterventions(loaded, get_layernorms, path) as steered:
            steered.set_strength(0.5)
            full = logits(loaded)
            steered.sparsify(0.1)
            sparse = logits(loaded)
            # Fractions are of what was loaded: they don't multiply.
            steered.sparsify(1.0)
            assert torch.equal(logits(loaded), full)
        with attach(loaded, intervention.sparsify(0.1), 0.5):
            assert torch.equal(logits(loaded), sparse)
        assert not torch.equal(sparse, full)

    def test_only_the_picked_norms_are_edited(
        self, loaded: LoadedModel, path: Path, intervention: Intervention
    ) -> None:
        def first(model: Any) -> list[torch.nn.Module]:
            return list(get_layernorms(model).values())[:1]

        with HookInterventions(loaded.model, first, path):
            ours = logits(loaded)
        site = loaded.anatomy.norms[0].site
        with attach(loaded, Intervention({site: intervention.edits[site]}, "all")):
            assert torch.equal(ours, logits(loaded))
        with attach(loaded, intervention):
            assert not torch.equal(ours, logits(loaded))

    def test_attributes_are_the_models(self, loaded: LoadedModel, path: Path) -> None:
        with HookInterventions(loaded, get_layernorms, path) as steered:
            assert steered.config is loaded.model.config
            with pytest.raises(AttributeError, match="no_such_thing"):
                steered.no_such_thing  # noqa: B018

    def test_a_pt_file_is_converted(
        self, loaded: LoadedModel, intervention: Intervention, tmp_path: Path
    ) -> None:
        content = {
            norm.name: {
                "scale": intervention.edits[norm.site].scale,
                "shift": intervention.edits[norm.site].shift,
            }
            for norm in loaded.anatomy.norms
        }
        torch.save(content, tmp_path / "interventions_llm.pt")
        with HookInterventions(loaded, get_layernorms, tmp_path / "interventions_llm.pt"):
            ours = logits(loaded)
        with attach(loaded, intervention):
            assert torch.equal(ours, logits(loaded))

    def test_a_safetensors_file_may_be_called_pt(
        self, loaded: LoadedModel, path: Path, tmp_path: Path
    ) -> None:
        path.rename(tmp_path / "interventions_llm.pt")
        with HookInterventions(loaded, get_layernorms, tmp_path / "interventions_llm.pt") as steered:
            assert len(steered.intervention.edits) == len(loaded.anatomy.norms)

    def test_refuses_what_is_no_norm(self, loaded: LoadedModel, path: Path) -> None:
        with pytest.raises(InputError, match="Embedding that is no norm"):
            HookInterventions(loaded, lambda model: [loaded.model.get_input_embeddings()], path)

    def test_refuses_another_models_file(self, path: Path) -> None:
        other = tiny("Llama", seed=1)
        base = logits(other)
        with pytest.raises(InputError, match="another model"):
            HookInterventions(other, get_layernorms, path)
        assert torch.equal(logits(other), base)

    def test_needs_one_intervention(self, loaded: LoadedModel) -> None:
        with pytest.raises(InputError, match="either intervention_path or intervention"):
            HookInterventions(loaded, get_layernorms)


class TestData:
    def test_a_sample_needs_a_conversation(self) -> None:
        turn = {"role": "user", "content": "Hello"}
        dataset = TabularDataset([{"conversation": [turn], "a": 1}, {"conversation": [turn], "b": 2}])
        assert len(dataset) == 2
        assert dataset.columns == ("conversation", "a", "b")
        with pytest.raises(InputError, match="sample 1 needs a 'conversation'"):
            TabularDataset([{"conversation": [turn]}, {"text": "Hello"}])
        with pytest.raises(InputError, match="lacks 'role' or 'content'"):
            TabularDataset([{"conversation": [{"role": "user"}]}])

    def test_a_loader_builds_once(self) -> None:
        class Loader(BaseDatasetLoader):
            built = 0

            def _build_datasets(self) -> tuple[TabularDataset, TabularDataset]:
                self.built += 1
                sample = {"conversation": [{"role": "user", "content": "Hello"}]}
                return TabularDataset([sample]), TabularDataset([])

        loader = Loader()
        assert (len(loader.train), len(loader.eval), loader.built) == (1, 0, 1)

    def test_coreference_holds_out_occupations(self) -> None:
        loader = CorefResolutionLoader()
        seen, unseen = (
            {group for row in rows for group in row["groups"]} for rows in (loader.train, loader.eval)
        )
        assert seen
        assert unseen
        assert not seen & unseen


def row(answer: int | None = None, group: str = "nurse") -> dict[str, Any]:
    return {"options": (" he", " she"), "outcomes": ("anti", "pro"), "groups": (group,), "answer": answer}


class TestGenderParityReward:
    reward = GenderParityRewardForSynthBias()

    @settings(deadline=None)
    @given(pro=st.integers(0, 20), anti=st.integers(0, 20))
    def test_mean_reward_is_minus_the_bias(self, pro: int, anti: int) -> None:
        if pro + anti == 0:
            return
        completions = [" she said"] * pro + [" he said"] * anti
        mean = self.reward(completions, [row()] * (pro + anti)).mean().item()
        assert mean == pytest.approx(-abs(pro - anti) / (pro + anti))

    def test_silence_never_pays(self) -> None:
        completions = [" she", " she", " he", " the patient"]
        rewards = self.reward(completions, [row()] * 4).tolist()
        assert rewards == [-1, -1, 1, -1]

    def test_occupations_lean_each_their_own_way(self) -> None:
        completions = [" she", " she", " he", " he", " he", " she"]
        rewards = self.reward(completions, [row()] * 3 + [row(group="mechanic")] * 3).tolist()
        assert rewards == [-1, -1, 1, -1, -1, 1]

    @settings(deadline=None)
    @given(st.lists(st.integers(0, 2), min_size=1, max_size=12))
    def test_of_three_groups_each_is_compared_with_a_third(self, said: list[int]) -> None:
        sample = {**row(), "options": (" he", " she", " they"), "outcomes": ("man", "woman", "neither")}
        rewards = self.reward([sample["options"][k] for k in said], [sample] * len(said)).tolist()
        for own, reward in zip(said, rewards, strict=True):
            share = 3 * said.count(own)
            assert reward == (-1 if share > len(said) else 1 if share < len(said) else 0)

    def test_an_unambiguous_answer_is_right_or_wrong(self) -> None:
        assert self.reward([" he", " she", " it"], [row(answer=1)] * 3).tolist() == [-1, 1, -1]

    def test_the_longest_option_counts(self) -> None:
        sample = {**row(answer=1), "options": (" the nurse", " the nurse practitioner")}
        assert self.reward(["The nurse practitioner."], [sample]).tolist() == [1]

    def test_an_option_is_said_in_whole_words(self) -> None:
        assert self.reward([" her", "Help!", "he's"], [row(answer=0)] * 3).tolist() == [-1, -1, 1]
        letters = {**row(answer=1), "options": ("A", "B")}
        said = ["B", "b)", "B: she", "Because", "Both", "An apple"]
        assert self.reward(said, [letters] * 6).tolist() == [1, 1, 1, -1, -1, -1]
        unspaced = {**row(answer=0), "options": ("医者", "看護師")}
        assert self.reward(["医者です"], [unspaced]).tolist() == [1]

    def test_needs_the_samples(self) -> None:
        with pytest.raises(InputError, match="metadata"):
            self.reward([" he"])
        with pytest.raises(InputError, match="sample 1 has no 'options', which the parity reward needs"):
            self.reward([" he", " she"], [row(), {"conversation": []}])


class Pronouns(Task):
    """Few items, for a tiny model."""

    name = "few pronouns"

    def items(self) -> list[Item]:
        kin = (None, "aunt", "uncle")
        return [
            Item(
                id=f"{group}/{number}/{who}",
                prompt=f"{'' if who is None else f'My {who} is the {group}. '}The {group} {verb} that",
                options=(" he", " she"),
                outcomes=("pro", "anti"),
                part="ambiguous" if who is None else "unambiguous",
                answer=None if who is None else int(who == "aunt"),
                groups=(group,),
                template=f"{number}/{who is None}",
            )
            for group in ("mechanic", "nurse", "teacher", "doctor", "cleaner", "designer")
            for number, verb in enumerate(("said", "thought", "wrote", "knew"))
            for who in kin
        ]


class Small(CorefResolutionLoader):
    """The loader over those."""

    def __init__(self) -> None:
        self.task = Pronouns()
        self.seed = 3


class TestTrainInterventions:
    """A loader that knows its closed answers is trained on exactly, by the method itself."""

    settings = DsoSettings(
        steps=2,
        density=1.0,
        items=8,
        unambiguous=4,
        passages=4,
        passage_tokens=8,
        kl=50.0,
        kl_unambiguous=50.0,
    )

    def test_is_the_method_with_the_loaders_task_and_seed(self, loaded: LoadedModel, tmp_path: Path) -> None:
        loader = Small()
        trainer = TrainInterventions(loaded.model, loaded.tokenizer, settings=self.settings)
        trained = trainer.train(loader)
        ours = fit(loaded, loader.task, seed=loader.seed, settings=self.settings)
        assert trained.digest == ours.digest
        assert trained.nonzero > 0
        path = trainer.save(tmp_path / "interventions_llm.safetensors")
        with HookInterventions(loaded.model, get_layernorms, path) as steered:
            assert steered.intervention.digest == ours.digest

    def test_another_reward_is_learned_from_samples(self, loaded: LoadedModel) -> None:
        settings = SampledSettings(
            steps=1,
            prompts=2,
            samples=2,
            tokens=3,
            validation_samples=2,
            passages=4,
            passage_tokens=8,
            kl=50.0,
        )
        seen: list[str] = []

        def reward(completions: Sequence[str], input_metadata: Any = None) -> Tensor:
            seen.extend(sample["topic"] for sample in input_metadata)
            return torch.tensor([float(text.count("e")) for text in completions])

        class Loader(BaseDatasetLoader):
            def _build_datasets(self) -> tuple[TabularDataset, TabularDataset]:
                rows = [
                    {"conversation": [{"role": "user", "content": f"The {topic}"}], "topic": topic}
                    for topic in ("nurse", "cook", "sea", "cat")
                ]
                return TabularDataset(rows), TabularDataset([])

        loader = Loader()
        trained = TrainInterventions(loaded, reward_fn=reward, settings=settings).train(loader)
        assert set(seen) <= {"nurse", "cook", "sea", "cat"}
        assert len(set(seen)) > 1
        assert trained.digest == fit_sampled(loaded, loader.train, reward, settings=settings).digest
        with pytest.raises(InputError, match="needs SampledSettings, not DsoSettings"):
            TrainInterventions(loaded, reward_fn=reward, settings=self.settings).train(loader)

    def test_a_reward_made_from_parity_is_the_one_that_is_learned(self, loaded: LoadedModel) -> None:
        calls: list[int] = []

        class Louder(GenderParityRewardForSynthBias):
            """Its expectation isn't the parity reward's, so nothing can be computed exactly."""

            def __call__(self, completions: Sequence[str], input_metadata: Any = None) -> Tensor:
                calls.append(len(completions))
                return 2 * super().__call__(completions, input_metadata)

        with pytest.raises(InputError, match="needs SampledSettings, not DsoSettings"):
            TrainInterventions(loaded, reward_fn=Louder(), settings=self.settings).train(Small())
        settings = SampledSettings(
            steps=1, prompts=2, samples=2, tokens=2, validation_samples=1, passages=4, passage_tokens=8
        )
        TrainInterventions(loaded, reward_fn=Louder(), settings=settings).train(CorefResolutionLoader())
        assert calls
        # The twin: the parity reward itself is trained on exactly, and such settings are none of its.
        with pytest.raises(InputError, match="needs DsoSettings, not SampledSettings"):
            TrainInterventions(loaded, reward_fn=GenderParityRewardForSynthBias(), settings=settings).train(
                Small()
            )

    def test_saves_under_the_name_that_the_repository_uses(self, loaded: LoadedModel, tmp_path: Path) -> None:
        trainer = TrainInterventions(loaded, settings=self.settings)
        trainer.intervention = Intervention({"block.0.norm.0": AffineEdit(shift=torch.ones(48))})
        with pytest.warns(UserWarning, match="safetensors"):
            path = trainer.save(tmp_path / "interventions_llm.pt")
        with HookInterventions(loaded, get_layernorms, path) as steered:
            assert steered.intervention.digest == trainer.intervention.digest

    def test_nothing_is_saved_before_training(self, loaded: LoadedModel, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="call train"):
            TrainInterventions(loaded).save(tmp_path / "x.safetensors")
        assert not list(tmp_path.iterdir())


def people_sample(options: tuple[str, ...], outcomes: tuple[str, ...], answer: int | None) -> dict[str, Any]:
    part = "ambiguous" if answer is None else "unambiguous"
    groups = ("pilot",)
    return {"options": options, "outcomes": outcomes, "groups": groups, "part": part, "answer": answer}


def test_the_reward_for_vision_goes_by_the_gender_shown() -> None:
    one, other = (
        people_sample(("A", "B"), ("woman", "man"), None),
        people_sample(("A", "B"), ("man", "woman"), None),
    )
    clear = people_sample(("A", "B"), ("man", "woman"), 1)
    rows = [one, one, other, other, clear, clear, one]
    # Three answers name the man, one the woman; letters alone would be even.
    said = ["B", "b.", "A", "B", "B", "A", "neither"]
    rewards = GenderParityRewardForVisionTasks()(said, rows)
    assert rewards.tolist() == [-1, -1, -1, 1, 1, -1, -1]


def test_a_loader_of_people_trains_a_model_that_sees(tmp_path: Path) -> None:
    roles = ("cook", "pilot", "judge", "farmer", "singer", "teacher")
    loader = Act4MeLoader(str(drawn(tmp_path / "people", roles)))
    sample = loader.train[0]
    assert len(sample["images"]) == 2 and sample["conversation"][0]["content"].count("<image>") == 2
    assert set(sample["outcomes"]) == {"man", "woman"}
    loaded = tiny_vlm("LLaVA")
    quick = DsoSettings(
        steps=1, items=8, unambiguous=4, passages=8, passage_tokens=12, kl=5.0, kl_unambiguous=5.0
    )
    trainer = TrainInterventions(loaded, reward_fn=GenderParityRewardForVisionTasks(), settings=quick)
    found = trainer.train(loader)
    assert found.provenance.config["task"] == "occupation-pairs"
    with pytest.raises(InputError, match="samples with images"):
        TrainInterventions(loaded, reward_fn=lambda completions, _: torch.zeros(len(completions))).train(
            loader
        )  # type: ignore[arg-type]
