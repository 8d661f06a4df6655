"""Settings that are read again: what a running server takes over, and what it says needs a restart."""

import pytest

from patinox.config import Config, ConfigError
from patinox.config.reloading import RELOADABLE, reload
from patinox.config.schema import flatten


def config(text: str) -> Config:
    return Config.from_toml(text)


def test_limits_are_taken_over_and_addresses_wait() -> None:
    found = reload(
        config("[server]\nport = 1000\n"),
        config("[server]\nport = 2000\nlog_level = 'debug'\n[streaming]\nttl = '1h'\nsse = { max_connections = 7 }\n"),
    )
    assert sorted(found.taken) == ["server.log_level", "streaming.sse.max_connections", "streaming.ttl"]
    assert found.waiting == ("server.port",)
    assert (found.config.server.port, found.config.streaming.ttl_s) == (1000, 3600)
    assert found.config.streaming.sse.max_connections == 7


def test_nothing_changed_is_nothing_taken() -> None:
    same = config("[streaming]\nttl = '1h'\n")
    assert reload(same, same) == (same, (), ())


def test_an_upstream_that_came_waits() -> None:
    added = config("[gateway.upstreams.a]\nurl = 'http://127.0.0.1:1'\n")
    found = reload(config(""), added)
    assert "gateway.upstreams.a.url" in found.waiting
    assert found.config.gateway.upstreams == ()


def test_what_goes_back_to_its_default_is_a_change() -> None:
    found = reload(config("[streaming]\nttl = '1h'\n"), config(""))
    assert found.taken == ("streaming.ttl",)
    assert found.config == config("")


def test_a_contradiction_with_what_stays_is_refused() -> None:
    before = config("[streaming.backpressure]\nthreshold = 50\n")
    with pytest.raises(ConfigError):
        config("[streaming.backpressure]\nthreshold = 500\nmax_lag = 100\n")
    found = reload(before, config("[streaming.backpressure]\nthreshold = 500\nmax_lag = 700\n"))
    assert found.config.streaming.backpressure.max_lag == 700


def test_every_key_that_may_be_taken_over_exists() -> None:
    assert set(flatten(Config())) >= RELOADABLE
