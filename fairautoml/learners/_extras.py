"""Optional libraries."""

from fairautoml.exceptions import MissingExtraError


def missing_extra(learner: str, library: str, extra: str) -> MissingExtraError:
    """Return the error for a learner whose library is not installed.

    Parameters
    ----------
    learner : str
        Registered name.
    library : str
        What it needs.
    extra : str
        The extra of this package that brings it.
    """
    way_out = f'install it with: pip install "fairautoml[{extra}]"'
    return MissingExtraError(f"learner {learner!r} needs {library}, not installed; {way_out}")
