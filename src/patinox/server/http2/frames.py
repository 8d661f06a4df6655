"""What is to be known of frames without parsing them (RFC 9113 §4.1): how long they are, and which are resets."""

from __future__ import annotations

_LENGTH_BYTES = 3
_HEADER_BYTES = 9
_PREFACE_BYTES = 24
_RST_STREAM = 0x3


def count_resets(frames: bytes) -> int:
    """How many RST_STREAM frames (RFC 9113 §6.4) there are among whole frames, as they go over the wire."""
    count = at = 0
    while at + _HEADER_BYTES <= len(frames):
        count += frames[at + 3] == _RST_STREAM
        at += _HEADER_BYTES + int.from_bytes(frames[at : at + 3], "big")
    return count


def data_frame(stream_id: int, data: bytes) -> bytes:
    """A DATA frame (RFC 9113 §6.1) without padding that ends nothing."""
    return b"%b\0\0%b%b" % (len(data).to_bytes(3, "big"), stream_id.to_bytes(4, "big"), data)


class FrameLengths:
    """Looks at the length of each frame that a client sends when it is said: h2 does when the whole frame has come.

    So a frame that says 16 MiB is refused at once instead of being kept until it is whole.
    """

    __slots__ = ("_begun", "_max_bytes", "_rest_bytes")

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._rest_bytes = _PREFACE_BYTES  # of what is coming, until the next frame begins
        self._begun = b""

    def admit(self, data: bytes) -> bool:
        """Takes what has come; False where a frame is to be longer than it may."""
        data = self._begun + data if self._begun else data
        at = self._rest_bytes
        while at + _LENGTH_BYTES <= len(data):
            length = int.from_bytes(data[at : at + _LENGTH_BYTES], "big")
            if length > self._max_bytes:
                return False
            at += _HEADER_BYTES + length
        self._begun = data[at:]
        self._rest_bytes = max(0, at - len(data))
        return True
