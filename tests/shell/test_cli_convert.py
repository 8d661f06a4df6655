"""`patinox convert`: what is written, what is told, and how it ends."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from tests.recordings import recorded

from patinox.cli.main import main
from patinox.formats.registry import builtin

CHAT = b"".join(
    b"data: %b\n\n" % frame
    for frame in [
        b'{"id":"c","model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":"Hel"}}]}',
        b'{"id":"c","model":"m","choices":[{"index":0,"delta":{"content":"lo"}}]}',
        b'{"id":"c","model":"m","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}',
        b"[DONE]",
    ]
)
_FIRST = CHAT.index(b"\n\n") + 2
MALFORMED = CHAT[:_FIRST] + b"data: {odd\n\n" + CHAT[_FIRST:]


def convert(data: bytes, source: str = "openai-chat", target: str = "text", *words: str) -> Result:
    return CliRunner().invoke(main, ["convert", "--from", source, "--to", target, *words], input=data)


def test_the_answer_is_written_and_the_report_told() -> None:
    result = convert(CHAT)

    assert (result.exit_code, result.stdout) == (0, "Hello")
    assert result.stderr.startswith("openai-chat → text: ")
    assert "nothing but the text of the answer is told" in result.stderr


def test_a_file_is_read(tmp_path: Path) -> None:
    file = tmp_path / "chat.sse"
    file.write_bytes(CHAT)

    assert convert(b"", "openai-chat", "text", str(file)).stdout == "Hello"


def test_a_pair_that_loses_nothing_says_so() -> None:
    result = convert(CHAT, "openai-chat", "openai-chat")

    assert result.stdout_bytes.count(b"data: ") == CHAT.count(b"data: ")
    assert "Nothing was lost." in result.stderr


def test_what_was_read_and_written_is_counted() -> None:
    result = convert(b"a", "text", "text")

    assert result.stderr.startswith("text → text: 2 records, 1 frame\n")


def test_what_is_malformed_but_can_be_read_on_from_is_told_and_fine() -> None:
    result = convert(MALFORMED)

    assert (result.exit_code, result.stdout) == (0, "Hello")
    assert "Malformed, and read on from:\n  a frame is not JSON" in result.stderr


def test_a_stream_that_ends_with_an_error_is_converted_to_one() -> None:
    result = convert(b'data: {"error":{"message":"overloaded"}}\n\n', "openai-chat", "anthropic")

    assert result.exit_code == 0
    assert '"message":"overloaded"' in result.stdout


@pytest.mark.parametrize("target", sorted(builtin()))
@pytest.mark.parametrize("path", recorded("anthropic", max_bytes=3_000))
def test_every_whole_recording_is_converted(path: Path, target: str) -> None:
    assert convert(path.read_bytes(), "anthropic", target).exit_code == 0


@pytest.mark.parametrize("name", ["anthropic", "gemini", "ollama", "ai-sdk", "ag-ui", "openai-responses", "patinox"])
def test_a_stream_of_another_format_is_refused(name: str) -> None:
    result = convert(CHAT, name)

    assert result.exit_code == 2
    assert f"Error: the input is no {name} stream: nothing in it has a meaning in {name}" in result.stderr
    assert f"bytes 0 to {len(CHAT)}" in result.stderr


def test_nothing_at_all_is_refused() -> None:
    result = convert(b"")

    assert (result.exit_code, result.stdout) == (2, "")
    assert "is no openai-chat stream: it is empty" in result.stderr


@pytest.mark.parametrize("name", [name for name in sorted(builtin()) if name not in ("text", "ndjson", "patinox")])
def test_a_stream_that_is_cut_off_is_told_with_the_offset_after_what_was_good(name: str) -> None:
    stream = convert(CHAT, "openai-chat", name).stdout_bytes
    cut = stream[: stream.index(b'"lo"') + 2]

    result = convert(cut, name)

    assert (result.exit_code, result.stdout) == (2, "Hel")
    assert f"(at byte {len(cut)})" in result.stderr


def test_what_is_written_of_a_cut_stream_ends_with_an_error() -> None:
    result = convert(CHAT[:150], "openai-chat", "anthropic")

    assert result.exit_code == 2
    assert "Hel" in result.stdout
    assert result.stdout.splitlines()[-3] == "event: error"


@pytest.mark.parametrize("name", sorted(builtin()))
def test_bytes_that_are_not_utf8_are_told_with_the_offset_after_what_was_good(name: str) -> None:
    stream = convert(CHAT, "openai-chat", name).stdout_bytes
    at = stream.index(b'"lo"') + 1 if name != "text" else 3
    wrong = stream[:at] + b"\xff" + stream[at:]

    result = convert(wrong, name)

    assert (result.exit_code, result.stdout) == (2, "Hel")
    assert f"not UTF-8 (at byte {at})" in result.stderr


def test_a_text_that_ends_within_a_character_is_told_with_the_offset() -> None:
    result = convert("né".encode()[:-1], "text", "openai-chat")

    assert result.exit_code == 2
    assert "the last character is cut off (at byte 1)" in result.stderr


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="asks the kernel for the peak by /proc")
def test_a_line_of_100_mb_is_refused_with_its_offset_in_bounded_memory(tmp_path: Path) -> None:
    file = tmp_path / "long.sse"
    start = CHAT.split(b"\n\n")[0] + b"\n\n"
    with file.open("wb") as stream:
        stream.write(start + b"data: ")
        for _ in range(100):
            stream.write(b"x" * 2**20)
    script = (
        "import sys\n"
        "from pathlib import Path\n"
        "from patinox.cli.main import main\n"
        "try:\n"
        "    main(['convert', '--from', 'openai-chat', '--to', 'text', sys.argv[1]])\n"
        "finally:\n"
        "    # not ru_maxrss: that one is handed on through exec, from whoever ran the test\n"
        "    status = Path('/proc/self/status').read_text()\n"
        "    print(status.partition('VmHWM:')[2].split()[0], file=sys.stderr)\n"
    )

    done = subprocess.run([sys.executable, "-c", script, str(file)], capture_output=True, text=True)

    *_, refusal, peak_kib = done.stderr.splitlines()
    assert (done.returncode, done.stdout) == (2, "Hel")
    assert f"(at byte {len(start)})" in refusal
    assert int(peak_kib) < 200_000


def test_what_comes_down_a_pipe_is_written_before_the_next_comes() -> None:
    command = [sys.executable, "-m", "patinox.cli.main", "convert", "--from", "openai-chat", "--to", "text"]
    cut = CHAT.index(b"\n\n") + 2
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(CHAT[:cut])
        process.stdin.flush()
        assert process.stdout.read(3) == b"Hel"
        process.stdin.write(CHAT[cut:])
        process.stdin.close()
        assert process.stdout.read() == b"lo"
    assert process.returncode == 0


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--from", "morse", "--to", "text"), "unknown format 'morse'; known are patinox,"),
        (("--from", "text", "--to", "morse"), "unknown format 'morse'; known are patinox,"),
        (("--from", "text", "--to", "ollama", "/nowhere/at/all"), "/nowhere/at/all: No such file or directory"),
        (("--from", "text", "--to", "ollama", "."), ".: Is a directory"),
        (("--from", "text"), "Missing option '--to'"),
    ],
)
def test_a_wrong_command_is_refused(words: tuple[str, ...], sentence: str) -> None:
    result = CliRunner().invoke(main, ["convert", *words])

    assert (result.exit_code, result.stdout) == (2, "")
    assert sentence in result.stderr


def test_lines_are_whole_objects() -> None:
    lines = convert(CHAT, "openai-chat", "ndjson").stdout.splitlines()

    assert json.loads(lines[-1])["event"] == "end"


def test_the_table_of_pairs_has_a_row_and_a_column_for_each_format() -> None:
    _, _, table = CliRunner().invoke(main, ["formats"]).stdout.rpartition("\n\n")
    header, *rows = table.splitlines()

    assert header.split()[3:] == list(builtin())
    assert [row.split()[0] for row in rows] == list(builtin())
    assert {row.split()[1:][number] for number, row in enumerate(rows)} == {"-"}


def test_a_pair_is_told_with_its_reasons() -> None:
    listed = CliRunner().invoke(main, ["formats", "--from", "anthropic", "--to", "ollama"]).stdout

    assert listed.startswith("anthropic → ollama:\n")
    assert ["block.delta:annotation.add", "a message has no citations"] in [
        line.split(maxsplit=1) for line in listed.splitlines()
    ]


def test_pairs_of_an_unknown_format_are_refused() -> None:
    result = CliRunner().invoke(main, ["formats", "--to", "morse"])

    assert (result.exit_code, "unknown format 'morse'" in result.stderr) == (2, True)
