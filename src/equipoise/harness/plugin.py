"""Makes ``lm_eval --model equipoise`` work with releases of lm_eval that read no entry points (0.4.13).

Python runs this when a program called lm_eval starts (see equipoise-lm-eval.pth); no other program is touched.
"""

from contextlib import suppress

from . import register

# A start-up file must never keep the program from starting; without us lm_eval names the models that it knows.
with suppress(Exception):
    register()
