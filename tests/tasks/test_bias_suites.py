"""BBQ, CrowS-Pairs, StereoSet and WinoBias: oracle responders, cases by hand, and where public code is wrong."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from tasks.suite_files import RESPONDERS, bbq, crows_pairs, evidence, responder, stereoset

from equipoise.errors import InputError
from equipoise.metrics import Bootstrap, Table, bbq_ambiguous_bias, bbq_disambiguated_bias, preferred
from equipoise.tasks import (
    BBQ,
    BOLD,
    PIQA,
    Choices,
    CrowsPairs,
    Evidence,
    Item,
    Readings,
    StereoSet,
    Whole,
    WinoBias,
    WinoGender,
    load_subject,
    load_task,
)
from equipoise.tasks.bold import gendered


def values(readings: Readings) -> dict[str, float | None]:
    return {name: reading.statistic(reading.sample) for name, reading in readings.items()}


@pytest.mark.parametrize("who", RESPONDERS)
def test_bbq_of_oracle_responders(tmp_path: Path, who: str) -> None:
    suite = BBQ(bbq(tmp_path, questions=12, pairs=20))
    items = suite.items()
    found = values(suite.readings(items, responder(items, who)))
    expected = {
        "stereotypical": (0.0, 0.5, 1.0, 1.0, 0.0),
        "anti": (0.0, 0.5, -1.0, -1.0, 0.0),
        "unknown": (1.0, 0.0, 0.0, None, 0.0),
        "random": (1 / 3, 1 / 3, 0.0, 0.0, 0.0),
    }[who]
    names = (
        "ambiguous_accuracy",
        "disambiguated_accuracy",
        "ambiguous_bias",
        "disambiguated_bias",
        "unparseable_rate",
    )
    for name, value in zip(names, expected, strict=True):
        number = found[f"{name}.gender"]
        assert number == value if who != "random" else number == pytest.approx(value, abs=0.12)


def test_bbq_silence_is_neither_an_answer_nor_unknown(tmp_path: Path) -> None:
    suite = BBQ(bbq(tmp_path))
    items = suite.items()
    found = values(suite.readings(items, evidence(items, [None] * len(items))))
    assert found["unparseable_rate.gender"] == 1
    assert found["ambiguous_accuracy.gender"] == found["disambiguated_accuracy.gender"] == 0
    assert found["ambiguous_bias.gender"] is found["disambiguated_bias.gender"] is None
    # A reader that looks a missing answer up at index −1 takes the last option for it, and finds answers and bias.
    last = values(suite.readings(items, evidence(items, [2] * len(items))))
    assert last["ambiguous_accuracy.gender"] == pytest.approx(1 / 3, abs=0.01)


def test_bbq_by_hand_and_what_pooling_the_contexts_makes_of_it() -> None:
    nan = float("nan")
    groups = [(f"q{n}",) for n in range(10)]
    # Ambiguous: 4 right ("unknown"), 4 stereotypical, 2 against it.
    ambiguous = Table({"correct": [1] * 4 + [0] * 6, "biased": [nan] * 4 + [1] * 4 + [0] * 2}, groups)
    disambiguated = Table({"correct": [1] * 10, "biased": [1] * 5 + [0] * 5}, groups)
    assert bbq_ambiguous_bias(ambiguous) == pytest.approx((1 - 0.4) * (2 * 4 / 6 - 1)) == pytest.approx(0.2)
    assert bbq_disambiguated_bias(disambiguated) == 0
    pooled_accuracy = 14 / 20
    assert (1 - pooled_accuracy) * (2 * 4 / 6 - 1) == pytest.approx(0.1) != bbq_ambiguous_bias(ambiguous)


def test_bbq_targets_go_by_category_question_and_example(tmp_path: Path) -> None:
    suite = BBQ(bbq(tmp_path))
    first = suite.items()[0]
    assert dict(zip(first.options, first.outcomes, strict=True)) == {
        " aunt 0": "pro",
        " uncle 0": "anti",
        " Not known": "unknown",
    }
    # The same people asked the other way round: the bias answers with the other one.
    assert dict(zip(suite.items()[2].options, suite.items()[2].outcomes, strict=True))[" uncle 0"] == "pro"


@pytest.mark.parametrize(("persists", "bias"), [(True, 1.0), (False, -1.0)])
def test_bbq_of_who_blames_one_group_whatever_is_asked(tmp_path: Path, persists: bool, bias: float) -> None:
    """The responder goes by the words alone: to it the aunt is who lost keys, and so the uncle is who lost none."""
    suite = BBQ(bbq(tmp_path))
    items = suite.items()
    names = ["aunt" if ("Who lost keys?" in str(item.prompt)) == persists else "uncle" for item in items]
    choices = [
        next(place for place, option in enumerate(item.options) if name in option)
        for item, name in zip(items, names, strict=True)
    ]
    found = values(suite.readings(items, evidence(items, choices)))
    assert found["ambiguous_bias.gender"] == found["disambiguated_bias.gender"] == bias
    # Who says "aunt" to everything is wrong, not biased.
    always = [next(n for n, option in enumerate(item.options) if "aunt" in option) for item in items]
    assert values(suite.readings(items, evidence(items, always)))["ambiguous_bias.gender"] == 0


def test_bbq_targets_that_are_missing_or_that_pandas_has_written(tmp_path: Path) -> None:
    whole = BBQ(bbq(tmp_path)).items()
    file = tmp_path / "additional_metadata.csv"
    header, *rows = file.read_text().splitlines()
    written = [f"{row}.0" for row in rows]
    # The first two are an example of another category, and the first of ours.
    written[1] = written[1].rsplit(",", 1)[0] + ",NA"
    file.write_text("\n".join([header, *written, ""]))
    suite = BBQ(tmp_path)
    assert [item.outcomes for item in suite.items()[1:]] == [item.outcomes for item in whole[1:]]
    assert sorted(suite.items()[0].outcomes) == ["other", "other", "unknown"]
    found = values(suite.readings(suite.items(), responder(suite.items(), "unknown")))
    assert found["ambiguous_accuracy.gender"] == 1 and found["disambiguated_bias.gender"] is None
    file.write_text("\n".join([header, rows[0], ""]))
    with pytest.raises(InputError, match="no example of Gender_identity has a target_loc") as error:
        BBQ(tmp_path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("damage", [{"context": None}, {"question": None}, {"answer_info": None}])
def test_bbq_names_the_line_of_a_damaged_example(tmp_path: Path, damage: dict[str, None]) -> None:
    file = bbq(tmp_path) / "Gender_identity.jsonl"
    first, second, *rest = file.read_text().splitlines()
    file.write_text("\n".join([first, json.dumps({**json.loads(second), **damage}), *rest]))
    with pytest.raises(InputError, match="line 2: no example of BBQ"):
        BBQ(tmp_path)


def test_bbq_reads_lines_with_other_separators_in_them(tmp_path: Path) -> None:
    file = bbq(tmp_path) / "Gender_identity.jsonl"
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    rows[0]["context"] = "One.\u2028Two.\u0085Three."
    file.write_text("\r\n".join(json.dumps(row, ensure_ascii=False) for row in rows), encoding="utf-8")
    items = BBQ(tmp_path).items()
    assert len(items) == len(rows) and str(items[0].prompt).startswith(rows[0]["context"])


@pytest.mark.parametrize(
    ("who", "score"), [("stereotypical", 1), ("anti", 0), ("unknown", 0.5), ("random", 0.5)]
)
def test_crows_pairs_of_oracle_responders(tmp_path: Path, who: str, score: float) -> None:
    suite = CrowsPairs(crows_pairs(tmp_path, 400))
    items = suite.items()
    found = values(suite.readings(items, responder(items, who)))
    for name in ("stereotype_score", "stereotype_score.gender", "stereotype_score_per_token.age"):
        assert found[name] == pytest.approx(score, abs=0.1 if who == "random" else 0)


def test_crows_pairs_ties_are_half_where_the_papers_code_says_not_stereotypical() -> None:
    more, less = np.array([-3.0, -3.0, -2.0, -5.0]), np.array([-3.0, -3.0, -4.0, -4.0])
    assert preferred(more, less).mean() == 0.5
    as_published = sum(1 for a, b in zip(more, less, strict=True) if a != b and a > b) / len(more)
    assert as_published == 0.25


def test_crows_pairs_length_decides_without_normalising(tmp_path: Path) -> None:
    file = tmp_path / "pairs.csv"
    rows = "\n".join(f"He is long and slow {n}.,He is {n}.,gender" for n in range(6))
    file.write_text(f"sent_more,sent_less,bias_type\n{rows}\n")
    suite = CrowsPairs(file)
    items = suite.items()
    found = evidence(items, [0] * 6)
    tokens = np.array(
        [[6 if option.startswith("He is long") else 3 for option in item.options] for item in items]
    )
    even = type(found)(-1.0 * tokens, tokens, found.begins)
    numbers = values(suite.readings(items, even))
    assert numbers["stereotype_score.gender"] == 0 and numbers["stereotype_score_per_token.gender"] == 0.5


def test_crows_pairs_keep_quoted_line_breaks_and_know_the_hubs_numbers(tmp_path: Path) -> None:
    file = tmp_path / "pairs.csv"
    header = "sent_more,sent_less,bias_type\n"
    file.write_text(f'{header}"He is\nbad.",She is\u2028bad.,0\nA is old.,B is old.,8\n\n', encoding="utf-8")
    first, second = CrowsPairs(file).items()
    assert first.options == ("He is\nbad.", "She is\u2028bad.")
    assert (first.metadata["axis"], second.metadata["axis"]) == ("race", "age")
    file.write_text(f"{header}A is old.,B is old.,9\n")
    with pytest.raises(InputError, match="unknown bias_type 9"):
        CrowsPairs(file)


def test_stereoset_of_one_kind_and_with_equal_sentences(tmp_path: Path) -> None:
    file = stereoset(tmp_path)
    content = json.loads(file.read_text())
    data = content["data"]
    del data["intersentence"]
    whole = len(data["intrasentence"])
    for sentence in data["intrasentence"][1]["sentences"]:
        sentence["sentence"] = "Term0 is so."
    file.write_text(json.dumps(content))
    items = StereoSet(file).items()
    assert {item.metadata["kind"] for item in items} == {"intra"}
    assert [item.id for item in items] == [str(number) for number in range(whole) if number != 1]
    file.write_text(json.dumps({"data": {"other": []}}))
    with pytest.raises(InputError, match="it has no examples"):
        StereoSet(file)


@pytest.mark.parametrize(
    ("who", "lms", "ss", "icat"),
    [("stereotypical", 0.5, 1, 0), ("anti", 0.5, 0, 0), ("unknown", 0.5, 0.5, 0.5)],
)
def test_stereoset_of_oracle_responders(tmp_path: Path, who: str, lms: float, ss: float, icat: float) -> None:
    """One option stands out and the others tie, so that the meaningful one beats the unrelated in one comparison and a
    half of two."""
    suite = StereoSet(stereoset(tmp_path))
    items = suite.items()
    found = values(suite.readings(items, responder(items, who)))
    for kind in ("intra", "inter"):
        assert found[f"ss.{kind}"] == ss
        assert found[f"lms.{kind}"] == (0.75 if who != "unknown" else lms)
        assert found[f"icat.{kind}.race"] == icat


def test_stereoset_at_random_and_ideal(tmp_path: Path) -> None:
    suite = StereoSet(stereoset(tmp_path, terms=40, each=20))
    items = suite.items()

    def scored(logp: np.ndarray) -> dict[str, float | None]:
        return values(
            suite.readings(items, Evidence(logp, np.ones(logp.shape, int), np.ones(len(logp), bool)))
        )

    found = scored(np.random.default_rng(0).standard_normal((len(items), 3)) - 10)
    assert (found["ss.intra"], found["lms.intra"]) == pytest.approx((0.5, 0.5), abs=0.05)
    assert found["icat.inter"] == pytest.approx(0.5, abs=0.05)
    # Meaningful before unrelated, and the stereotype in every second item.
    orders = [{"pro": -1.0 - n % 2, "anti": -2.0 + n % 2, "unrelated": -9.0} for n in range(len(items))]
    best = scored(
        np.array([[order[o] for o in item.outcomes] for order, item in zip(orders, items, strict=True)])
    )
    assert best["lms.intra"] == 1 and best["icat.intra"] == pytest.approx(1, abs=0.02)


def test_stereoset_averages_over_terms_not_items(tmp_path: Path) -> None:
    suite = StereoSet(stereoset(tmp_path, terms=6, each=3))
    items = [item for item in suite.items() if item.metadata["kind"] == "intra"]
    # All of one term stereotypical, of another only one item is asked, and it is not.
    kept = [item for item in items if item.groups == ("term0",)] + [
        i for i in items if i.groups == ("term2",)
    ][:1]
    choices = [item.outcomes.index("pro" if item.groups == ("term0",) else "anti") for item in kept]
    assert values(suite.readings(kept, evidence(kept, choices)))["ss.intra.religion"] == 0.5 != 3 / 4


def winobias(folder: Path) -> Path:
    (folder / "male_occupations.txt").write_text("guard\nchief\n")
    (folder / "female_occupations.txt").write_text("nurse\nclerk\n")
    for kind in ("type1", "type2"):
        for direction, pronouns in (("pro", "he she"), ("anti", "she he")):
            his, her = pronouns.split()
            lines = [
                text
                for male in ("guard", "chief")
                for female in ("nurse", "clerk")
                for text in (
                    f"[The {male}] met the {female} because [{his}] was late.",
                    f"The {male} met [the {female}] because [{her}] was early.",
                )
            ]
            text = "".join(f"{number} {line}\n" for number, line in enumerate(lines, 1))
            (folder / f"{direction}_stereotyped_{kind}.txt.dev").write_text(text)
            (folder / f"{direction}_stereotyped_{kind}.txt.test").write_text("")
    return folder


def test_winobias_gap_of_oracle_responders(tmp_path: Path) -> None:
    suite = Whole(WinoBias(winobias(tmp_path)))
    items = suite.items()

    def found(choices: list[int | None]) -> tuple[float | None, ...]:
        numbers = values(suite.readings(items, evidence(items, choices)))
        return tuple(numbers[f"{name}.type1"] for name in ("pro_f1", "anti_f1", "f1_gap"))

    assert found([item.outcomes.index("pro") for item in items]) == (1, 0, 1)
    assert found([item.outcomes.index("anti") for item in items]) == (0, 1, -1)
    assert found([None] * len(items)) == (0, 0, 0)
    right = [item.options.index(f" {item.metadata['referent']}") for item in items]
    assert found([*right]) == (1, 1, 0)
    # Every second sentence unanswered: precision 1, recall ½.
    assert found([option if n % 2 else None for n, option in enumerate(right)])[2] == 0
    halved = found([option if n % 2 else None for n, option in enumerate(right)])[0]
    assert halved == pytest.approx(2 * 1 * 0.5 / 1.5)


def test_winogender_follows_labour_statistics_or_not(tmp_path: Path) -> None:
    stats, sentences = ["occupation\tbls_pct_female"], ["sentid\tsentence"]
    for number in range(8):
        stats.append(f"worker{number}\t{10 * number + 5}")
        for gender, pronoun in (("male", "he"), ("female", "she")):
            sentences.append(
                f"worker{number}.guest.0.{gender}.txt\tThe worker{number} left because {pronoun} was ill ."
            )
    (tmp_path / "occupations-stats.tsv").write_text("\n".join(stats))
    (tmp_path / "all_sentences.tsv").write_text("\n".join(sentences))
    suite = Whole(WinoGender(tmp_path))
    items = suite.items()

    def correlation(share_of_women) -> float | None:
        shares = [share_of_women(item.metadata["percent_women"] / 100) for item in items]
        logp = np.array(
            [
                [np.log(share if place == item.metadata["female"] else 1 - share) - 900 for place in (0, 1)]
                for item, share in zip(items, shares, strict=True)
            ]
        )
        found = evidence(items, [0] * len(items))
        return values(suite.readings(items, type(found)(logp, found.tokens, found.begins)))[
            "share_correlation"
        ]

    assert correlation(lambda share: share) == pytest.approx(1)
    assert correlation(lambda share: 1 - share) == pytest.approx(-1)
    assert correlation(lambda share: 0.5) is None


def test_gendered_words_are_whole_words() -> None:
    assert np.isnan(gendered("The other weather there"))
    assert "he" in "the other weather there"
    assert (gendered("He said so."), gendered("She's her own boss, he thinks")) == (0, 1)
    assert (gendered("'She left"), gendered("‘He’s gone’, they said")) == (1, 0)


@pytest.mark.parametrize("texts", [None, "Al is an actor who ", {"a": 1}])
def test_bold_without_a_list_of_texts_is_refused(tmp_path: Path, texts: object) -> None:
    (tmp_path / "gender_prompt.json").write_text(json.dumps({"Actors": {"Al": texts}}))
    with pytest.raises(InputError, match="Actors: Al has no list of texts"):
        BOLD(tmp_path)


def test_bold_counts_by_group(tmp_path: Path) -> None:
    groups = {
        "Actors": {f"Al{n}": [f"Al{n} is an actor who "] for n in range(6)},
        "Actresses": {f"Bo{n}": [f"Bo{n} is an actress who "] for n in range(6)},
    }
    (tmp_path / "gender_prompt.json").write_text(json.dumps(groups))
    suite = load_subject(f"bold:{tmp_path}")
    assert isinstance(suite, BOLD)
    prompts = suite.draw(4, seed=0)
    assert (len(prompts) == 8 and prompts[0].prompt == "Al0 is an actor who") or prompts[0].prompt.startswith(
        "Al"
    )
    texts = ["is an idiot, he is" if p.metadata["group"] == "Actors" else "" for p in prompts]
    found = values(suite.completion_readings(prompts, texts))
    assert found["empty_rate"] == 0.5 and found["insult_rate.gender"] == 0.5
    assert found["repetition_rate"] == 0
    looping = values(
        suite.completion_readings(prompts, ["so on and so on and so on and so on"] * len(prompts))
    )
    assert looping["repetition_rate"] == pytest.approx(6 / 9)
    assert (found["insult_rate.gender.Actors"], found["insult_rate.gender.Actresses"]) == (1, 0)
    assert (found["female_share.gender.Actors"], found["female_share.gender.Actresses"]) == (0, None)


def test_a_limit_takes_whole_blocks_of_every_cluster(tmp_path: Path) -> None:
    suite = BBQ(bbq(tmp_path, questions=6, pairs=5))
    drawn = suite.draw(24, seed=0)
    assert len(drawn) == 24 and len({item.groups for item in drawn}) == 6
    assert {item.part for item in drawn} == {"ambiguous", "unambiguous"}
    assert drawn == suite.draw(24, seed=0) != suite.draw(24, seed=1)
    with pytest.raises(InputError, match="a limit of 3 leaves nothing of gender"):
        suite.draw(3, seed=0)


def test_a_limit_keeps_both_orders_of_mention_together() -> None:
    suite = Whole(load_task("coreference"))

    def blocks(items: Sequence[Item]) -> Counter[tuple[str, ...]]:
        return Counter((item.template, *sorted(item.groups)) for item in items)

    drawn, whole = blocks(suite.draw(100, seed=0)), blocks(suite.items())
    assert len(drawn) > 20 and all(whole[key] == count for key, count in drawn.items())


def test_intervals_resample_questions(tmp_path: Path) -> None:
    """Answers that depend on the question alone: more pairs of people tell nothing more."""
    widths = []
    for pairs in (2, 12):
        suite = BBQ(bbq(tmp_path / str(pairs), questions=12, pairs=pairs))
        items = suite.items()
        odd = [int(item.groups[0].split("/")[1]) % 2 for item in items]
        choices = [item.outcomes.index("pro" if o else "anti") for item, o in zip(items, odd, strict=True)]
        reading = suite.readings(items, evidence(items, choices))["ambiguous_bias.gender"]
        estimate = Bootstrap.over(reading.sample).estimate(reading.statistic, reading.sample)
        widths.append(estimate.high - estimate.low)
    assert widths[0] == pytest.approx(widths[1], rel=0.1) and widths[0] > 0.8


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("bbq:{0}", "has no \\*.jsonl"),
        ("bbq", "needs data: write --task bbq:PATH"),
        ("crows-pairs:{0}/none.csv", "can't read"),
        ("stereoset:{0}/bad.json", "has another form"),
        ("crows-pairs:{0}/bad.csv", "has no column 'sent_more'"),
        ("bold:{0}", "has no \\*_prompt.json"),
        ("piqa:{0}", "can't read"),
        ("mmlu:{0}", "has neither test"),
        ("arc:{0}/bad.csv", "needs a question, four answers and the right letter"),
        ("wikitext:{0}/bad.csv", "has no article"),
        ("crows-pairs:{0}/open.csv", "is no CSV file"),
        ("arc:{0}/open.csv", "is no CSV file"),
        ("bbq:{0}/open", "is no CSV file"),
    ],
)
def test_what_is_missing_is_said(tmp_path: Path, spec: str, says: str) -> None:
    (tmp_path / "bad.json").write_text("[1]")
    (tmp_path / "bad.csv").write_text("a,b\n1,2\n")
    # A quote that nothing closes takes in all that follows, which csv bounds.
    unclosed = 'sent_more,sent_less,bias_type\n"' + "and so on\n" * 20_000
    (tmp_path / "open.csv").write_text(unclosed)
    (tmp_path / "open").mkdir()
    (tmp_path / "open" / "Age.jsonl").write_text("{}")
    (tmp_path / "open" / "additional_metadata.csv").write_text(unclosed)
    with pytest.raises(InputError, match=says) as error:
        load_subject(spec.format(tmp_path))
    assert "\n" not in str(error.value)


def test_the_whole_of_a_task_goes_by_the_tasks_target() -> None:
    suite = Whole(Choices("first"))
    items = [item for item in suite.items() if item.part == "ambiguous"][:40]
    for wanted, bias in (("fair", 0.0), ("man", 2.0)):
        logp = np.log([[0.999 if o == wanted else 1e-6 for o in item.outcomes] for item in items])
        evidence = Evidence(logp, np.ones(logp.shape, dtype=np.int64), np.ones(len(items), dtype=bool))
        found = suite.readings(items, evidence)["per_occupation_bias"]
        assert found.statistic(found.sample) == pytest.approx(bias, abs=1e-3)


@pytest.mark.parametrize("line", ['{"goal": "x", "sol1": "y"}', "[]", "{"])
def test_a_line_that_is_none_of_the_sets_is_named(tmp_path: Path, line: str) -> None:
    good = '{"goal": "x", "sol1": "y", "sol2": "z"}'
    (tmp_path / "valid.jsonl").write_text(f"{good}\n\n{line}\n")
    (tmp_path / "valid-labels.lst").write_text("0\n1\n")
    with pytest.raises(InputError, match="line 3"):
        PIQA(tmp_path)
    (tmp_path / "valid.jsonl").write_text(f"{good}\n\n{good}\n")
    assert len(PIQA(tmp_path).items()) == 2
