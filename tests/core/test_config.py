"""Settings: what loads, what is refused and in which words, and the page made from them."""

import re
import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from patinox.config import (
    BackpressureConfig,
    BackpressureStrategy,
    Config,
    ConfigError,
    Dialect,
    GatewayConfig,
    OnAbandon,
    OverflowStrategy,
    PaceTo,
    ServerConfig,
    SseConfig,
    StreamingConfig,
    UpstreamConfig,
    explain,
    format_duration,
    format_size,
    key_variable,
    parse_duration,
    parse_size,
    parse_upstream,
    render_reference,
    render_toml,
    upstream_overrides,
)
from patinox.config.combinations import REFUSALS, combinations, refusal
from patinox.config.kinds import Choice, Flag, Names
from patinox.config.lines import Lines
from patinox.config.outline import outline_of
from patinox.config.quantities import Duration, Fraction, Size
from patinox.config.schema import NAME, Key, keys_of, walk

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "config.md"
KEYS = [key for cls in walk(Config) for key in keys_of(cls)]
NO_ENV: dict[str, str] = {}

SEED = """\
[streaming]
# Buffer configuration
buffer_size = 1000
overflow_strategy = "drop_oldest"

# SSE configuration
[streaming.sse]
retry_interval = "5s"
max_connections = 10000
heartbeat_interval = "30s"

# WebSocket configuration
[streaming.websocket]
max_frame_size = 65536
compression = true
ping_interval = "30s"

# Backpressure
[streaming.backpressure]
threshold = 100
strategy = "pause"
"""


def refused(text: str) -> str:
    """The message with which a TOML text is refused."""
    with pytest.raises(ConfigError) as caught:
        Config.from_toml(text)
    return str(caught.value)


def one_key(key: Key, literal: str) -> str:
    """A TOML text that sets one key, in a table that is otherwise complete."""
    table, _, name = key.path.replace(NAME, "some").rpartition(".")
    needed = {"gateway.upstreams.some": ("url", '"http://h"'), "auth.keys.some": ("sha256", f'"{"0" * 64}"')}.get(table)
    rest = f"{needed[0]} = {needed[1]}\n" if needed is not None and name != needed[0] else ""
    return f"[{table}]\n{name} = {literal}\n{rest}"


# --- units


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("5s", 5.0),
        ("250ms", 0.25),
        ("1.5h", 5400.0),
        ("24h", 86400.0),
        ("2m", 120.0),
        ("7d", 604800.0),
        ("0s", 0.0),
    ],
)
def test_duration_is_read(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "5", "s", "5x", "-5s", "5 s s", "1h30m", "5S", "1e3s", ".5s", "٥s", "nan", "inf s"]
)
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"unit|number"):
        parse_duration(text)


@given(st.floats(min_value=0, max_value=1e9, allow_subnormal=False).filter(lambda s: s == 0 or s >= 1e-9))
def test_a_written_duration_reads_back_exactly(seconds: float) -> None:
    assert parse_duration(format_duration(seconds)) == seconds


@given(st.integers(0, 10**12))
def test_a_written_number_of_milliseconds_reads_back_exactly(count: int) -> None:
    assert format_duration(parse_duration(f"{count}ms")) == format_duration(count / 1000)


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [("16MiB", 16 * 2**20), ("64KB", 64_000), ("1.5KiB", 1536), ("512", 512), ("1 GB", 10**9), ("0B", 0)],
)
def test_size_is_read(text: str, size_bytes: int) -> None:
    assert parse_size(text) == size_bytes


@pytest.mark.parametrize("text", ["", "MiB", "5mb", "-1KB", "0.5B", "1.1KiB", "16 M iB", "1e3"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"unit|number"):
        parse_size(text)


@given(st.integers(0, 2**50))
def test_a_written_size_reads_back_exactly(size_bytes: int) -> None:
    assert parse_size(format_size(size_bytes)) == size_bytes


@given(st.none() | st.floats(0, 1e6).map(lambda s: round(s, 6)))
def test_a_written_abandon_policy_reads_back(cancel_after_s: float | None) -> None:
    policy = OnAbandon(cancel_after_s)
    assert OnAbandon.parse(str(policy)) == policy


@pytest.mark.parametrize("text", ["", "kept", "cancel_after", "cancel_after=", "cancel_after=30", "cancel=30s"])
def test_an_abandon_policy_of_another_form_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        OnAbandon.parse(text)


@pytest.mark.parametrize(("written", "port"), [('"off"', None), ("0", 0), ("8788", 8788)])
def test_a_port_that_need_not_be_is_off_or_a_number(written: str, port: int | None) -> None:
    config = Config.from_toml(f"[server]\nhttp2_port = {written}\n")
    assert config.server.http2_port == port
    assert Config.load(env={"PATINOX_SERVER__HTTP2_PORT": written.strip('"')}) == config
    assert Config.from_toml(render_toml(config)) == config


@pytest.mark.parametrize("written", ['"on"', "true", "65536", "-1"])
def test_what_is_no_port_is_refused(written: str) -> None:
    with pytest.raises(ConfigError, match=r'http2_port.*"off" = none'):
        Config.from_toml(f"[server]\nhttp2_port = {written}\n")


@pytest.mark.parametrize("key", ["tls_cert", "tls_key"])
def test_half_of_what_tls_takes_is_refused(key: str) -> None:
    with pytest.raises(ConfigError, match=r"TLS takes both"):
        Config.from_toml(f'[server]\n{key} = "file.pem"\n')


def test_a_client_may_leave_all_its_http2_streams_at_once() -> None:
    with pytest.raises(ConfigError, match=r"reset_burst = 99 is below"):
        Config.from_toml("[streaming.http2]\nmax_concurrent_streams = 100\nreset_burst = 99\n")


# --- what loads


def test_the_seeds_example_loads_and_equals_the_defaults() -> None:
    assert StreamingConfig.from_toml(SEED) == StreamingConfig()


def test_an_empty_text_gives_the_defaults() -> None:
    assert Config.from_toml("") == Config()


def test_durations_are_seconds_and_sizes_bytes_in_python() -> None:
    text = '[streaming]\nttl = "1.5h"\nbuffer_bytes = "64KB"\n[streaming.sse]\nretry_interval = "250ms"'
    config = StreamingConfig.from_toml(text)
    assert (config.ttl_s, config.buffer_bytes, config.sse.retry_interval_s) == (5400.0, 64_000, 0.25)


def test_words_become_members() -> None:
    config = StreamingConfig.from_toml('[streaming]\non_abandon = "cancel_after=30s"\noverflow_strategy = "block"')
    assert config.on_abandon == OnAbandon(30.0)
    assert config.overflow_strategy is OverflowStrategy.BLOCK


def test_upstreams_keep_the_order_of_the_file() -> None:
    text = (
        '[gateway.upstreams.b]\nurl = "http://b/v1/"\nmodels = ["m"]\n'
        '[gateway.upstreams.a-2]\nurl = "https://a"\ndialect = "gemini"'
    )
    assert Config.from_toml(text).gateway.upstreams == (
        UpstreamConfig(name="b", url="http://b/v1", models=("m",)),
        UpstreamConfig(name="a-2", url="https://a", dialect=Dialect.GEMINI),
    )


def test_later_layers_win(tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_text('[server]\nport = 1\nhost = "file"\nworkers = 1\n')
    env = {"PATINOX_SERVER__PORT": "2", "PATINOX_SERVER__HOST": "env"}
    server = Config.load(file, env, {"server.port": 3, "server.host": None}).server
    assert (server.port, server.host) == (3, "env")


def test_environment_reaches_every_kind_of_value() -> None:
    env = {
        "PATINOX_STREAMING__SSE__RETRY_INTERVAL": "2s",
        "PATINOX_STREAMING__SSE__COMPRESSION": "Yes",
        "PATINOX_STREAMING__BUFFER_BYTES": "4096",
        "PATINOX_STREAMING__BACKPRESSURE__LOW_MARK": "0.25",
        "PATINOX_GATEWAY__UPSTREAMS__MY_NAME__URL": "http://h",
        "PATINOX_GATEWAY__UPSTREAMS__MY_NAME__MODELS": "a, b",
    }
    config = Config.load(env=env)
    sse, upstream = config.streaming.sse, config.gateway.upstream("my-name")
    assert (sse.retry_interval_s, sse.compression, config.streaming.buffer_bytes) == (2.0, True, 4096)
    assert config.streaming.backpressure.low_mark == 0.25
    assert upstream is not None
    assert upstream.models == ("a", "b")


def test_variables_without_a_double_underscore_are_no_settings() -> None:
    env = {"PATINOX_OPENAI_KEY": "secret", "PATINOX_RECORDINGS": "x", "HOME": "/", "OTHER__PORT": "1"}
    assert Config.load(env=env) == Config()


@pytest.mark.parametrize(
    ("variable", "right", "path"),
    [
        ("PATINOX_STREAMING_BUFFER_SIZE", "PATINOX_STREAMING__BUFFER_SIZE", "streaming.buffer_size"),
        ("PATINOX_STREAMING_SSE_COMPRESSION", "PATINOX_STREAMING__SSE__COMPRESSION", "streaming.sse.compression"),
        (
            "PATINOX_GATEWAY_UPSTREAMS_MY_NAME_URL",
            "PATINOX_GATEWAY__UPSTREAMS__MY_NAME__URL",
            "gateway.upstreams.NAME.url",
        ),
    ],
)
def test_a_variable_that_lacks_nothing_but_underscores_is_refused_with_them(
    variable: str, right: str, path: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        Config.load(env={variable: "7"})
    told = f"environment, {variable}: tables are followed by two underscores: {right} sets {path}"
    assert str(caught.value) == told


def test_the_key_of_an_upstream_may_spell_a_setting() -> None:
    assert Config.load(env={"PATINOX_SERVER_TLS_KEY": "secret"}) == Config()


def test_the_process_environment_is_read_unless_another_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATINOX_STREAMING__BUFFER_SIZE", "7")
    assert (StreamingConfig.load().buffer_size, StreamingConfig.load(env=NO_ENV).buffer_size) == (7, 1000)


def test_upstreams_of_the_command_line_are_overrides() -> None:
    overrides = upstream_overrides(["a=anthropic+https://a.example/", "b=http://b:8000/v1"])
    config = Config.load(env=NO_ENV, overrides=overrides)
    assert [(u.name, u.url, u.dialect) for u in config.gateway.upstreams] == [
        ("a", "https://a.example", Dialect.ANTHROPIC),
        ("b", "http://b:8000/v1", Dialect.OPENAI_CHAT),
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "local"),
        ('[gateway.upstreams.x]\nurl = "http://h"', "x"),
        ('[gateway]\ndefault_upstream = "local"\n[gateway.upstreams.x]\nurl = "http://h"', "local"),
        ("[server]\nlocal_model = false", None),
    ],
)
def test_the_default_upstream(text: str, expected: str | None) -> None:
    assert Config.from_toml(text).default_upstream == expected


# --- what is refused


@pytest.mark.parametrize("key", KEYS, ids=lambda key: key.path)
@pytest.mark.parametrize("literal", ["[[1]]", "{ a = 1 }", "1979-05-27", "-1", '"\\u0000"', "nan"])
def test_every_key_refuses_a_wrong_value_saying_line_meaning_and_what_is_allowed(key: Key, literal: str) -> None:
    message = refused(one_key(key, literal))
    assert message.startswith(f"line 2: {key.path.replace(NAME, 'some')} = ")
    assert key.kind.doc in message
    assert f"allowed: {key.kind.allowed()}" in message


@pytest.mark.parametrize("key", [key for key in KEYS if not isinstance(key.kind, Flag)], ids=lambda key: key.path)
def test_true_is_not_a_number_nor_a_word(key: Key) -> None:
    assert "line 2" in refused(one_key(key, "true"))


@pytest.mark.parametrize("key", [key for key in KEYS if isinstance(key.kind, Duration)], ids=lambda key: key.path)
def test_a_duration_without_its_unit_is_refused(key: Key) -> None:
    assert 'has no unit: write it as "5s"' in refused(one_key(key, "5"))


@pytest.mark.parametrize("key", KEYS, ids=lambda key: key.path)
def test_every_default_is_accepted_when_written_out(key: Key) -> None:
    needed = {"gateway.upstreams.NAME.url": '"http://h"', "auth.keys.NAME.sha256": f'"{"0" * 64}"'}
    literal = needed[key.path] if key.required else key.kind.write(key.default)
    Config.from_toml(one_key(key, literal))


@pytest.mark.parametrize("key", KEYS, ids=lambda key: key.path)
def test_a_key_with_a_letter_too_many_is_answered_with_the_right_one(key: Key) -> None:
    table, _, name = key.path.replace(NAME, "some").rpartition(".")
    message = refused(f"[{table}]\n{name}x = 1\n")
    assert f"line 2: {table}.{name}x is not a setting; the nearest is {table}.{name}; allowed: " in message


@given(st.sampled_from(KEYS), st.data())
def test_any_unknown_key_is_answered_with_known_ones(key: Key, data: st.DataObject) -> None:
    name = data.draw(st.from_regex(r"[a-z_]{1,12}", fullmatch=True))
    outline = outline_of(Config)
    path = (*key.path.replace(NAME, "some").split(".")[:-1], name)
    if outline.key(path) is None and not outline.is_table(path) and name not in UpstreamConfig.misplaced:
        message = outline.unknown(path).message
        known = {k.path.replace(NAME, "some") for k in KEYS} | {f"[{cls.table}]" for cls in walk(Config)}
        assert "known here are" in message or "the table [" in message or any(k in message for k in known)


def test_a_key_of_another_table_is_pointed_at() -> None:
    assert "the nearest is streaming.websocket.message_rate" in refused("[streaming]\nmessage_rate = 1")


def test_a_misnamed_table_is_one_problem_not_one_for_each_key() -> None:
    message = refused("[streaming.websockets]\ncompression = true\nping_interval = 3")
    assert message == "line 1: streaming.websockets is not a setting; the nearest is the table [streaming.websocket]"


def test_a_value_where_a_table_belongs_is_refused() -> None:
    assert refused("streaming = 3") == "line 1: streaming is a table: its keys go under [streaming]"


def test_all_problems_are_told_at_once_each_with_its_place(tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_text(
        '[streaming]\nbuffer_sise = 3\n\n[streaming.sse]\nmax_connections = "many"\n[server]\nworkers = 2\n'
    )
    env = {"PATINOX_SERVER__PORT": "http", "PATINOX_STREEMING__TTL": "5s"}
    with pytest.raises(ConfigError) as caught:
        Config.load(file, env, {"server.host": "a b"})
    lines = str(caught.value).splitlines()
    assert lines[0] == "6 problems in the settings:"
    assert [line.partition(": ")[0] for line in lines[1:]] == [
        f"- {file}, line 2",
        f"- {file}, line 5",
        "- environment, PATINOX_SERVER__PORT",
        "- environment, PATINOX_STREEMING__TTL",
        "- override server.host",
        f"- {file}, line 7",
    ]


def test_a_mistake_is_told_even_where_a_later_layer_hides_it(tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_text("[server]\nport = -1\n")
    with pytest.raises(ConfigError, match=r"line 2: server\.port = -1 is negative"):
        Config.load(file, NO_ENV, {"server.port": 80})


def test_text_that_is_not_toml_is_refused_with_its_place() -> None:
    assert re.search(r"not TOML: .*line 2", refused("a = 1\nstreaming = }"))


@pytest.mark.parametrize(("content", "words"), [(None, "cannot be read"), (b"\xff", "is not UTF-8")])
def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path, content: bytes | None, words: str) -> None:
    file = tmp_path / "c.toml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigError, match=words):
        Config.load(file, NO_ENV)


@pytest.mark.parametrize("name", ["key", "api_key", "token"])
def test_a_key_in_the_file_is_refused_without_repeating_it(name: str) -> None:
    message = refused(f'[gateway.upstreams.x]\nurl = "http://h"\n{name} = "sk-secret"')
    assert "PATINOX_<NAME>_KEY" in message
    assert "sk-secret" not in message


@pytest.mark.parametrize(
    "table",
    ["[gateway.upstreams.x]", '[gateway.upstreams.x]\nmodels = ["m"]', "[gateway.upstreams.x]\nbogus = 1"],
)
def test_an_upstream_without_url_is_refused(table: str) -> None:
    assert "line 1: gateway.upstreams.x.url is missing" in refused(table)


@pytest.mark.parametrize("name", ["A", "a_b", "-a", "a--b", '"a.b"', '""'])
def test_an_upstream_name_of_another_form_is_refused(name: str) -> None:
    assert "is not allowed" in refused(f'[gateway.upstreams.{name}]\nurl = "http://h"')


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[gateway]\ndefault_upstream = "x"', 'default_upstream = "x" is not an upstream; there are: local'),
        ('[gateway.upstreams.local]\nurl = "http://h"', '"local" belongs to the embedded model'),
        ("[server]\nworkers = 2", "each process would have streams of its own"),
        ("[streaming.backpressure]\nmax_lag = 50", "line 2: streaming.backpressure.max_lag = 50 is below"),
        ('[streaming.backpressure]\npace_to = "none"', "line 2: streaming.overflow_strategy"),
    ],
)  # fmt: skip
def test_contradictions_are_refused(text: str, words: str) -> None:
    assert words in refused(text)


def test_a_contradiction_with_a_value_that_is_wrong_itself_is_not_told() -> None:
    message = refused('[gateway]\ndefault_upstream = "x"\n[gateway.upstreams.x]\nurl = "nonsense"')
    assert message.startswith("line 4: gateway.upstreams.x.url")


# --- in code


def test_a_bad_value_in_code_raises_the_same_error_with_all_problems() -> None:
    with pytest.raises(
        ConfigError, match=r"(?s)2 problems.*streaming\.buffer_size = 0 is below 1.*streaming\.ttl = nan"
    ):
        StreamingConfig(buffer_size=0, ttl_s=float("nan"))


def test_a_contradiction_in_code_raises_the_same_error() -> None:
    with pytest.raises(ConfigError, match="drop moves a laggard on"):
        StreamingConfig(
            overflow_strategy=OverflowStrategy.BLOCK,
            backpressure=BackpressureConfig(strategy=BackpressureStrategy.DROP),
        )


def test_a_wrong_struct_in_code_raises_config_error() -> None:
    with pytest.raises(ConfigError, match="sse is to be a SseConfig"):
        StreamingConfig(sse=ServerConfig())  # type: ignore[arg-type]


def test_a_replaced_field_is_validated() -> None:
    with pytest.raises(ConfigError, match="is below 1"):
        msgspec.structs.replace(StreamingConfig(), buffer_size=0)


def test_settings_are_frozen_and_hashable() -> None:
    config = Config(gateway=GatewayConfig(upstreams=(UpstreamConfig(name="x", url="http://h"),)))
    assert hash(config) == hash(msgspec.structs.replace(config))
    with pytest.raises(AttributeError):
        config.server.port = 1  # type: ignore[misc]


def test_values_in_code_become_canonical() -> None:
    config = StreamingConfig(ttl_s=5, overflow_strategy="block")  # type: ignore[arg-type]
    assert isinstance(config.ttl_s, float)
    assert config.overflow_strategy is OverflowStrategy.BLOCK


def test_an_upstream_given_twice_is_refused() -> None:
    with pytest.raises(ConfigError, match='two upstreams named "x"'):
        upstream_overrides(["x=http://a", "x=http://b"])


# --- upstreams of the command line


@pytest.mark.parametrize(
    ("text", "url", "dialect"),
    [
        ("x=http://h:1/v1", "http://h:1/v1", Dialect.OPENAI_CHAT),
        ("x=ollama+http://h", "http://h", Dialect.OLLAMA),
        ("x=https://[::1]:8/a+b/", "https://[::1]:8/a+b", Dialect.OPENAI_CHAT),
    ],
)
def test_an_upstream_is_read(text: str, url: str, dialect: Dialect) -> None:
    assert parse_upstream(text) == UpstreamConfig(name="x", url=url, dialect=dialect)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("http://h", r"NAME=\[DIALECT\+\]URL"),
        ("X=http://h", "lower-case letters"),
        ("=http://h", "lower-case letters"),
        ("x=", "has no scheme"),
        ("x=h:80", "has the scheme 'h'"),
        ("x=ftp://h", "has the scheme 'ftp'"),
        ("x=http://", "names no host"),
        ("x=http://h:99999", "is not a URL"),
        ("x=http://h?k=v", "query"),
        ("x=http://h /", "spaces"),
        ("x=smoke+http://h", "openai-responses"),
        ("x=http://user:pass@h", "carries credentials"),
    ],
)
def test_an_upstream_of_another_form_is_refused(text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        parse_upstream(text)
    assert "user:pass" not in str(caught.value)


def test_the_variable_of_an_upstreams_key() -> None:
    assert (
        key_variable("my-name") == UpstreamConfig(name="my-name", url="http://h").key_variable == "PATINOX_MY_NAME_KEY"
    )


# --- combinations


@pytest.mark.parametrize(("overflow", "strategy", "pace_to", "refused_for"), list(combinations()))
def test_the_published_table_is_what_loading_does(
    overflow: OverflowStrategy, strategy: BackpressureStrategy, pace_to: PaceTo, refused_for: Any
) -> None:
    text = (
        f'[streaming]\noverflow_strategy = "{overflow}"\n[streaming.backpressure]\n'
        f'strategy = "{strategy}"\npace_to = "{pace_to}"'
    )
    if refused_for is None:
        StreamingConfig.from_toml(text)
    else:
        assert f'line 2; line 4; line 5: streaming.overflow_strategy = "{overflow}"' in (message := refused(text))
        assert refused_for.reason in message


def test_every_refusal_is_the_reason_for_some_combination() -> None:
    assert {id(found) for *_, found in combinations() if found} == {id(entry) for entry in REFUSALS}


@pytest.mark.parametrize("strategy", BackpressureStrategy)
def test_each_strategy_goes_with_the_default_of_everything_else(strategy: BackpressureStrategy) -> None:
    assert refusal(OverflowStrategy.DROP_OLDEST, strategy, PaceTo.FASTEST) is None


@pytest.mark.parametrize("overflow", OverflowStrategy)
def test_each_overflow_goes_with_the_default_of_everything_else(overflow: OverflowStrategy) -> None:
    assert refusal(overflow, BackpressureStrategy.PAUSE, PaceTo.FASTEST) is None


def test_only_pause_paces_at_the_high_mark() -> None:
    pacing = [BackpressureConfig(strategy=strategy).pacing for strategy in BackpressureStrategy]
    assert pacing == [PaceTo.FASTEST, PaceTo.NONE, PaceTo.NONE]


# --- lines


def test_lines_of_keys_are_found_whatever_their_spelling() -> None:
    text = 'a.b = """\nx = 1\n"""\n[ t . "u.v" ]\n"k" = [\n  1,\n]\n[[list]]\nn = { inner = 1 }\n'
    lines = Lines(text)
    paths = [("a", "b"), ("t", "u.v"), ("t", "u.v", "k"), ("list", "n", "inner"), ("x",)]
    assert [lines.of(path) for path in paths] == [1, 4, 5, 9, None]


@given(st.text(alphabet="[]=\"'a.b#\n {}1,", max_size=60))
def test_lines_take_any_text(text: str) -> None:
    Lines(text).of(("a", "b"))


# --- as text


def settings() -> st.SearchStrategy[Config]:
    """Settings that differ from the defaults in what each kind can hold."""
    streaming = st.builds(
        StreamingConfig,
        buffer_size=st.integers(1, 10_000),
        buffer_bytes=st.integers(1, 2**40),
        ttl_s=st.floats(0.001, 1e6),
        on_abandon=st.builds(OnAbandon, st.none() | st.floats(0.001, 1e6)),
        overflow_strategy=st.sampled_from([OverflowStrategy.DROP_OLDEST, OverflowStrategy.BLOCK]),
        sse=st.builds(SseConfig, compression=st.booleans(), heartbeat_interval_s=st.just(0.0)),
        backpressure=st.builds(BackpressureConfig, low_mark=st.floats(0.01, 0.99)),
    )
    upstream = st.builds(
        UpstreamConfig,
        name=st.sampled_from(["a", "b-c"]),
        url=st.sampled_from(["http://h", "https://h:8/v1"]),
        dialect=st.sampled_from(Dialect),
        models=st.lists(
            st.text(min_size=1, max_size=5).filter(lambda s: s.isprintable() and s == s.strip()),
            unique=True,
            max_size=3,
        ).map(tuple),
    )
    upstreams = st.lists(upstream, max_size=2, unique_by=lambda u: u.name).map(tuple)
    return st.builds(Config, streaming=streaming, gateway=st.builds(GatewayConfig, upstreams=upstreams))


@given(settings())
def test_written_settings_load_to_the_same(config: Config) -> None:
    assert Config.from_toml(render_toml(config)) == config


def test_written_settings_name_every_key_and_its_meaning() -> None:
    text = render_toml(Config())
    tables = tomllib.loads(text)
    assert set(tables) == {"streaming", "server", "gateway", "auth", "quotas"}
    assert all(f"# {key.kind.doc}\n" in text for key in KEYS if NAME not in key.path)


def test_written_settings_show_no_password() -> None:
    text = render_toml(Config(server=ServerConfig(store="redis://user:hunter2@h/0")))
    assert 'store = "redis://***@h/0"' in text


def test_a_key_explains_itself() -> None:
    text = explain("streaming.sse.retry_interval")
    assert "allowed: a duration from 1ms to 1h" in text
    assert 'default: "5s"' in text


def test_the_reference_page_is_current() -> None:
    hint = "run: python -m patinox.config > docs/reference/config.md"
    assert PAGE.read_text(encoding="utf-8") == render_reference(), hint


@pytest.mark.parametrize("key", KEYS, ids=lambda key: key.path)
def test_every_key_has_a_sentence(key: Key) -> None:
    assert re.fullmatch(r"[A-Z].*\.", key.kind.doc)


def test_every_kind_is_in_use() -> None:
    used = {type(key.kind) for key in KEYS}
    assert {Choice, Flag, Names, Duration, Fraction, Size} <= used


def test_the_servers_names_are_not_taken_for_those_of_a_pipeline() -> None:
    config = Config.load(
        overrides={"server.allowed_hosts": ["a.example"], "streaming.websocket.allowed_hosts": ["b.example"]}
    )
    assert (config.server.allowed_hosts, config.streaming.websocket.allowed_hosts) == (("a.example",), ("b.example",))
