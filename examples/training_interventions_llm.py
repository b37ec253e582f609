"""Train DSO interventions for coreference resolution: which of two occupations does a pronoun mean?

    python examples/training_interventions_llm.py                             # the bundled model, built-in sentences
    python examples/training_interventions_llm.py --synthbias SynthBias.csv   # the paper's sentences, your copy

Writes interventions_llm.safetensors, which loading_interventions_llm.py applies, and prints how held-out sentences
are answered before and after.
"""

import argparse

from shown import held_out, print_shares

from equipoise.dso import (
    CorefResolutionLoader,
    GenderParityRewardForSynthBias,
    TrainInterventions,
)
from equipoise.methods.dso import DsoSettings
from equipoise.models import load


def main() -> None:
    parser = argparse.ArgumentParser(description="Train DSO interventions for coreference resolution.")
    parser.add_argument(
        "--model", default="smollm2", help="hub id, folder, .gguf file, or smollm2 (the default)"
    )
    parser.add_argument("--synthbias", metavar="CSV", help="SynthBias' file; built-in sentences without it")
    parser.add_argument("--out", default="interventions_llm.safetensors")
    parser.add_argument(
        "--steps", type=int, default=DsoSettings().steps, help="training steps; fewer are quicker"
    )
    arguments = parser.parse_args()

    loaded = load(arguments.model)
    loader = CorefResolutionLoader(arguments.synthbias)
    trainer = TrainInterventions(
        loaded.model,
        loaded.tokenizer,
        reward_fn=GenderParityRewardForSynthBias(),
        settings=DsoSettings(steps=arguments.steps),
        progress=lambda state: print(f"step {state.step} of {state.steps}: {state.message}", flush=True),
    )
    trainer.train(loader)
    path = trainer.save(arguments.out, force=True)
    print(f"wrote {path}\n")

    print("Sentences and occupations that training never saw; shares of the two answers, before -> after:")
    print_shares(loaded, held_out(loader)[:6], path)


if __name__ == "__main__":
    main()
