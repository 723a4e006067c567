"""What columns of the table are, where the user says otherwise than what is found."""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fairautoml.exceptions import InputError, ParameterError


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnOptions:
    """What columns of ``X`` hold, instead of what ``fit`` would find.

    Each column is named once. ``model.columns_`` lists what became of every column.

    Parameters
    ----------
    text : str or sequence of str, default=()
        Columns of free text, whatever their number of words; also an identifier, which would be
        left out otherwise.
    dates : str, sequence of str or dict of str to str, default=()
        Columns of dates; values that are none are missing. A dict also gives the format, as of
        ``datetime.strptime``: ``{"when": "%d/%m/%y"}``.
    categories : str or sequence of str, default=()
        Columns of categories, such as codes that look like numbers or dates.
    drop : str or sequence of str, default=()
        Columns that are not features.

    Raises
    ------
    ParameterError
        A value is not allowed, or a column is named twice.
    """

    text: Sequence[str] = ()
    dates: Sequence[str] | Mapping[str, str] = ()
    categories: Sequence[str] = ()
    drop: Sequence[str] = ()

    def __post_init__(self) -> None:
        for name in ("text", "dates", "categories", "drop"):
            value = getattr(self, name)
            if not (name == "dates" and isinstance(value, Mapping)):
                object.__setattr__(self, name, _names(f"ColumnOptions.{name}", value))
        if isinstance(self.dates, Mapping):
            _check_formats(self.dates)
        twice = sorted({name for name in self.named if self.named.count(name) > 1})
        if twice:
            msg = f"ColumnOptions names column {twice[0]!r} twice; name each column once"
            raise ParameterError(msg)

    @property
    def named(self) -> list[str]:
        """All columns that are named."""
        return [*self.text, *self.dates, *self.categories, *self.drop]

    def format_of(self, name: str) -> str:
        """Return the format of the dates of a column, empty to find it."""
        return self.dates[name] if isinstance(self.dates, Mapping) else ""

    def check(self, names: Sequence[str]) -> None:
        """Raise if a column is not one of the table."""
        known = set(names) if self.named else set()
        unknown = next((name for name in self.named if name not in known), None)
        if unknown is not None:
            near = difflib.get_close_matches(unknown, names, n=3)
            shown = ", ".join(map(repr, names[:20]))
            hint = f"did you mean {', '.join(map(repr, near))}?" if near else f"X has {shown}."
            raise InputError(f"ColumnOptions names {unknown!r}, which is no column of X; {hint}")


def column_options(value: Any) -> ColumnOptions:
    """Return what the user says of columns, nothing for None."""
    if value is None:
        return ColumnOptions()
    if not isinstance(value, ColumnOptions):
        msg = (
            f"columns={value!r} must be None or ColumnOptions, such as ColumnOptions(text='note')"
        )
        raise ParameterError(msg)
    return value


def _names(argument: str, value: Any) -> tuple[str, ...]:
    listed = (value,) if isinstance(value, str) else value
    names = isinstance(listed, Sequence) and all(isinstance(name, str) for name in listed)
    if not names:
        msg = f"{argument}={value!r} must be the name of a column, or a list of names"
        raise ParameterError(msg)
    return tuple(listed)


def _check_formats(dates: Mapping[Any, Any]) -> None:
    for name, form in dates.items():
        if not isinstance(name, str) or not isinstance(form, str) or (form and "%" not in form):
            msg = (
                f"ColumnOptions.dates[{name!r}]={form!r} must be a format as of "
                "datetime.strptime, such as '%d.%m.%y', or empty to find it"
            )
            raise ParameterError(msg)
