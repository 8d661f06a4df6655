"""Makes the Python of `proto/` into a folder: `python proto/generate.py [FOLDER]`, which is what `make proto` runs.

protoc names a module by its file's path under `proto/`; here the modules stand side by side in one package, so the one
import among them is made relative.
"""

from __future__ import annotations

import sys
from importlib import resources
from pathlib import Path
from tempfile import TemporaryDirectory

from grpc_tools import protoc

PROTO = Path(__file__).parent
FILE = "patinox/v1/streams.proto"
PACKAGE = PROTO.parent / "src/patinox/transports/grpc/generated"
NAMES = ("streams_pb2.py", "streams_pb2.pyi", "streams_pb2_grpc.py")
ABSOLUTE, RELATIVE = b"from patinox.v1 import streams_pb2", b"from . import streams_pb2"


def generate(into: Path) -> None:
    """Writes the modules. Raises SystemExit where protoc finds fault with the file; it says which."""
    well_known = resources.files("grpc_tools") / "_proto"
    with TemporaryDirectory() as scratch:
        options = [f"--{kind}_out={scratch}" for kind in ("python", "pyi", "grpc_python")]
        if protoc.main(["protoc", f"-I{PROTO}", f"-I{well_known}", *options, FILE]):
            raise SystemExit(f"protoc could not read {FILE}")
        for name in NAMES:
            made = (Path(scratch) / FILE).with_name(name).read_bytes()
            (into / name).write_bytes(made.replace(ABSOLUTE, RELATIVE))


if __name__ == "__main__":
    generate(Path(sys.argv[1]) if len(sys.argv) > 1 else PACKAGE)
