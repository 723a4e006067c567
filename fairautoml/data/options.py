"""Options of the user for the columns of a table, instead of what is found."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from fairautoml.exceptions import InputError, ParameterError
from fairautoml.registry import nearest

Fusion = Literal["auto", "early", "late"]
"""Whether models read all columns, one block each, or whichever the search prefers."""


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
    blocks : dict of str to sequence of str, default={}
        Two or more blocks of columns, such as ``{"face": [...], "cv": [...]}``; every column that
        is not dropped or sensitive is in one of them. ``model.blocks_`` compares them. Not for
        free text and sparse tables.
    fusion : {"auto", "early", "late"}, default="auto"
        Early: every model reads all columns. Late: each reads one block, and the ensemble averages
        them. ``"auto"`` searches over both.

    Raises
    ------
    ParameterError
        A value is not allowed, or a column is named twice.
    """

    text: Sequence[str] = ()
    dates: Sequence[str] | Mapping[str, str] = ()
    categories: Sequence[str] = ()
    drop: Sequence[str] = ()
    blocks: Mapping[str, Sequence[str]] = field(default_factory=dict)
    fusion: Fusion = "auto"

    def __post_init__(self) -> None:
        for name in ("text", "dates", "categories", "drop"):
            value = getattr(self, name)
            if not (name == "dates" and isinstance(value, Mapping)):
                object.__setattr__(self, name, _names(f"ColumnOptions.{name}", value))
        if isinstance(self.dates, Mapping):
            _check_formats(self.dates)
        object.__setattr__(self, "blocks", _blocks(self.blocks))
        if self.fusion not in get_args(Fusion) or (self.fusion != "auto" and not self.blocks):
            raise ParameterError(
                f"ColumnOptions.fusion={self.fusion!r} must be 'auto', 'early' or 'late', and "
                "needs blocks, such as blocks={'face': [...], 'cv': [...]}"
            )
        twice = sorted({name for name in self.named if self.named.count(name) > 1})
        if twice:
            msg = f"ColumnOptions names column {twice[0]!r} twice; name each column once"
            raise ParameterError(msg)

    @property
    def named(self) -> list[str]:
        """All columns that are named."""
        return [*self.text, *self.dates, *self.categories, *self.drop]

    @property
    def in_blocks(self) -> tuple[str, ...]:
        """All columns of the blocks."""
        return tuple(name for columns in self.blocks.values() for name in columns)

    def check_blocks(self, names: Sequence[str], others: Collection[str]) -> None:
        """Raise if a column is in no block and is not one of the others."""
        outside = set(names) - set(self.in_blocks) - set(self.drop) - set(others)
        if self.blocks and outside:
            shown = ", ".join(map(repr, sorted(outside)[:8]))
            raise InputError(
                f"ColumnOptions.blocks leaves out {len(outside)} column(s): {shown}. Add each to "
                "a block, or name it in drop."
            )

    def format_of(self, name: str) -> str:
        """Return the format of the dates of a column, empty to find it."""
        return self.dates[name] if isinstance(self.dates, Mapping) else ""

    def check(self, names: Sequence[str]) -> None:
        """Raise if a column is not one of the table."""
        named = [*self.named, *self.in_blocks]
        known = set(names) if named else set()
        unknown = next((name for name in named if name not in known), None)
        if unknown is not None:
            hint = nearest(unknown, names, f"X has {', '.join(map(repr, names[:20]))}.")
            raise InputError(f"ColumnOptions names {unknown!r}, which is no column of X; {hint}")


def column_options(value: Any) -> ColumnOptions:
    """Return the column options, the defaults for None."""
    if value is None:
        return ColumnOptions()
    if not isinstance(value, ColumnOptions):
        raise ParameterError(
            f"columns={value!r} must be None or ColumnOptions, such as ColumnOptions(text='note')"
        )
    return value


def _names(argument: str, value: Any) -> tuple[str, ...]:
    listed = (value,) if isinstance(value, str) else value
    names = isinstance(listed, Sequence) and all(isinstance(name, str) for name in listed)
    if not names:
        msg = f"{argument}={value!r} must be the name of a column, or a list of names"
        raise ParameterError(msg)
    return tuple(listed)


def _blocks(value: Any) -> dict[str, tuple[str, ...]]:
    """Return the blocks with their columns, after checks that need no table."""
    if not isinstance(value, Mapping) or len(value) == 1:
        raise ParameterError(
            f"ColumnOptions.blocks={value!r} must be a dict of two or more blocks, such as "
            "{'face': [...], 'cv': [...]}"
        )
    found = {}
    for name, columns in value.items():
        if not isinstance(name, str) or not name.replace("_", "").isalnum():
            msg = f"ColumnOptions.blocks: the name {name!r} must be letters, digits and '_'"
            raise ParameterError(msg)
        found[name] = _names(f"ColumnOptions.blocks[{name!r}]", columns)
        if not found[name]:
            raise ParameterError(f"ColumnOptions.blocks: {name!r} has no columns")
    counts = Counter(name for columns in found.values() for name in columns)
    twice = [name for name, n in counts.items() if n > 1]
    if twice:
        raise ParameterError(f"ColumnOptions.blocks: column {twice[0]!r} is in two blocks")
    return found


def _check_formats(dates: Mapping[Any, Any]) -> None:
    for name, form in dates.items():
        if not isinstance(name, str) or not isinstance(form, str) or (form and "%" not in form):
            raise ParameterError(
                f"ColumnOptions.dates[{name!r}]={form!r} must be a format as of "
                "datetime.strptime, such as '%d.%m.%y', or empty to find it"
            )
