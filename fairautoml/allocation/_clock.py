"""When a trial that is asked for now would begin, and how long a search trial takes.

An executor may hold one trial ready, so that no worker waits: what is asked for then begins when
a running one ends. Nobody says so to an allocator, but it shows: a trial that ended had begun as
many seconds before as it took, and that was later than it was asked for.
"""

from collections import deque
from dataclasses import dataclass
from typing import NamedTuple

from fairautoml.trials import Origin, Told

RECENT = 20
"""Trials from which the longest and the share of waiting are taken."""

LAST_CHANCE = 1.5
"""With less time than this many of it, what has to be done before the end is done at once."""


def now_or_never(seconds: float, left: float, longest: float) -> bool:
    """Whether something still fits, and hardly would after one more trial."""
    return seconds <= left and (left < LAST_CHANCE * seconds or left - longest < seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Open:
    """A trial that has not ended: when it was asked for, and behind which others."""

    left: float | None
    seconds: float | None
    ahead: tuple[int, ...]


class _Ended(NamedTuple):
    opened: _Open
    seconds: float


class Clock:
    """Seconds left, as of the start of a trial, and not as of the moment when it is asked for.

    With no trial running they are the same. Behind others, a trial begins when the first of them
    ends, unless a worker is free: the share of that wait that recent trials had is taken, all of
    it before any has ended.
    """

    def __init__(self) -> None:
        self._open: dict[int, _Open] = {}
        self._ended: list[_Ended] = []
        self._seconds: dict[int, float] = {}
        self._searched: deque[float] = deque(maxlen=RECENT)
        self._shares: deque[float] = deque(maxlen=RECENT)

    @property
    def idle(self) -> bool:
        """Whether no trial is open."""
        return not self._open

    @property
    def longest(self) -> float:
        """Seconds of the longest of the recent search trials, 0 before the first."""
        return max(self._searched, default=0.0)

    def left_at_start(self, seconds_left: float | None) -> float | None:
        """Return what would be left at the start of a trial that is asked for now."""
        if seconds_left is None:
            self._ended.clear()
            return None
        self._see(seconds_left)
        running = self._open.values()
        first = min(
            (self.longest if one.seconds is None else one.seconds for one in running), default=0.0
        )
        return seconds_left - first * max(self._shares, default=1.0)

    def asked(self, number: int, seconds_left: float | None, seconds: float | None = None) -> None:
        """Note that a trial was asked for."""
        self._open[number] = _Open(left=seconds_left, seconds=seconds, ahead=tuple(self._open))

    def told(self, told: Told) -> None:
        """Take in what a trial took."""
        if told.trial.origin is Origin.SEARCH:
            self._searched.append(told.seconds)
        opened = self._open.pop(told.trial.number, None)
        if opened is not None:
            self._seconds[told.trial.number] = told.seconds
            self._ended.append(_Ended(opened, told.seconds))

    def _see(self, seconds_left: float) -> None:
        """Learn how long those waited that have ended just now."""
        for opened, seconds in self._ended:
            known = [self._seconds[one] for one in opened.ahead if one in self._seconds]
            most = min(known, default=0.0)
            if opened.left is not None and most > 0:
                waited = opened.left - seconds_left - seconds
                self._shares.append(min(max(waited / most, 0.0), 1.0))
        self._ended.clear()
