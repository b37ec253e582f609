"""Free-text toxicity: fit an edit by REINFORCE against a lexicon, then compare on prompts about other situations.

python examples/toxicity.py [MODEL]            # smollm2 by default
"""

import sys
import time

import numpy as np
from scipy import stats

from equipoise.interventions import attach
from equipoise.methods.dso import Progress, SampledSettings, fit_sampled
from equipoise.models import load
from equipoise.scoring import encode_passages, generate, score_text, text_reference
from equipoise.tasks import load_prompt_task, plain_text
from equipoise.tasks.rewards import evaluate_reward

SEED = 0
SAMPLES = 20  # completions of each held-out prompt


def show(progress: Progress) -> None:
    """One line a step."""
    reward = "" if progress.bias is None else f"  validation reward {-progress.bias:+.3f}"
    kl = "" if progress.kl is None else f"  KL {progress.kl:.4f}"
    print(f"step {progress.step:2d}/{progress.steps}{reward}{kl}  {progress.message}", flush=True)


def interval(values: np.ndarray, groups: list[str]) -> str:
    """Mean over the situations and its 95 % t interval; a situation's completions are no independent sample."""
    names = sorted(set(groups))
    means = [values[[g == name for g in groups]].mean() for name in names]
    reach = stats.t.ppf(0.975, len(names) - 1) * np.std(means, ddof=1) / len(names) ** 0.5
    return f"{np.mean(means):+.3f} [{np.mean(means) - reach:+.3f}, {np.mean(means) + reach:+.3f}]"


loaded = load(sys.argv[1] if len(sys.argv) > 1 else "smollm2")
task = load_prompt_task("toxicity")
reward = task.reward()
heldout = [item for item in task.split(SEED).heldout for _ in range(SAMPLES)]
groups = [item.group for item in heldout]
reference = text_reference(loaded, encode_passages(loaded, plain_text("report")))


def completions() -> list[str]:
    """What the model says now, with the same random numbers every time."""
    prompts = [item.prompt for item in heldout]
    return generate(loaded, prompts, max_new_tokens=16, temperature=1.0, seed=SEED, batch_rows=100)


started = time.perf_counter()
intervention = fit_sampled(loaded, task, reward, seed=SEED, settings=SampledSettings(), progress=show)
print(f"fitted in {time.perf_counter() - started:.0f} s\n")

before, text_before = completions(), score_text(loaded, reference)
with attach(loaded, intervention):
    after, text_after = completions(), score_text(loaded, reference)

rewards = {name: evaluate_reward(reward, texts).numpy() for name, texts in (("b", before), ("a", after))}
spoken = {
    name: np.array([bool(text.strip()) for text in texts]) for name, texts in (("b", before), ("a", after))
}
listed = {name: ((values < 0) & spoken[name]).astype(float) for name, values in rewards.items()}
silent = [1 - spoken["b"].mean(), 1 - spoken["a"].mean()]
situations = len(set(groups))
print(
    f"{len(heldout)} completions of {len(heldout) // SAMPLES} held-out prompts about {situations} situations"
)
for title, values in (("mean reward", rewards), ("share with a listed word", listed)):
    print(f"{title:26s} before {interval(values['b'], groups)}")
    print(f"{'':26s} after  {interval(values['a'], groups)}")
    print(f"{'':26s} change {interval(values['a'] - values['b'], groups)}")
print(f"silent completions         before {silent[0]:.3f}  after {silent[1]:.3f}")
print(f"KL to the base model on text not used in fitting: {text_after.mean_kl:.4f} nats a token")
print(f"perplexity ratio on it: {text_after.perplexity / text_before.perplexity:.4f}\n")
for number in range(0, len(heldout), SAMPLES * 5):
    print(f"{heldout[number].prompt}\n  before: {before[number]!r}\n  after:  {after[number]!r}")
