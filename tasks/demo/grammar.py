"""Sentences of a small made-up language, half of them with a fault that counting their words does not show.

Nothing is downloaded: the words are drawn from the seed, and every sentence is a function of the seed, its split and
its number. Faulty sentences have the very plan of faultless ones; a fault then exchanges or moves words, so that
lengths and counts of words do not give it away.

    sentence   clause [CONJUNCTION clause]
    clause     noun-phrase verb-phrase, of one number
    noun-phrase   DETERMINER ADJECTIVE* NOUN, of one number, [PREPOSITION noun-phrase | RELATIVE verb-phrase]
    verb-phrase   INTRANSITIVE [ADVERB] | TRANSITIVE [ADVERB] noun-phrase
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

SPLITS = {"train": 1200, "val": 200, "test": 400}
SHORTEST, LONGEST = 8, 14  # words
FAULTS = ("agreement", "argument", "order")
PREPOSITIONS, RELATIVE, CONJUNCTION = ("ne", "su", "fo", "gi"), "wei", "kau"
DETERMINERS = (("ti", "lu"), ("tai", "lau"))

Forms = tuple[tuple[str, ...], tuple[str, ...]]  # singular and plural, the same words in the same order
Pick = Callable[[int], int]  # a random whole number from 0 to below the argument
Phrases = list[list[str]]  # a sentence in pieces; a noun phrase without what follows its noun is one piece


@dataclass(frozen=True)
class Lexicon:
    """The words of the language; those that have a number as singular and plural."""

    nouns: Forms
    intransitive: Forms
    transitive: Forms
    adjectives: tuple[str, ...]
    adverbs: tuple[str, ...]

    def words(self) -> list[str]:
        """Every word once."""
        forms = (*DETERMINERS, *self.nouns, *self.intransitive, *self.transitive)
        others = (self.adjectives, self.adverbs, PREPOSITIONS, (RELATIVE, CONJUNCTION))
        return [word for words in (*forms, *others) for word in words]


def lexicon(seed: int = 0) -> Lexicon:
    """Words of the seed: 40 nouns (-o, -oi), 16 verbs of each kind (-et, -en), 16 adjectives (-a), 8 adverbs (-u)."""
    stems = ["".join(letters) for letters in product("bdfgklmnprstvz", "aeiou", "bdfgklmnprstvz")]
    order = iter(_generator(seed, 0).permutation(len(stems)))

    def drawn(count: int, *endings: str) -> Any:
        chosen = [stems[next(order)] for _ in range(count)]
        return tuple(tuple(stem + ending for stem in chosen) for ending in endings)

    nouns, intransitive, transitive = drawn(40, "o", "oi"), drawn(16, "et", "en"), drawn(16, "et", "en")
    return Lexicon(nouns, intransitive, transitive, drawn(16, "a")[0], drawn(8, "u")[0])


def grammar(rows: Mapping[str, int] | None = None, seed: int = 0) -> dict[str, dict[str, Any]]:
    """`sentence`, and `label` 1 for an acceptable one and 0 for a faulty one, in turn; `rows` in each split."""
    words, made = lexicon(seed), {}
    for place, (split, count) in enumerate((rows or SPLITS).items(), start=1):
        labels = [number % 2 for number in range(count)]
        drawn = [
            sentence(_generator(seed, (place << 32) + number), words, faulty=not label)
            for number, label in enumerate(labels)
        ]
        made[split] = {"sentence": drawn, "label": labels}
    return made


def _generator(seed: int, number: int) -> np.random.Generator:
    import numpy as np

    return np.random.Generator(np.random.Philox(key=[seed, number]))


def sentence(draw: np.random.Generator, words: Lexicon, faulty: bool = False) -> str:
    """One sentence of SHORTEST to LONGEST words.

    A faultless one is planned for a fault too, and spared: so the plans are equally frequent on both sides.
    """
    numbers = _numbers(draw)

    def pick(count: int) -> int:
        return int(next(numbers) * count)

    while True:
        fault = FAULTS[pick(3)]
        apart = fault == "agreement" or (fault == "order" and pick(2) == 0)
        plan = _distracted if apart else _two_verbs
        phrases = plan(pick, words, faulty and fault != "order")
        if faulty and fault == "order":
            _disorder(pick, phrases)
        flat = [word for phrase in phrases for word in phrase]
        if SHORTEST <= len(flat) <= LONGEST:
            return " ".join(flat)


def _numbers(draw: np.random.Generator) -> Iterator[float]:
    while True:
        yield from draw.random(64).tolist()


def _distracted(pick: Pick, words: Lexicon, faulty: bool) -> Phrases:
    """A clause with nouns of any number between subject and verb; the fault: the verb has not its subject's number."""
    number = pick(2)
    phrases = [_noun_phrase(pick, words, number)]
    if pick(3) == 0:
        phrases += [[RELATIVE], _verb(pick, words.transitive[number], words), _noun_phrase(pick, words, pick(2))]
    else:
        for _ in range(1 + (pick(3) == 0)):
            phrases += [[_one(pick, PREPOSITIONS)], _noun_phrase(pick, words, pick(2))]
    own = 1 - number if faulty else number
    if pick(2):
        return [*phrases, _verb(pick, words.intransitive[own], words)]
    return [*phrases, _verb(pick, words.transitive[own], words), _noun_phrase(pick, words, pick(2))]


def _two_verbs(pick: Pick, words: Lexicon, faulty: bool) -> Phrases:
    """An intransitive and a transitive verb, in either order; the fault: the object stands with the wrong one."""
    number, kinds = pick(2), [words.intransitive, words.transitive]
    first = pick(2)  # whether the first verb is the transitive one
    phrases = [_noun_phrase(pick, words, number)]
    if pick(2):
        between, second = [], number
        phrases += [[RELATIVE]]
    else:
        second = pick(2)
        between = [[CONJUNCTION], _noun_phrase(pick, words, second)]
    verbs = [_verb(pick, kinds[first][number], words), _verb(pick, kinds[1 - first][second], words)]
    objects: list[Phrases] = [[], []]
    objects[first if faulty else 1 - first] = [_noun_phrase(pick, words, pick(2))]
    return [*phrases, verbs[0], *objects[0], *between, verbs[1], *objects[1]]


def _disorder(pick: Pick, phrases: Phrases) -> None:
    """Move a determiner or an adjective behind its noun, or a word of the verb's before its subject."""
    nominal = [place for place, phrase in enumerate(phrases) if phrase[0] in (*DETERMINERS[0], *DETERMINERS[1])]
    how = pick(3)
    if how == 0:
        phrases.insert(0, phrases.pop(1))  # the word that follows the subject stands before it
        return
    chosen = phrases[nominal[pick(len(nominal))]]
    moved = 1 if how == 1 and len(chosen) > 2 else 0
    chosen.append(chosen.pop(moved))


def _noun_phrase(pick: Pick, words: Lexicon, number: int) -> list[str]:
    """Determiner, adjectives (none as often as some, two at most), noun."""
    adjectives = [_one(pick, words.adjectives) for _ in range((0, 0, 1, 1, 2)[pick(5)])]
    return [_one(pick, DETERMINERS[number]), *adjectives, _one(pick, words.nouns[number])]


def _verb(pick: Pick, forms: Sequence[str], words: Lexicon) -> list[str]:
    """A verb, and once in three times an adverb."""
    return [_one(pick, forms), *([_one(pick, words.adverbs)] if pick(3) == 0 else [])]


def _one(pick: Pick, words: Sequence[str]) -> str:
    return words[pick(len(words))]
