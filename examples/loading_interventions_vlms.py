"""Apply trained DSO interventions to a vision-language model, and print what it says before and after.

python examples/training_interventions_vlms.py --model MODEL    # first, writes interventions_vlm.safetensors
python examples/loading_interventions_vlms.py --model MODEL --strength 0.8
"""

import argparse

from shown import held_out, print_texts, spread

from equipoise.dso import Act4MeLoader, HookInterventions, get_layernorms
from equipoise.models import load
from equipoise.scoring import generate


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Apply trained DSO interventions to a vision-language model."
    )
    parser.add_argument("--model", required=True, help="a vision-language model: a hub id or a folder")
    parser.add_argument(
        "--people", default="emoji", help="emoji, a folder, pairs:PATH or socialcounterfactuals:PATH"
    )
    parser.add_argument("--interventions", default="interventions_vlm.safetensors")
    parser.add_argument(
        "--strength", type=float, default=0.8, help="0 is the base model, 1 the full intervention"
    )
    parser.add_argument("--keep", type=float, help="keep only this fraction of the entries, the strongest")
    parser.add_argument("--prompts", type=int, default=8)
    arguments = parser.parse_args()
    if arguments.prompts < 1:
        parser.error("--prompts must be at least 1")

    loader = Act4MeLoader(arguments.people)
    loaded = load(arguments.model)
    items = spread(held_out(loader), arguments.prompts)
    prompts, images = [item.prompt for item in items], [item.images for item in items]

    before = generate(loaded, prompts, images=images, max_new_tokens=12)
    intervened_model = HookInterventions(loaded, get_layernorms, intervention_path=arguments.interventions)
    intervened_model.set_strength(arguments.strength)
    if arguments.keep is not None:
        intervened_model.sparsify(arguments.keep)
    after = generate(loaded, prompts, images=images, max_new_tokens=12)
    intervened_model.remove()

    print_texts(items, before, after)


if __name__ == "__main__":
    main()
