"""``fairautoml dashboard``: the trials of a run in optuna-dashboard, live."""

import argparse
from typing import Any

from fairautoml.commands._base import OK, Command, say
from fairautoml.console.arguments import count

HOST = "127.0.0.1"
PORT = 8080


def _arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("run_dir", metavar="RUN", help="folder of a fit that runs or has ended")
    add("--port", type=count, default=PORT, metavar="N", help=f"on this machine ({PORT})")


def _run(arguments: argparse.Namespace) -> int:
    from pathlib import Path
    from wsgiref.simple_server import WSGIRequestHandler

    from fairautoml.store.viewing import dashboard

    class Quiet(WSGIRequestHandler):
        def log_message(self, *_: object) -> None:
            """Say nothing of single requests."""

    application = dashboard(Path(arguments.run_dir))
    with _server(arguments.port, application, Quiet) as server:
        say(f"http://{HOST}:{server.server_port} shows the trials; Ctrl-C ends it")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            return OK
    return OK


def _server(port: int, application: Any, handler: Any) -> Any:
    """Return a server on the port, which another program may already hold."""
    from wsgiref.simple_server import make_server

    from fairautoml.exceptions import ParameterError

    try:
        return make_server(HOST, port, application, handler_class=handler)
    except (OSError, OverflowError) as error:
        msg = f"--port {port}: cannot listen on it ({error}); choose another one from 1 to 65535"
        raise ParameterError(msg) from error


COMMAND = Command(about="show the trials of a run, live", arguments=_arguments, run=_run)
