"""nginx with the Nchan module: its own process under its own prefix, fed by POSTs from here.

Only the nginx worker is measured and pinned to the server's core (by nginx itself, from the mask in
PATINOX_BENCH_SERVER_CORE); this feeder belongs to the load.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.servers.control import Publisher, obey_stdin, say
from benchmarks.servers.host import listen, raise_open_files

MODULE = Path("/usr/lib/nginx/modules/ngx_nchan_module.so")
OVERHEAD_BYTES = len("id: 1700000000:0\ndata: \n\n")
CONFIGURATION = """\
load_module {module};
daemon off;
worker_processes 1;
worker_cpu_affinity {mask:b};
worker_rlimit_nofile 20000;
user {user};
error_log {prefix}/error.log crit;
pid {prefix}/nginx.pid;
events {{ worker_connections 16000; }}
http {{
    access_log off;
    tcp_nodelay on;
    client_body_temp_path {prefix}/body; proxy_temp_path {prefix}/proxy; fastcgi_temp_path {prefix}/fastcgi;
    uwsgi_temp_path {prefix}/uwsgi; scgi_temp_path {prefix}/scgi;
    keepalive_requests 10000000;
    nchan_max_reserved_memory 256M;
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location ~ ^/events/(\\d+)$ {{
            nchan_subscriber eventsource;
            nchan_channel_id $1;
            nchan_message_buffer_length 2000;
        }}
        location ~ ^/publish/(\\d+)$ {{
            nchan_publisher;
            nchan_channel_id $1;
            nchan_message_buffer_length 2000;
        }}
    }}
}}
"""


def start(prefix: Path, port: int) -> subprocess.Popen[bytes]:
    """Start nginx in the foreground under `prefix`."""
    mask = 1 << int(os.environ.get("PATINOX_BENCH_SERVER_CORE", "0"))
    user = "root" if os.geteuid() == 0 else "nobody"
    text = CONFIGURATION.format(module=MODULE, prefix=prefix, port=port, mask=mask, user=user)
    (prefix / "nginx.conf").write_text(text)
    return subprocess.Popen(["nginx", "-p", str(prefix), "-c", str(prefix / "nginx.conf")])


def connect(port: int, nginx: subprocess.Popen[bytes]) -> socket.socket:
    """Connect as soon as nginx listens; fails after five seconds."""
    for _ in range(250):
        if nginx.poll() is not None:
            sys.exit("nginx did not start")
        try:
            sock = socket.create_connection(("127.0.0.1", port))
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return sock
        except ConnectionRefusedError:
            time.sleep(0.02)
    sys.exit("nginx does not listen")


def worker_of(nginx: subprocess.Popen[bytes]) -> int:
    """Return the pid of the one worker."""
    return int(Path(f"/proc/{nginx.pid}/task/{nginx.pid}/children").read_text().split()[0])


def main() -> None:
    """Start nginx, feed it until stdin ends, stop it."""
    if not shutil.which("nginx") or not MODULE.exists():
        print("nginx with Nchan is not installed (Debian: nginx, libnginx-mod-nchan)", file=sys.stderr)
        sys.exit(3)
    raise_open_files()
    with listen() as probe:
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="nchan-") as folder:
        nginx = start(Path(folder), port)
        try:
            feed(connect(port, nginx), port, worker_of(nginx))
        finally:
            nginx.terminate()
            nginx.wait(10)


def feed(sock: socket.socket, port: int, worker: int) -> None:
    """POST each message on one kept-alive connection and wait for the answer."""
    import asyncio

    async def publish(stream: int, text: str) -> None:
        head = f"POST /publish/{stream} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {len(text)}\r\n\r\n"
        sock.sendall((head + text).encode())
        if b" 20" not in sock.recv(4096)[:16]:
            raise RuntimeError("Nchan refused a message")

    say(f"listening {port} {worker}")
    asyncio.run(obey_stdin(Publisher(publish, OVERHEAD_BYTES)))


if __name__ == "__main__":
    main()
