"""HTTP/2 on a port of its own: hypercorn's protocol, in the event loop, process and manager of HTTP/1.1.

    listener    accepts, by TLS and ALPN or in the clear; ends all connections
    connection  hypercorn's TCPServer: one socket, with a deadline for writing
    protocol    hypercorn's H2Protocol: what one connection may do, and whose turn it is to send
    stream      hypercorn's HTTPStream: one request; readers of streams go on without its task
    outgoing    what streams have not sent yet, and their turns        sans-I/O but for waiting
    frames      how long frames are, and which are resets             sans-I/O
    budget      how many streams a client may cancel or break          sans-I/O

What is replaced in hypercorn 0.18, and why:

- A request's body waits in a queue of ten pieces, and the connection with it when nobody reads: one stalled upload
  stops all siblings. Here it waits in the stream, and its window is given back when it has been read (RFC 9113 §5.2).
- A response that its application leaves unfinished is never ended. Here it is reset, which is the only honest end of a
  text that broke off.
- Cancelled streams are not counted (CVE-2023-44487), nor those that the client makes us reset (CVE-2025-8671).
- Frames are kept until they are whole, also those of 16 MiB, and only then found to be too long.
- Its tree of priorities holds 1,000 streams, and PRIORITY frames make more of them. RFC 9113 §5.3.2 has given these up:
  streams send in turn.
- A connection that broke keeps waiting writers for ever; an idle one may be closed by two that wait for each other.
- Each frame is a write of its own, each stream two tasks. Here all that can be sent is written at once, and a reader
  without news is no task.
"""
