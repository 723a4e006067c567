"""A run's study in optuna-dashboard, while it grows or afterwards; read only."""

import os
from pathlib import Path
from typing import Any

from optuna.storages import RDBStorage
from sqlalchemy.pool import NullPool

from fairautoml.exceptions import MissingExtraError, RunFolderError
from fairautoml.store.run_folder import DATABASE, STUDY, read_json


def dashboard(folder: Path) -> Any:
    """Return optuna-dashboard on the study of a run, as a WSGI application."""
    try:
        from optuna_dashboard import wsgi
    except ImportError as error:
        way_out = "install it with: pip install 'fairautoml[dashboard]'"
        raise MissingExtraError(f"the dashboard needs optuna-dashboard; {way_out}") from error
    about = read_json(folder, STUDY)
    if about.get("storage") is not None:
        raise RunFolderError(
            f"the trials of {str(folder)!r} are recorded on a server; show them with: "
            f"optuna-dashboard {about['storage']}"
        )
    path = (folder / DATABASE).resolve()
    if not path.is_file():
        raise RunFolderError(f"{str(folder)!r} has no {DATABASE}: no trial has been recorded")
    # A journal beside the file cannot be read where none can be made; no run goes on there.
    how = "mode=ro" if os.access(path.parent, os.W_OK) else "immutable=1"
    storage = RDBStorage(
        f"sqlite:///{path.as_uri()}?{how}&uri=true",
        skip_compatibility_check=True,
        skip_table_creation=True,
        # Nobody tells the application when it ends, so no connection outlives a request.
        engine_kwargs={"poolclass": NullPool},
    )
    return wsgi(storage)
