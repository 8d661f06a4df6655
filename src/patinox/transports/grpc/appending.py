"""One `Append` call: its requests in order, each all or nothing, and how far it got."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec

from patinox.core.chunks import Error
from patinox.core.producers import Producer
from patinox.errors import InputError, StreamClosed
from patinox.manager import ActiveStream
from patinox.manager.tail import Burst
from patinox.transports.grpc.facts import OUTCOMES
from patinox.transports.grpc.generated import streams_pb2 as pb
from patinox.transports.grpc.messages import appended, from_error

_MAX_PRODUCER_ID = 128


class Appending:
    """What one call appends to one stream, which its first request names; `open_` finds that."""

    def __init__(self, open_: Callable[[str], Awaitable[ActiveStream]]) -> None:
        self._open = open_
        self._stream: ActiveStream | None = None
        self._producer: Producer | None = None
        self._seen = 0
        self._accepted = 0
        self._is_over = False

    def __repr__(self) -> str:
        return f"<Appending {self._accepted} of {self._seen} to {self._stream}>"

    async def take(self, request: pb.AppendRequest) -> None:
        """Appends what one request holds. Waits where back-pressure says so; raises what appending does."""
        stream = await self._begin(request) if self._stream is None else self._continue(self._stream, request)
        burst = stream.burst()
        try:
            for data in [appended(event) for event in request.events]:  # all are read before the first is appended
                await self._append(burst, data)
        finally:
            await burst.flush()
        if request.HasField("finish"):
            self._is_over = True
            if stream.is_open:
                await stream.finish(*_ending(request.finish))

    def answer(self) -> pb.AppendResponse:
        """The answer, when the client has sent its last. Raises `InputError` where it sent nothing."""
        stream = self._stream
        if stream is None:
            raise InputError("the call ended without a request: the first one says which stream")
        if not self._seen and not self._is_over and not stream.is_open:
            raise StreamClosed(f"the stream has ended ({stream.state})")
        return pb.AppendResponse(accepted=self._accepted, position=stream.position, next=stream.log.head + 1)

    def facts(self) -> dict[str, str]:
        """How far it got: nothing that was accepted is lost."""
        if self._stream is None:
            return {}
        return {"accepted": str(self._accepted), "position": self._stream.position}

    async def _begin(self, request: pb.AppendRequest) -> ActiveStream:
        if not request.stream:
            raise InputError("the first request of Append says which stream")
        self._producer = _producer(request)
        self._stream = await self._open(request.stream)
        return self._stream

    def _continue(self, stream: ActiveStream, request: pb.AppendRequest) -> ActiveStream:
        if self._is_over:
            raise InputError("nothing may follow `finish`")
        if request.stream not in ("", stream.id):
            raise InputError("one Append is for one stream")
        if request.HasField("producer"):
            raise InputError("`producer` is for the first request of Append; events are numbered on from there")
        return stream

    async def _append(self, burst: Burst, data: object) -> None:
        producer, number = self._producer, self._seen
        if producer is None:
            await burst.write(data)
            accepted = True
        else:
            accepted = await burst.produce(data, msgspec.structs.replace(producer, seq=producer.seq + number))
        self._seen += 1
        self._accepted += accepted


def _producer(request: pb.AppendRequest) -> Producer | None:
    if not request.HasField("producer"):
        return None
    told = request.producer
    if not 0 < len(told.id) <= _MAX_PRODUCER_ID:
        raise InputError(f"a producer's id has 1 to {_MAX_PRODUCER_ID} characters")
    if told.epoch < 0 or told.seq < 0:
        raise InputError("a producer's epoch and seq count from 0")
    return Producer(told.id, told.epoch, told.seq)


def _ending(finish: pb.Finish) -> tuple[str | None, Error | None]:
    return OUTCOMES.word(finish.outcome), from_error(finish.error) if finish.HasField("error") else None
