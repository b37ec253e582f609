"""Apply trained DSO interventions, and print what the model says before and after.

python examples/training_interventions_llm.py    # first, writes interventions_llm.safetensors
python examples/loading_interventions_llm.py --strength 0.8
"""

import argparse

from shown import held_out, print_texts, spread

from equipoise.dso import CorefResolutionLoader, HookInterventions, get_layernorms
from equipoise.models import load
from equipoise.scoring import generate


def main() -> None:
    parser = argparse.ArgumentParser(description="Apply trained DSO interventions.")
    parser.add_argument(
        "--model", default="smollm2", help="hub id, folder, .gguf file, or smollm2 (the default)"
    )
    parser.add_argument("--interventions", default="interventions_llm.safetensors")
    parser.add_argument(
        "--strength", type=float, default=0.8, help="0 is the base model, 1 the full intervention"
    )
    parser.add_argument("--keep", type=float, help="keep only this fraction of the entries, the strongest")
    parser.add_argument("--prompts", type=int, default=8)
    arguments = parser.parse_args()
    if arguments.prompts < 1:
        parser.error("--prompts must be at least 1")

    loaded = load(arguments.model)
    loader = CorefResolutionLoader()
    items = spread(held_out(loader), arguments.prompts)
    prompts = [item.prompt for item in items]

    before = generate(loaded, prompts, max_new_tokens=12)
    intervened_model = HookInterventions(
        loaded.model, get_layernorms, intervention_path=arguments.interventions
    )
    intervened_model.set_strength(arguments.strength)
    if arguments.keep is not None:
        intervened_model.sparsify(arguments.keep)
    after = generate(loaded, prompts, max_new_tokens=12)
    intervened_model.remove()

    print_texts(items, before, after)


if __name__ == "__main__":
    main()
