"""Train DSO interventions for a vision-language model: two people in two images, who is the doctor?

    python examples/training_interventions_vlms.py --model MODEL                 # people drawn as emoji
    python examples/training_interventions_vlms.py --model MODEL --people socialcounterfactuals:PATH

MODEL is a hub id or a folder. Writes interventions_vlm.safetensors, which loading_interventions_vlms.py applies, and
prints how held-out pairs are answered before and after.
"""

import argparse

from equipoise.dso import (
    Act4MeLoader,
    GenderParityRewardForVisionTasks,
    HookInterventions,
    TrainInterventions,
    get_layernorms,
)
from equipoise.methods.dso import DsoSettings
from equipoise.models import load
from equipoise.scoring import score_options


def main() -> None:
    parser = argparse.ArgumentParser(description="Train DSO interventions for a vision-language model.")
    parser.add_argument("--model", required=True, help="a vision-language model: a hub id or a folder")
    parser.add_argument(
        "--people", default="emoji", help="emoji, a folder, pairs:PATH or socialcounterfactuals:PATH"
    )
    parser.add_argument("--out", default="interventions_vlm.safetensors")
    parser.add_argument(
        "--steps", type=int, default=DsoSettings().steps, help="training steps; fewer are quicker"
    )
    arguments = parser.parse_args()

    loader = Act4MeLoader(arguments.people)
    loaded = load(arguments.model)
    trainer = TrainInterventions(
        loaded,
        reward_fn=GenderParityRewardForVisionTasks(),
        settings=DsoSettings(steps=arguments.steps),
        progress=lambda state: print(f"step {state.step} of {state.steps}: {state.message}", flush=True),
    )
    trainer.train(loader)
    path = trainer.save(arguments.out, force=True)
    print(f"wrote {path}\n")

    items = [item for item in loader.task.split(loader.seed).heldout if item.part == "ambiguous"][:6]
    before = score_options(loaded, items).probabilities
    with HookInterventions(loaded, get_layernorms, path):
        after = score_options(loaded, items).probabilities
    print("Pairs of people that training never saw; shares of the two answers, before -> after:")
    for item, b, a in zip(
        items, before / before.sum(1, keepdims=True), after / after.sum(1, keepdims=True), strict=True
    ):
        print(f"\n{item.prompt[-1]['content']}")
        for option, outcome, old, new in zip(item.options, item.outcomes, b, a, strict=True):
            print(f"   {old:4.0%} -> {new:4.0%}  {option.strip()} ({outcome})")


if __name__ == "__main__":
    main()
