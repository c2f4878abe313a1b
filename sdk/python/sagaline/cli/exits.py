"""The exit codes of `sagaline`, and how an error becomes one.

    0    done
    1    the saga that was waited for is unwound, or is stuck or otherwise needs an operator
    2    the command line, or a file or module that it names, cannot be used
    3    there is no such saga or node
    4    the SEC refused the request
    5    no SEC could be reached, or it did not answer in time, or it failed
    130  interrupted

An error is one line on standard error, and below it one for each field that is wrong.
"""

from __future__ import annotations

import click

from sagaline import errors
from sagaline.cli.settings import Settings
from sagaline.cli.text import clean

OK = 0
ENDED_BADLY = 1
USAGE = 2
NOT_FOUND = 3
REFUSED = 4
UNAVAILABLE = 5

MESSAGE_CHARS_MAX = 2_000

# The first class that fits decides.
_CODES: tuple[tuple[type[errors.SagalineError], int], ...] = (
    (errors.NotFound, NOT_FOUND),
    (errors.Unavailable, UNAVAILABLE),
    (errors.CallTimeout, UNAVAILABLE),
    (errors.CallStopped, UNAVAILABLE),
    (errors.ServerFault, UNAVAILABLE),
    (errors.UnexpectedAnswer, UNAVAILABLE),
    (errors.RpcError, REFUSED),
    (errors.SagaUnfinished, UNAVAILABLE),
    (errors.SagaNotSucceeded, ENDED_BADLY),
    (errors.WorkerError, UNAVAILABLE),
    (errors.DefinitionError, USAGE),
    (errors.ConversionError, USAGE),
)


class UnusableInput(click.ClickException):
    """A file, module or argument cannot be used; found by the command itself, before any SEC was asked."""

    exit_code = USAGE

    def show(self, file: object = None) -> None:
        """Print the message as every error is printed."""
        print_error(self.message)


def report(error: errors.SagalineError) -> int:
    """Print `error` on standard error and return its exit code."""
    if isinstance(error, errors.Unavailable):
        settings = click.get_current_context().ensure_object(Settings)
        print_error(f"no SEC answers at {' or '.join(settings.addresses)}: {error.message}")
        if not settings.named:
            click.echo("  start one with `sagaline dev`, or name one with --address or SAGALINE_ADDRESS", err=True)
        elif settings.credentials() is None:
            click.echo("  is one running there? One that serves TLS wants --ca", err=True)
    elif isinstance(error, errors.CallTimeout) and not error.reason:
        print_error(f"no answer came in time ({error.message}); whether the call had its effect is not known")
        click.echo(
            "  a SEC without its store answers late or never: look at its health and log, or give --timeout", err=True
        )
    elif isinstance(error, (errors.RpcError, errors.GraphError)):
        reason = getattr(error, "reason", "")
        print_error(f"{error.message} [{reason}]" if reason else error.message)
        for problem in error.problems:
            click.echo(f"  {clean(str(problem), limit=MESSAGE_CHARS_MAX)}", err=True)
    else:
        print_error(str(error))
    return next((code for kind, code in _CODES if isinstance(error, kind)), REFUSED)


def print_error(message: str) -> None:
    """Print one line on standard error."""
    click.echo(f"error: {clean(message, limit=MESSAGE_CHARS_MAX)}", err=True)
