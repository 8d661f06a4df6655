"""Exit codes, and errors said as a sentence on stderr."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum

import click

from patinox.core.chunks import Outcome
from patinox.errors import ConfigError, InputError, PatinoxError


class Exit(IntEnum):
    """What a command ends with."""

    OK = 0
    FAILED = 1
    USAGE = 2
    NOT_STARTED = 3


class Failure(click.ClickException):
    """Ends the command with a sentence."""

    exit_code = int(Exit.FAILED)


class WrongInput(Failure):
    """The command, or what it was given, is wrong."""

    exit_code = int(Exit.USAGE)


class NotStarted(Failure):
    """There was nothing to run yet."""

    exit_code = int(Exit.NOT_STARTED)


@contextmanager
def sentences() -> Iterator[None]:
    """Says our own errors as a sentence: settings and input are the caller's doing, everything else is not."""
    try:
        yield
    except (ConfigError, InputError) as error:
        raise WrongInput(error.message) from error
    except PatinoxError as error:
        raise Failure(error.message) from error


def of_outcome(outcome: Outcome) -> Exit:
    """A stream that was cut short by a limit is still an answer; one that failed or was stopped is none."""
    return Exit.OK if outcome in (Outcome.COMPLETE, Outcome.INCOMPLETE) else Exit.FAILED
