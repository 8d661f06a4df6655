"""From `[pipelines.NAME]` to what leaves."""

import re
from pathlib import Path
from typing import Any

import pytest

from patinox import Config, ConfigError
from patinox.config import render_toml
from patinox.core.chunks import Error, Text
from patinox.core.events import Verdict
from patinox.manager.recipes import configured_pipelines

KEY = "sk-proj-" + "aB3dE5gH7jK9" * 4


def released(toml: str, *texts: str) -> list[Any]:
    """What one pipeline, called `p`, lets go of."""
    pipeline: Any = configured_pipelines(Config.from_toml(f"[pipelines.p]\n{toml}").pipelines)["p"].new_pipeline()
    return [data for text in texts for data in pipeline.feed([Text(text)])] + list(pipeline.close())


def text_of(items: list[Any]) -> str:
    return "".join(data.text for data in items if isinstance(data, Text))


def refused(toml: str) -> str:
    with pytest.raises(ConfigError) as raised:
        configured_pipelines(Config.from_toml(f"[pipelines.p]\n{toml}").pipelines)
    return str(raised.value)


def test_processors_run_in_the_order_of_the_list() -> None:
    toml = 'processors = ["newlines", "terminal", "links", "html"]\nallowed_hosts = ["ok.example"]'
    out = released(toml, "\x1b[1m<b>\r\n[a](https://ev", "il.example) [b](https://ok.example)")
    assert text_of(out) == "&lt;b&gt;\n[a](about:invalid) [b](https://ok.example)"


def test_a_chunker_cuts_as_it_is_told() -> None:
    assert released('chunk = "sentence"', "One. Two", ". ") == [Text("One. "), Text("Two. ")]
    assert released('chunk = "bytes"\nchunk_size = 2', "abc") == [Text("ab"), Text("c")]
    assert released("graphemes = true", "e", "\u0301x") == [Text("e\u0301"), Text("x")]


def test_validators_redact_and_tell() -> None:
    pytest.importorskip("patinox.manager.validators")
    out = released('validators = [{ use = "secrets", replacement = "[key]" }]', "It is ", KEY[:9], KEY[9:], " there")
    assert text_of(out) == "It is [key] there"
    assert [data.validator for data in out if isinstance(data, Verdict)] == ["secrets"]


def test_validators_block() -> None:
    pytest.importorskip("patinox.manager.validators")
    rule = '{ name = "no", pattern = "xyz+", max_span = 9 }'
    toml = f'[[pipelines.p.validators]]\nuse = "patterns"\naction = "block"\nrules = [{rule}]'
    out = released(toml, "abc xy", "z def")
    assert text_of(out) == "abc "
    assert isinstance(out[-1], Error)


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ('{ use = "nosuch" }', "there is no validator 'nosuch'; there are secrets, "),
        ('{ use = "secrets", action = "explode" }', "the validator 'secrets': Invalid enum value 'explode'"),
        ('{ use = "secrets", channels = ["smell"] }', "the validator 'secrets'"),
        ('{ use = "secrets", colour = "red" }', "unknown field `colour`"),
        ('{ use = "personal", kinds = ["shoe"] }', "no such kind of personal data: shoe"),
        ('{ use = "patterns" }', "at least one"),
        ('{ use = "patterns", rules = [{ name = "x", pattern = "(" }] }', "is not a regular expression"),
        ('{ use = "secrets" }, { use = "secrets" }', "two validators are called secrets"),
    ],
)
def test_a_validator_that_cannot_be_made_is_refused_with_its_pipeline(table: str, said: str) -> None:
    pytest.importorskip("patinox.manager.validators")
    message = refused(f"validators = [{table}]")
    assert message.startswith("pipelines.p: ")
    assert said in message


@pytest.mark.parametrize(
    ("table", "text", "left"),
    [
        ('{ use = "words", words = ["badger"], replacement = "animal" }', "a Badger!", "a animal!"),
        ('{ use = "length", max_chars = 10 }', "x" * 30, "x" * 10),
        ('{ use = "repetition", times = 3, min_chars = 3, max_unit_chars = 5 }', "fine. " + "ab" * 30, None),
        ('{ use = "json-schema", answer = { type = "object" } }', "[1]", ""),
        ('{ use = "personal", kinds = ["email"], replacement = "[mail]" }', "to a@b.example now", "to [mail] now"),
    ],
)
def test_every_validator_can_be_configured(table: str, text: str, left: str | None) -> None:
    pytest.importorskip("patinox.manager.validators")
    out = released(f"validators = [{table}]", *text)
    assert text_of(out) == left if left is not None else len(text_of(out)) < len(text)


def test_a_moderation_endpoint_can_be_configured() -> None:
    pytest.importorskip("patinox.manager.validators")
    table = '{ use = "moderation", url = "http://127.0.0.1:1/v1/moderations", deadline_s = 2.0 }'
    toml = f"[pipelines.p]\nvalidators = [{table}]"
    pipeline = configured_pipelines(Config.from_toml(toml).pipelines)["p"].new_pipeline()
    assert [type(stage).__name__ for stage in pipeline.stages] == ["ModerationStage"]
    assert "unknown field `colour`" in refused('validators = [{ use = "moderation", url = "http://x", colour = 1 }]')
    assert "missing required field `url`" in refused('validators = [{ use = "moderation" }]')


def test_hosts_that_are_none_are_refused() -> None:
    message = refused('processors = ["links"]\nallowed_hosts = ["http://x"]')
    assert message == "pipelines.p: 'http://x' is no host name; write docs.example.com or *.example.com"
    assert 'add "links" to pipelines.p.processors' in refused('allowed_hosts = ["x"]')


def test_a_pipeline_that_is_not_there_is_refused() -> None:
    for text in ('[server]\npipeline = "x"', '[gateway.upstreams.a]\nurl = "http://h"\npipeline = "x"'):
        with pytest.raises(ConfigError, match='= "x" is not a pipeline; there are: none'):
            Config.from_toml(text)


def test_a_pipeline_is_written_as_it_was_read() -> None:
    config = Config.from_toml(
        '[pipelines.a-b]\nprocessors = ["html"]\nmax_delay = "500ms"\n'
        'validators = [{ use = "x", n = 1, deep = { list = [true, "y"] } }]\n[server]\npipeline = "a-b"'
    )
    assert Config.from_toml(render_toml(config)) == config


def test_a_pipeline_may_come_from_the_environment() -> None:
    env = {
        "PATINOX_PIPELINES__A_B__CHUNK": "word",
        "PATINOX_PIPELINES__A_B__PROCESSORS": "newlines, html",
        "PATINOX_PIPELINES__A_B__VALIDATORS": '[{"use": "secrets"}]',
    }
    (pipeline,) = Config.load(env=env).pipelines
    assert (pipeline.name, pipeline.chunk, pipeline.processors) == ("a-b", "word", ("newlines", "html"))
    assert pipeline.validators == ({"use": "secrets"},)


def test_the_pages_configurations_work() -> None:
    pytest.importorskip("patinox.manager.validators")
    page = (Path(__file__).parents[2] / "docs" / "how-to" / "validate.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```toml\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    assert blocks
    for block in blocks:
        assert len(configured_pipelines(Config.from_toml(block).pipelines)) > 0
