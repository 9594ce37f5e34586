"""Notes as features: words in buckets, the same everywhere, with no person in them."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from crmlab.demo import make_crm
from crmlab.features.text import (
    NOTE_BUCKETS,
    hashed_words,
    is_free_text,
    note_features,
    text_meaning,
    word_bucket,
)
from crmlab.privacy import fold, person_names
from crmlab.schema import ParameterError

GOLDEN = [27, 16, 17, 6]
"""Buckets of four words, as any version must give them."""


def notes(*texts: str | None) -> np.ndarray:
    return np.array(texts, dtype=object)


def test_words_are_counted_in_their_buckets() -> None:
    values = note_features(notes("Il prezzo: PREZZO e Budget!", "Perché?", "", None))
    assert values["notes_filled"].tolist() == [1, 1, 1, 0]
    assert values["notes_words_n"].tolist() == [3, 0, 0, 0]
    expected = np.zeros(NOTE_BUCKETS)
    expected[word_bucket("prezzo")] += 2
    expected[word_bucket("budget")] += 1
    counted = np.column_stack([values[f"notes_hash_{k:02d}"] for k in range(NOTE_BUCKETS)])
    np.testing.assert_array_equal(counted, [expected, 0 * expected, 0 * expected, 0 * expected])
    assert {v.dtype for v in values.values()} == {np.dtype("float64")}
    assert list(values)[:3] == ["notes_filled", "notes_words_n", "notes_hash_00"]


def test_buckets_are_fixed_for_ever() -> None:
    assert [word_bucket(w) for w in ("prezzo", "budget", "angebot", "entrega")] == GOLDEN


def test_bits_are_the_same_in_another_process() -> None:
    code = (
        "import numpy as np; from crmlab.features.text import note_features;"
        "v = note_features(np.array(['Prezzo troppo alto, Müller chiede 3 offerte', None], dtype=object), ['Müller']);"
        "print(np.column_stack(list(v.values())).tobytes().hex())"
    )
    done = [
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": s}
        )
        for s in ("1", "2")
    ]
    here = note_features(notes("Prezzo troppo alto, Müller chiede 3 offerte", None), ["Müller"])
    assert {d.stdout.strip() for d in done} == {np.column_stack(list(here.values())).tobytes().hex()}


def test_a_text_gives_the_same_whatever_stands_beside_it() -> None:
    texts = ["Chiede tempi di consegna", "Technische Fragen offen", None, "Chiede tempi di consegna"]
    together = hashed_words(pd.Series(texts, index=[5, 3, 3, 1]))
    assert together.index.tolist() == [5, 3, 3, 1]
    for k, text in enumerate(texts):
        alone = hashed_words(pd.Series([text], dtype="str"))
        np.testing.assert_array_equal(together.iloc[k], alone.iloc[0])


def test_spelling_case_and_diacritics_do_not_count() -> None:
    values = note_features(notes("Rückruf nächste Woche", "RUCKRUF NACHSTE WOCHE", "ru\u0308ckruf na\u0308chste woche"))
    for column in values.values():
        assert len(set(column.tolist())) == 1


def test_personal_data_and_numbers_change_nothing() -> None:
    plain, personal = (
        "Sentito: vuole una offerta",
        "Sentito Ada Rossi (ada@x.example, +39 02 5551234): vuole una offerta",
    )
    values = note_features(notes(plain, personal, plain + " 4500 di 12"), ["Ada", "Rossi"])
    for column in values.values():
        assert len(set(column.tolist())) == 1


def test_a_name_known_later_changes_no_earlier_note() -> None:
    contacts = pd.DataFrame(
        {"first_name": ["Conti"], "last_name": [None], "created_at": pd.to_datetime(["2024-05-01"])}
    )
    at = np.array(["2024-04-01", "2024-06-01"], dtype="datetime64[us]")
    words = note_features(notes(*["Conti da pagare"] * 2), person_names(contacts), at=at)["notes_words_n"]
    assert words.tolist() == [2, 1]
    nobody = note_features(notes("Conti da pagare"), person_names(contacts.iloc[:0]), at=at[:1])["notes_words_n"]
    assert nobody.tolist() == [2]


@pytest.mark.parametrize("n_buckets", [0, 101, 2.5, True])
def test_impossible_buckets_are_refused(n_buckets: object) -> None:
    with pytest.raises(ParameterError, match="`n_buckets` must be a whole number from 1 to 100"):
        note_features(notes("a"), n_buckets=n_buckets)


def test_free_text_is_long_and_various() -> None:
    sentences = pd.Series([f"a sentence of some length, number {k}" for k in range(60)], dtype="str")
    assert is_free_text(sentences)
    assert not is_free_text(sentences.iloc[:20])
    assert not is_free_text(pd.Series([f"code {k}" for k in range(60)], dtype="str"))
    assert not is_free_text(pd.Series(range(60)))
    assert not is_free_text(pd.Series([None] * 3, dtype="str"))


def test_every_column_has_a_meaning() -> None:
    meanings = [text_meaning(name) for name in note_features(notes("a"), n_buckets=3, prefix="x_request")]
    assert len(set(meanings)) == 5
    assert all("`x_request`" in m for m in meanings)


def test_nothing_of_a_person_reaches_the_features_of_the_demo() -> None:
    """The features are those of the sentences the simulator writes, with every blank for a person left empty."""
    from crmlab.demo.notes import _PERSONAL, _PLAIN, HOSTILE

    tables = make_crm(n_leads=1_500, seed=2).tables
    history = tables["changes"].query("field == 'notes'")
    names = person_names(tables["contacts"], tables["reps"])
    values = hashed_words(history["new_value"], names=names)
    forms = [form for group in (*_PERSONAL, *_PLAIN) for form in group]
    empty = [form.format(n="", f="", e="", t="") for form in forms]
    possible = hashed_words(pd.Series([*empty, *HOSTILE]))
    known = set(map(tuple, possible.to_numpy()))
    common = {fold(w) for text in forms for w in text.split()}
    # A surname such as Fiera or Conti takes a word of a sentence with it; all else must be a sentence without people.
    odd = {tuple(row) for row in values.to_numpy()} - known
    assert len(odd) <= 3 * len(common & set(names.known))
    assert not any(fold(n) in column for column in values for n in ("rossi", "ferrari"))
    assert len(values) > 1_000
