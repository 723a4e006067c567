"""Whether two classifiers are right on different people more often than by chance."""

from scipy.stats import binomtest

from fairautoml.exceptions import InputError


def mcnemar(only_first: int, only_second: int) -> float:
    """Return the two-sided p-value of the exact McNemar test, in (0, 1].

    Of the rows on which exactly one of two classifiers is right, each is as likely to be it when
    both are equally good: a binomial test at one half.

    Parameters
    ----------
    only_first, only_second : int
        Rows that only the first classifier decides right, and only the second, at least 0.

    Returns
    -------
    float
        1.0 when the two are never right on different rows.

    Raises
    ------
    InputError
        A count is negative.

    References
    ----------
    McNemar, "Note on the sampling error of the difference between correlated proportions or
    percentages", Psychometrika 12, 1947; used by Gencoglu, arXiv 2005.06625.

    Examples
    --------
    >>> round(mcnemar(only_first=57, only_second=222), 26)
    3.64e-24
    """
    if min(only_first, only_second) < 0:
        msg = (
            f"mcnemar: only_first={only_first} and only_second={only_second}; both are numbers of "
            "rows, at least 0"
        )
        raise InputError(msg)
    if only_first + only_second == 0:
        return 1.0
    return float(binomtest(only_first, only_first + only_second).pvalue)
