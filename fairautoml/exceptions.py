"""Errors and warnings of the library.

::

    FairAutoMLError
    +-- InputError (ValueError)          the input of the user cannot be used
    |   +-- ParameterError               a parameter, not the data, is wrong
    |   +-- MissingSensitiveError        groups are needed and were not given
    |   +-- DegenerateGroupError         the constraint is undefined on a group
    |   +-- DatasetUnavailableError      a named dataset cannot be loaded
    |   +-- ResumeMismatchError          a run is resumed with other data or another search
    +-- NotPortableError (ValueError)    a part of a model cannot be exported
    +-- SpaceError (ValueError)          a search-space file is invalid
    +-- UnknownNameError (LookupError)   no such learner, mitigator, metric, ...
    +-- MissingExtraError (ImportError)  a library that is needed cannot be imported
    +-- NoModelError (RuntimeError)      all trials failed
    +-- RunFolderError (OSError)         the run folder cannot be used
        +-- RunFolderExistsError         it exists and ``if_exists="error"``
        +-- RunFolderLockedError         another process holds it
        +-- StorageFullError             the disk is full
        +-- StorageCorruptError          the record of the trials is damaged
        +-- StorageUnavailableError      the database of the trials cannot be reached
        +-- ModelCorruptError            a stored file differs from its manifest
        +-- VersionMismatchError         the run was written by another version of this library

    FairAutoMLWarning (UserWarning)
    +-- NoFeasibleModelWarning           the constraint was not met; the least unfair model is kept
    +-- DegradedWarning                  the run continues with less than requested
        +-- SmallGroupWarning            groups have too few rows for a constraint on them

All errors but ``NoModelError`` and those of storage are raised before the first trial.
"""

import os
import sys
import warnings

_PACKAGE = os.path.dirname(__file__) + os.sep
"""Path prefix of the files that warnings skip when they look for the caller."""


class FairAutoMLError(Exception):
    """Base of every error that this library raises on purpose."""


class InputError(FairAutoMLError, ValueError):
    """The input of the user cannot be used; the message names the argument and the remedy."""


class ParameterError(InputError):
    """A parameter of the estimator or an argument of a command is wrong for any data."""


class MissingSensitiveError(InputError):
    """A constraint or a rule needs the sensitive column and it was not given."""


class DegenerateGroupError(InputError):
    """The constraint is undefined on a group, for example because the group has no rows."""


class DatasetUnavailableError(InputError):
    """A named dataset is not on this machine and cannot be downloaded."""


class ResumeMismatchError(InputError):
    """A run is resumed with other data, another space, constraint, seed or version."""


class NotPortableError(FairAutoMLError, ValueError):
    """A part of a model has no portable form; the message names the part."""


class SpaceError(FairAutoMLError, ValueError):
    """A search-space file is wrong; the message names file, line and key."""


class UnknownNameError(FairAutoMLError, LookupError):
    """No plug-in has that name; the message lists the nearest names."""


class MissingExtraError(FairAutoMLError, ImportError):
    """A library cannot be imported; the message names the package or extra to install."""


class NoModelError(FairAutoMLError, RuntimeError):
    """All trials failed; the message lists the failures."""


class RunFolderError(FairAutoMLError, OSError):
    """The run folder cannot be used."""


class RunFolderExistsError(RunFolderError):
    """The run folder is not empty and ``if_exists="error"``."""


class RunFolderLockedError(RunFolderError):
    """Another process holds the run folder."""


class StorageFullError(RunFolderError):
    """The disk that holds the run folder is full."""


class StorageCorruptError(RunFolderError):
    """The record of the trials is damaged; nothing was changed."""


class StorageUnavailableError(RunFolderError):
    """The database that records the trials cannot be reached or written to."""


class ModelCorruptError(RunFolderError):
    """A stored file differs from its manifest."""


class VersionMismatchError(RunFolderError):
    """A run was written by another minor version of this library, and its model is not loaded."""


class StopSearch(FairAutoMLError):
    """Raised by a callback to end the search as if its budget were spent; the text says why."""


class FairAutoMLWarning(UserWarning):
    """Base of every warning of this library."""


class NoFeasibleModelWarning(FairAutoMLWarning):
    """No model met the constraint; the least unfair one is kept.

    Issued after attributes and run folder are written, so a filter may turn it into an error:
    ``warnings.simplefilter("error", NoFeasibleModelWarning)``.
    """


class DegradedWarning(FairAutoMLWarning):
    """The run continues with less than requested; the message gives the reason."""


class SmallGroupWarning(DegradedWarning):
    """Groups have too few rows for a constraint, which excludes them or is inconclusive."""


def warn(message: str, category: type[Warning]) -> None:
    """Issue a warning that points at the line of the user's code that called the library."""
    if sys.version_info >= (3, 12):
        warnings.warn(message, category, skip_file_prefixes=(_PACKAGE,))
    else:
        warnings.warn(message, category, stacklevel=_depth_of_caller())


def _depth_of_caller() -> int:
    """Return the ``stacklevel`` of the first frame outside the package."""
    frame, depth = sys._getframe(1), 1
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        frame, depth = frame.f_back, depth + 1
    return depth
