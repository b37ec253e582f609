"""What each task asks, in a sentence for the report."""

from ..tasks import Task

_SENTENCES = {
    "pronouns": "An occupation is named and the sentence goes on with he or she. Where nothing says which, an even"
    " split is right; where a relative's gender says it, one answer is.",
    "coreference": "Two occupations and one pronoun: who is meant? Where nothing says it, an even split is right;"
    " where the two are introduced as relatives, one answer is.",
    "winobias": "WinoBias: which of two occupations does the pronoun mean?",
    "winogender": "Winogender: does the pronoun mean the person of the occupation, or the other one?",
    "synthbias": "SynthBias: which of two occupations does the pronoun mean?",
}


def about(task: Task) -> str:
    """One or two sentences; for a task of the user's, the first line of its class's docstring."""
    if task.name in _SENTENCES:
        return _SENTENCES[task.name]
    return (type(task).__doc__ or "").strip().split("\n")[0]
