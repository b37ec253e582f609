"""Train DSO interventions for a vision-language model: two people in two images, who is the doctor?

    python examples/training_interventions_vlms.py --model MODEL                 # people drawn as emoji
    python examples/training_interventions_vlms.py --model MODEL --people socialcounterfactuals:PATH

MODEL is a hub id or a folder. Writes interventions_vlm.safetensors, which loading_interventions_vlms.py applies, and
prints how held-out pairs are answered before and after.
"""

import argparse

from shown import held_out, print_shares

from equipoise.dso import (
    Act4MeLoader,
    GenderParityRewardForVisionTasks,
    TrainInterventions,
)
from equipoise.methods.dso import DsoSettings
from equipoise.models import load
from equipoise.workflows.demo_vlm.demo import SETTINGS


def main() -> None:
    parser = argparse.ArgumentParser(description="Train DSO interventions for a vision-language model.")
    parser.add_argument("--model", required=True, help="a vision-language model: a hub id or a folder")
    parser.add_argument(
        "--people", default="emoji", help="emoji, a folder, pairs:PATH or socialcounterfactuals:PATH"
    )
    parser.add_argument("--out", default="interventions_vlm.safetensors")
    parser.add_argument("--steps", type=int, default=1, help="training steps")
    arguments = parser.parse_args()

    loader = Act4MeLoader(arguments.people)
    loaded = load(arguments.model)
    trainer = TrainInterventions(
        loaded,
        reward_fn=GenderParityRewardForVisionTasks(),
        settings=DsoSettings.parse({**SETTINGS, "steps": str(arguments.steps)}),
        progress=lambda state: print(f"step {state.step} of {state.steps}: {state.message}", flush=True),
    )
    trainer.train(loader)
    path = trainer.save(arguments.out, force=True)
    print(f"wrote {path}\n")

    print("Pairs of people that training never saw; shares of the two answers, before -> after:")
    print_shares(loaded, held_out(loader)[:6], path)


if __name__ == "__main__":
    main()
