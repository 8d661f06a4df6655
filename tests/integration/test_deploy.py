"""What `deploy/` holds agrees with what the program does."""

from __future__ import annotations

import configparser
from pathlib import Path

from patinox.cli.serve import serve
from patinox.config import Config

UNIT = Path(__file__).parents[2] / "deploy" / "patinox.service"


def unit() -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read(UNIT)
    return parser


def test_the_unit_starts_the_server_with_options_that_there_are() -> None:
    program, command, *words = unit()["Service"]["ExecStart"].split()
    known = {option for parameter in serve.params for option in (*parameter.opts, *parameter.secondary_opts)}
    assert (program.rpartition("/")[2], command) == ("patinox", "serve")
    assert {word for word in words if word.startswith("--")} <= known


def test_the_unit_waits_for_as_long_as_leaving_may_take() -> None:
    config = Config()
    most_s = config.server.drain_delay_s + config.streaming.drain_window_s + config.streaming.drain_timeout_s
    assert int(unit()["Service"]["TimeoutStopSec"].removesuffix("s")) > most_s


def test_the_unit_hears_what_the_server_says() -> None:
    service = unit()["Service"]
    assert service["Type"] == "notify"
    assert service["ExecReload"] == "kill -HUP $MAINPID"
