"""The public face for gRPC: what a Python client needs, and the service for a `grpc.aio` server of your own.

    with grpc.insecure_channel("127.0.0.1:8789") as channel:
        for response in StreamsStub(channel).Subscribe(messages.SubscribeRequest(stream="notes")):
            for event in response.events:
                print(event.id, event.text.text)

`messages` are those of `proto/patinox/v1/streams.proto`. `GrpcServer` is a port with everything that `patinox serve`
has on its own; `StreamsService(manager).add_to(server)` adds the calls to yours.
"""

from patinox.transports.grpc.generated import streams_pb2 as messages
from patinox.transports.grpc.generated.streams_pb2_grpc import StreamsStub
from patinox.transports.grpc.server import Certificate, GrpcServer
from patinox.transports.grpc.service import StreamsService

__all__ = ["Certificate", "GrpcServer", "StreamsService", "StreamsStub", "messages"]
