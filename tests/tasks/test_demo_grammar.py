"""The generated grammar: faultless sentences parse, faulty ones do not, and counting their words tells nothing."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from bench.core.loading import load

HOME = Path(__file__).parents[2] / "tasks" / "demo"
Splits = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def declared() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((HOME / "grammar.yaml").read_text())
    return found


@pytest.fixture(scope="module")
def module() -> Any:
    """The module `grammar.py`."""
    return sys.modules[load("grammar:grammar", HOME).__module__]


@pytest.fixture(scope="module")
def made(declared: dict[str, Any], module: Any) -> Splits:
    found: Splits = module.grammar(**declared["source"]["params"])
    return found


class Parser:
    """A recogniser of the language, written from its rules and not from the generator.

    Each method gives the places where a phrase that begins at a place may end.
    """

    def __init__(self, module: Any) -> None:
        words = module.lexicon()
        self.kinds: dict[str, tuple[str, int | None]] = {}
        numbered = {"d": module.DETERMINERS, "n": words.nouns, "i": words.intransitive, "t": words.transitive}
        for kind, forms in numbered.items():
            self.kinds |= {word: (kind, number) for number in (0, 1) for word in forms[number]}
        others = {"a": words.adjectives, "v": words.adverbs, "p": module.PREPOSITIONS}
        others |= {"r": [module.RELATIVE], "c": [module.CONJUNCTION]}
        self.kinds |= {word: (kind, None) for kind, of in others.items() for word in of}

    def accepts(self, text: str) -> bool:
        self.row = [self.kinds[word] for word in text.split()]
        first = self.clause(0)
        joined = {end for place in first if self.there(place, "c") for end in self.clause(place + 1)}
        return len(self.row) in first | joined

    def there(self, place: int, kind: str, number: int | None = None) -> bool:
        return self.row[place : place + 1] == [(kind, number)]

    def clause(self, at: int) -> set[int]:
        return {end for number in (0, 1) for verb in self.noun_phrase(at, number) for end in self.verb(verb, number)}

    def noun_phrase(self, at: int, number: int) -> set[int]:
        if not self.there(at, "d", number):
            return set()
        at += 1
        while self.there(at, "a"):
            at += 1
        if not self.there(at, "n", number):
            return set()
        at += 1
        behind = self.any_noun_phrase(at + 1) if self.there(at, "p") else set()
        return {at} | behind | (self.verb(at + 1, number) if self.there(at, "r") else set())

    def any_noun_phrase(self, at: int) -> set[int]:
        return self.noun_phrase(at, 0) | self.noun_phrase(at, 1)

    def verb(self, at: int, number: int) -> set[int]:
        transitive = self.there(at, "t", number)
        if not transitive and not self.there(at, "i", number):
            return set()
        at += 2 if self.there(at + 1, "v") else 1
        return self.any_noun_phrase(at) if transitive else {at}


def test_the_parser_knows_right_from_wrong(module: Any) -> None:
    words, parser = module.lexicon(), Parser(module)
    (ti, *_), (tai, *_) = module.DETERMINERS
    cat, cats, sleeps, sees, see = (
        of[0] for of in (*words.nouns, words.intransitive[0], words.transitive[0], words.transitive[1])
    )
    near = module.PREPOSITIONS[0]
    for right in (f"{ti} {cat} {sleeps}", f"{ti} {cat} {near} {tai} {cats} {sees} {ti} {cat}"):
        assert parser.accepts(right)
    for wrong in (
        f"{tai} {cats} {sleeps}",
        f"{ti} {cat} {near} {tai} {cats} {see} {ti} {cat}",
        f"{ti} {cat} {sees}",
        f"{ti} {cat} {sleeps} {ti} {cat}",
        f"{cat} {ti} {sleeps}",
        f"{ti} {cat}",
    ):
        assert not parser.accepts(wrong)


def test_a_sentence_is_acceptable_where_it_parses(made: Splits, module: Any) -> None:
    parser = Parser(module)
    for columns in made.values():
        assert columns["label"] == [int(parser.accepts(text)) for text in columns["sentence"]]


def test_splits_have_their_sizes_and_share_no_sentence(made: Splits, module: Any) -> None:
    assert {split: Counter(columns["label"]) for split, columns in made.items()} == {
        "train": {0: 600, 1: 600}, "val": {0: 100, 1: 100}, "test": {0: 200, 1: 200},
    }  # fmt: skip
    everything = [text for columns in made.values() for text in columns["sentence"]]
    assert len(set(everything)) == len(everything)
    assert {len(text.split()) for text in everything} == set(range(8, 15))
    words = module.lexicon().words()
    assert len(set(words)) == len(words) <= 400
    assert {word for text in everything for word in text.split()} <= set(words)


def test_a_sentence_depends_on_seed_split_and_number_alone(made: Splits, module: Any) -> None:
    few = module.grammar(rows={"train": 4, "val": 2})
    for split in few:
        assert few[split]["sentence"] == made[split]["sentence"][: len(few[split]["sentence"])]
    assert set(module.grammar(rows={"train": 4}, seed=1)["train"]["sentence"]).isdisjoint(few["train"]["sentence"])


def test_each_fault_keeps_the_plan(module: Any) -> None:
    """Words of a kind are as frequent, and sentences as long, with a fault as without: no difference of means."""
    parser, found = Parser(module), module.grammar(rows={"many": 6000})["many"]
    for kind in "dnitavprc":
        means = [0.0, 0.0]
        for text, label in zip(found["sentence"], found["label"], strict=True):
            means[label] += sum(parser.kinds[word][0] == kind for word in text.split()) / 3000
        assert abs(means[0] - means[1]) < 0.08, kind


def test_counting_words_tells_nothing(made: Splits, module: Any) -> None:
    """Logistic regression on counts of words, and on counts of their kinds and numbers."""
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.linear_model import LogisticRegression

    parser = Parser(module)
    for say in (str, lambda word: f"{parser.kinds[word][0]}{parser.kinds[word][1]}"):
        train, test = (
            [" ".join(say(word) for word in text.split()) for text in made[split]["sentence"]]
            for split in ("train", "test")
        )
        counter = CountVectorizer(token_pattern=r"\S+").fit(train)
        model = LogisticRegression(max_iter=2000).fit(counter.transform(train), made["train"]["label"])
        assert model.score(counter.transform(test), made["test"]["label"]) < 0.6
