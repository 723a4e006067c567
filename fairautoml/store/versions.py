"""The versions that a run was written with, and those that would read it."""

from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, distributions, version
from pathlib import Path

from fairautoml.exceptions import DegradedWarning, VersionMismatchError, warn

LIBRARIES = ("fairautoml", "lightgbm", "numpy", "pandas", "scikit-learn", "xgboost")

LEARNT_WITH = ("lightgbm", "scikit-learn", "xgboost")
"""Libraries whose fitted models may decide otherwise, or break, under another minor version."""

SAME_LIBRARY = {"xgboost": "xgboost-cpu"}
"""Other distributions of the same library."""

NOT_INSTALLED = "not installed"


def own_versions() -> dict[str, str]:
    """Return the versions that are noted with a model, by name of the distribution."""
    return {name: library_version(name) for name in LIBRARIES}


def library_version(name: str) -> str:
    """Return the version of a library; a plain checkout of this one has none."""
    try:
        return version(distribution_of(name))
    except PackageNotFoundError:
        return NOT_INSTALLED


def distribution_of(name: str) -> str:
    """Return the distribution that a library is installed from, its own name if it is not."""
    other = SAME_LIBRARY.get(name, name)
    return other if any(distributions(name=other)) else name


def check_versions(folder: Path, versions: Mapping[str, object]) -> None:
    """Compare the versions that wrote a model with those that would read it."""
    own = _others(versions, ("fairautoml",))
    if own:
        ((then, now),) = own.values()
        msg = (
            f"{str(folder)!r} was written by fairautoml {then} and this is {now}, which reads "
            f"runs of {_minor(now)} only; load it with fairautoml {_minor(then)} "
            f"({_install(own)}), or fit again"
        )
        raise VersionMismatchError(msg)
    others = _others(versions, LEARNT_WITH)
    if others:
        shown = ", ".join(f"{name} {then} (now {now})" for name, (then, now) in others.items())
        msg = (
            f"{str(folder)!r} was fitted with {shown}, and a model may decide otherwise under "
            f"another version; {_install(others)}, or fit again"
        )
        warn(msg, DegradedWarning)


def _others(versions: Mapping[str, object], names: Sequence[str]) -> "dict[str, tuple[str, str]]":
    """Return, for libraries of another minor version than then, the versions then and now."""
    found = {name: (str(versions.get(name, "")), library_version(name)) for name in names}
    return {
        name: (then, now)
        for name, (then, now) in found.items()
        # What was or is not installed has no version to compare, and the model may not need it.
        if then[:1].isdigit() and now[:1].isdigit() and _minor(then) != _minor(now)
    }


def _minor(text: str) -> str:
    """Return the first two parts of a version."""
    return ".".join(text.split(".")[:2])


def _install(others: "Mapping[str, tuple[str, str]]") -> str:
    wanted = " ".join(
        f"'{distribution_of(name)}=={_minor(then)}.*'" for name, (then, _) in others.items()
    )
    return f"pip install {wanted}"
