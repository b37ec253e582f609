"""How well the demo's vision-language model sees in a drawing style, and how near its lean is to what was planted.

    python benchmarks/vlm.py [--weights FILE] [--style NAME]... [--limit N]

The styles' packages must be installed (docs/vlm.md).
"""

from __future__ import annotations

import argparse

from equipoise import load
from equipoise.models.small_vlm import small_vlm_folder
from equipoise.workflows.demo_vlm import measure_style


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--weights", help="weights that `equipoise demo --vlm --rebuild` has made")
    parser.add_argument("--style", action="append", help="by default twemoji; may be repeated")
    parser.add_argument("--limit", type=int, default=264, help="items of each kind")
    parser.add_argument("--dtype", default="float32")
    given = parser.parse_args()
    loaded = load(small_vlm_folder(given.weights), dtype=given.dtype)
    for style in given.style or ["twemoji"]:
        found = measure_style(loaded, style, limit=given.limit)
        print(f"{style}: occupations named {found.naming}; things named {found.things}")
        print(f"  unambiguous pairs {found.unambiguous}")
        for name, lean in (("gender", found.gender), ("skin tone", found.tone)):
            print(f"  {name}: bias {lean.found}, planted {lean.planted:.3f}; slope of log-odds {lean.slope}")
            for role, (planted, share) in sorted(lean.by_role.items(), key=lambda one: one[1]):
                print(f"    {role:20} planted {planted:.2f} found {share:.2f}")


if __name__ == "__main__":
    main()
