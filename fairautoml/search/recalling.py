"""A strategy that goes on where an earlier run was cut off, without thinking it all over again."""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Protocol, runtime_checkable

from fairautoml.spaces import SearchSpace
from fairautoml.trials import Candidate, Origin, SearchStrategy, Told


@runtime_checkable
class Recaller(SearchStrategy, Protocol):
    """A strategy whose proposals depend on its seed, and what it proposed and was told, alone.

    Of ``told`` only candidate, status, value and violations may count, as a trial that is run
    again takes other seconds.
    """

    def recall(self, candidate: Candidate) -> None:
        """Take the candidate as the answer to the next ``ask``, which it was in an earlier run."""
        ...

    def hear(self, told: Told) -> None:
        """Learn what came of a candidate that this strategy did not propose."""
        ...


def nothing() -> tuple[Told, ...]:
    """Return no results."""
    return ()


class Recalling:
    """Answers from the record what a strategy would answer, as long as its history is the same.

    A proposal is recorded under the digest of all that the strategy had proposed and heard before
    it. Where the record has gaps, or the history takes another way, the strategy is asked, after
    it has heard of the results that this way does not come to. One that is no ``Recaller`` always
    is, and nothing is recorded for it.
    """

    def __init__(
        self,
        strategy: SearchStrategy,
        known: Mapping[str, Candidate],
        unasked: Callable[[], Iterable[Told]] = nothing,
    ) -> None:
        self._strategy = strategy
        self._recaller = strategy if isinstance(strategy, Recaller) else None
        self._known = known
        self._unasked = unasked
        self._history = hashlib.blake2b(digest_size=16)
        self._new: dict[str, Candidate] = {}

    def ask(self) -> Candidate | None:
        """Return the next candidate, recorded or new."""
        if self._recaller is None:
            return self._strategy.ask()
        history = self._history.hexdigest()
        candidate = self._known.get(history)
        if candidate is None:
            for told in self._unasked():
                self._recaller.hear(told)
                self._note("heard", *_content(told))
            history = self._history.hexdigest()
            candidate = self._recaller.ask()
            if candidate is not None:
                self._new[history] = candidate
        else:
            self._recaller.recall(candidate)
        self._note("asked", None if candidate is None else candidate.key)
        return candidate

    def tell(self, told: Told) -> None:
        """Pass the result on."""
        if self._recaller is not None:
            self._note(*_content(told))
        self._strategy.tell(told)

    def take(self) -> dict[str, Candidate]:
        """Return the proposals that are new since the last call, to be recorded."""
        new, self._new = self._new, {}
        return new

    def _note(self, *event: object) -> None:
        self._history.update(f"{event!r}\n".encode())


def _content(told: Told) -> tuple[object, ...]:
    """Return what of a result may count."""
    value = None if told.value is None else float(told.value)
    violations = [float(violation) for violation in told.violations]
    return told.trial.candidate.key, told.status.value, value, violations


def as_proposed(results: Iterable[Told], space: SearchSpace) -> tuple[Told, ...]:
    """Return the results of what a strategy had proposed, under the candidates it had proposed."""
    found = []
    for told in results:
        candidate = told.trial.candidate
        if candidate.mitigation not in space.mitigations:
            candidate = replace(candidate, mitigation="none", mitigation_params={})
        if told.trial.origin is Origin.SEARCH and candidate.learner in space.learners:
            found.append(replace(told, trial=replace(told.trial, candidate=candidate)))
    return tuple(found)
