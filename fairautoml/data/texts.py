"""Free text: its terms as columns of the matrix, and TF-IDF features fitted on training rows.

A text is a list of codes of its distinct words, pairs of words and three letters of a word, so
that it is part of the numeric matrix; the vocabulary holds no term of a single row. Weights,
components and scores are fitted in folds only. Source: Deerwester et al. (1990), "Indexing by
latent semantic analysis".
"""

import re
import warnings
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse
from sklearn.decomposition import TruncatedSVD
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, Ridge

from fairautoml.portable import Dump, Positions
from fairautoml.runtime._rows import terms_of

FEWEST_TEXTS, FEWEST_WORDS = 50, 3.0
"""Distinct texts, and words of the mean text, from which a column of texts is free text."""

FEWEST_DISTINCT = 0.2
"""Smallest share of distinct texts: categories of several words repeat more often."""

FEWEST_ROWS = 2
"""Rows in which a term of the vocabulary must occur."""

MOST_TERMS, LONGEST_TEXT = 20_000, 512
"""Most terms of a vocabulary (the most frequent ones), and most terms read of one text."""

COMPONENTS = 30
"""Components of a text column."""

SCORE_C = 10.0
"""Inverse penalty of the logistic regression that gives a text its score."""

LETTERS = re.compile(r"\d*[^\W\d]\w*")
"""A word that tells text from numbers and dates."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TextColumn:
    """A column of free text; its terms are columns at the end of the matrix."""

    name: str
    position: int  # its position in the table given to ``fit``
    terms: tuple[str, ...]  # term of each code 0, 1, 2, ..
    width: int  # columns of the matrix: most known terms of a text of ``fit``


@dataclass(frozen=True, slots=True)
class TextBlock:
    """Where the matrix holds the terms of a text column."""

    start: int  # first column
    stop: int  # behind the last column
    n_terms: int  # size of the vocabulary


def is_text(values: "pd.Series[Any]") -> bool:
    """Return whether a column of categories holds sentences, most of them different."""
    declared = isinstance(values.dtype, pd.CategoricalDtype)
    if declared or pd.api.types.infer_dtype(values, skipna=True) != "string":
        return False
    known = values.dropna()
    distinct = known.unique()
    if len(distinct) < max(FEWEST_TEXTS, FEWEST_DISTINCT * len(known)):
        return False
    return bool(np.mean([len(LETTERS.findall(text)) for text in distinct]) >= FEWEST_WORDS)


def fit_text(
    name: str, position: int, values: "pd.Series[Any]"
) -> tuple[TextColumn, NDArray[np.float32]] | None:
    """Learn the vocabulary of a column and apply it; None if no term occurs in two rows."""
    codes, texts = pd.factorize(values)
    rows = np.bincount(codes[codes >= 0], minlength=len(texts))
    counts: Counter[str] = Counter()
    for text, n_rows in zip(texts, rows.tolist(), strict=True):
        counts.update(dict.fromkeys(terms_of(str(text)), n_rows))
    common = sorted((-n, term) for term, n in counts.items() if n >= FEWEST_ROWS)
    if not common:
        return None
    terms = tuple(sorted(term for _, term in common[:MOST_TERMS]))
    block = _encoded(terms, codes, texts, None)
    return TextColumn(name=name, position=position, terms=terms, width=block.shape[1]), block


def encode_text(column: TextColumn, values: Any) -> NDArray[np.float32]:
    """Return the codes of the known terms of each text, shape (n_rows, width); else NaN."""
    return _encoded(column.terms, *pd.factorize(np.asarray(values, dtype=object)), column.width)


def _encoded(
    terms: tuple[str, ...], codes: NDArray[np.integer], texts: Any, width: int | None
) -> NDArray[np.float32]:
    """Return the codes of terms of each text, as wide as the longest one without a width."""
    known = {term: code for code, term in enumerate(terms)}
    read = [[known[term] for term in terms_of(str(text)) if term in known] for text in texts]
    if width is None:
        width = min(LONGEST_TEXT, max(map(len, read)))
    # The last row is what a missing text (-1) finds.
    found = np.full((len(texts) + 1, width), np.nan, dtype=np.float32)
    for row, one in zip(found, read, strict=False):
        row[: len(one)] = one[:width]
    return found[codes]


def terms_matrix(block: NDArray[np.floating], n_terms: int) -> sparse.csr_matrix:
    """Return codes of terms as a 0/1 matrix, shape (n_rows, n_terms), each row in their order."""
    there = ~np.isnan(block)
    ends = np.append(0, np.cumsum(there.sum(axis=1)))
    terms = block[there].astype(np.int32)
    return sparse.csr_matrix((np.ones(len(terms)), terms, ends), shape=(len(block), n_terms))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TextEncoder:
    """Fitted features of a text column: components, and scores of linear models."""

    start: int  # first column of the terms in the matrix
    # features of a term times its weight; the last row is that of missing
    values: NDArray[np.float64]  # shape (n_terms + 1, n_features)
    squares: NDArray[np.float64]  # shape (n_terms + 1,): squared weight of a term
    offset: NDArray[np.float64]  # shape (n_features,): added to the sums
    width: int  # columns of the terms

    def of(self, X: NDArray[np.floating]) -> NDArray[np.float32]:
        """Return the features of rows, shape (n_rows, n_features)."""
        # Its rows are summed term by term, as the runtime does: one row or many give equal sums.
        present = terms_matrix(X[:, self.start : self.start + self.width], len(self.squares) - 1)
        total, square = present @ self.values[:-1], present @ self.squares[:-1]
        norm = np.sqrt(np.where(square > 0, square, 1.0))
        return (total / norm[:, None] + self.offset).astype(np.float32)

    def dump(self, out: Dump, columns: Positions) -> Positions:
        """Append the features and return their columns."""
        content = {
            "columns": columns[self.start : self.start + self.width],
            "values": self.values,
            "squares": self.squares,
            "offset": self.offset,
        }
        return out.step("text", content, len(self.offset))


def fit_text_encoder(
    X: NDArray[np.floating],
    block: TextBlock,
    counted: NDArray[np.int64],
    learned: "list[NDArray[Any]]",
    parts: "list[tuple[NDArray[np.int64], NDArray[np.int64]]]",
    most: int,
    seed: int,
) -> tuple[TextEncoder, NDArray[np.float32]]:
    """Fit features on the rows that count, and return them for all rows.

    There are ``most`` components, fewer where terms or rows are fewer.
    For each learned target there is a score of a linear model on TF-IDF, in the training rows
    that of a model of the other ``parts``, so that no row's label is in its own features.
    """
    weights, tfidf = _tfidf(X[:, block.start : block.stop], block.n_terms, counted)
    rows = tfidf[counted]
    size = min(most, int((weights > 0).sum()) - 1, len(counted) - 1)
    vectors = np.zeros((block.n_terms, 0))
    if size > 0 and rows.nnz:
        vectors = TruncatedSVD(size, random_state=seed).fit(rows).components_.T
    lines = [_line(rows, target[counted]) for target in learned]
    slopes = [slope[:, None] for slope, _ in lines]
    values = np.concatenate([vectors, *slopes], axis=1) * weights[:, None]
    offset = np.append(np.zeros(vectors.shape[1]), [intercept for _, intercept in lines])
    encoder = TextEncoder(
        start=block.start,
        values=np.concatenate([values, np.zeros((1, values.shape[1]))]),
        squares=np.append(weights**2, 0.0),
        offset=offset,
        width=block.stop - block.start,
    )
    found = encoder.of(X)
    for at, target in enumerate(learned, start=vectors.shape[1]):
        for others, held_out in parts:
            slope, intercept = _line(tfidf[others], target[others])
            found[held_out, at] = tfidf[held_out] @ slope + intercept
    return encoder, found


def _line(rows: Any, target: NDArray[Any]) -> tuple[NDArray[np.float64], float]:
    """Return slopes and intercept of a linear model; of two classes its sum is the log odds."""
    model = Ridge()
    if target.dtype.kind != "f":
        model = LogisticRegression(C=SCORE_C, max_iter=200)
    with warnings.catch_warnings():
        # Where 200 iterations are too few, the score is regularised a bit more.
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(rows, target)
    return np.ravel(model.coef_).astype(np.float64), float(np.ravel(model.intercept_)[0])


def _tfidf(
    codes: NDArray[np.floating], n_terms: int, counted: NDArray[np.int64]
) -> tuple[NDArray[np.float64], Any]:
    """Return the weight of each term, 0 if no counted row has it, and the TF-IDF matrix."""
    present = terms_matrix(codes, n_terms)
    frequency = np.bincount(present[counted].indices, minlength=n_terms)
    smoothed = np.log((1 + len(counted)) / (1 + frequency)) + 1.0
    weights = np.where(frequency > 0, smoothed, 0.0)
    weighted = present.multiply(weights[None, :]).tocsr()
    weighted.eliminate_zeros()
    norm = np.sqrt(np.asarray(weighted.multiply(weighted).sum(axis=1)).ravel())
    inverse = sparse.diags(1.0 / np.where(norm > 0, norm, 1.0))
    return weights, (inverse @ weighted).tocsr()
