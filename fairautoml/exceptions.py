"""The error tree.

::

    FairAutoMLError
    +-- InputError (ValueError)          what the user gave cannot be used
    |   +-- ParameterError               a parameter, not the data, is wrong
    |   +-- MissingSensitiveError        groups are needed and were not given
    |   +-- DegenerateGroupError         a group cannot carry the constraint
    |   +-- DatasetUnavailableError      a named dataset cannot be had
    |   +-- ResumeMismatchError          a run is resumed with other data or another search
    +-- SpaceError (ValueError)          a search-space file is wrong: file, line, key
    +-- UnknownNameError (LookupError)   no such learner, mitigator, metric, ...
    +-- MissingExtraError (ImportError)  a library that is needed cannot be imported
    +-- NoFeasibleModelError (RuntimeError)   only with ``strict=True``
    +-- NoModelError (RuntimeError)      not a single trial gave a model
    +-- RunFolderError (OSError)         the run folder cannot be used
        +-- RunFolderExistsError         it exists and ``overwrite`` was not asked for
        +-- RunFolderLockedError         another process holds it
        +-- StorageFullError             the disk is full
        +-- StorageCorruptError          the record of the trials is damaged
        +-- StorageUnavailableError      the database of the trials cannot be reached
        +-- ModelCorruptError            a stored file is not what its manifest says
        +-- VersionMismatchError         the run was written by another version of this library

    FairAutoMLWarning (UserWarning)
    +-- NoFeasibleModelWarning           the constraint was not met; the least unfair model is kept
    +-- DegradedWarning                  the run goes on with less than was asked for
        +-- SmallGroupWarning            groups have too few rows for a constraint on them

All but ``NoFeasibleModelError``, ``NoModelError`` and the storage ones are raised before the first
trial.
"""

import os
import sys
import warnings

_PACKAGE = os.path.dirname(__file__) + os.sep
"""Files whose lines no warning points at."""


class FairAutoMLError(Exception):
    """Base of every error that this library raises on purpose."""


class InputError(FairAutoMLError, ValueError):
    """What the user gave cannot be used; the message names the argument and the way out."""


class ParameterError(InputError):
    """A parameter of the estimator or an argument of a command is wrong, whatever the data."""


class MissingSensitiveError(InputError):
    """A constraint or a rule needs the sensitive column and it was not given."""


class DegenerateGroupError(InputError):
    """A group cannot carry the constraint (for example it has no rows or no weight)."""


class DatasetUnavailableError(InputError):
    """A named dataset is neither on this machine nor to be had from its source."""


class ResumeMismatchError(InputError):
    """A run is resumed with other data, another space, constraint, seed or version."""


class SpaceError(FairAutoMLError, ValueError):
    """A search-space file is wrong; the message names file, line and key."""


class UnknownNameError(FairAutoMLError, LookupError):
    """No plug-in of that name; the message lists the nearest names."""


class MissingExtraError(FairAutoMLError, ImportError):
    """A library cannot be imported; the message names the package or extra that brings it."""


class NoFeasibleModelError(FairAutoMLError, RuntimeError):
    """With ``strict=True``: no model met the constraint."""


class NoModelError(FairAutoMLError, RuntimeError):
    """Not a single trial gave a model; the message holds the failures."""


class RunFolderError(FairAutoMLError, OSError):
    """The run folder cannot be used."""


class RunFolderExistsError(RunFolderError):
    """The run folder holds something and ``overwrite`` was not asked for."""


class RunFolderLockedError(RunFolderError):
    """Another process holds the run folder."""


class StorageFullError(RunFolderError):
    """The disk that holds the run folder is full."""


class StorageCorruptError(RunFolderError):
    """The record of the trials is damaged; nothing was changed."""


class StorageUnavailableError(RunFolderError):
    """The database that records the trials cannot be reached or written to."""


class ModelCorruptError(RunFolderError):
    """A stored file is not what its manifest says."""


class VersionMismatchError(RunFolderError):
    """A run was written by another minor version of this library, and its model is not loaded."""


class FairAutoMLWarning(UserWarning):
    """Base of every warning of this library."""


class NoFeasibleModelWarning(FairAutoMLWarning):
    """No model met the constraint; the least unfair one is kept."""


class DegradedWarning(FairAutoMLWarning):
    """The run goes on with less than was asked for; the message says what and why."""


class SmallGroupWarning(DegradedWarning):
    """Groups have so few rows that a constraint leaves them out, or cannot be judged."""


def warn(message: str, category: type[Warning]) -> None:
    """Issue a warning that points at the line of the user's code that called the library.

    Parameters
    ----------
    message : str
        What happened.
    category : type of Warning
        Its class.
    """
    if sys.version_info >= (3, 12):
        warnings.warn(message, category, skip_file_prefixes=(_PACKAGE,))
    else:
        warnings.warn(message, category, stacklevel=_depth_of_caller())


def _depth_of_caller() -> int:
    """Count the frames of the package above this one, as ``stacklevel`` does."""
    frame, depth = sys._getframe(1), 1
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        frame, depth = frame.f_back, depth + 1
    return depth
