"""The runner's built-in module _pyaction as an extension module, for tests in an ordinary interpreter."""

from __future__ import annotations

import os
import shlex
import subprocess
import sysconfig
from pathlib import Path

RUNNER = Path(__file__).resolve().parents[3] / "pyrunner"
SOURCES = ("output.c", "json_decode.c", "json_encode.c")
INIT = """\
#include "output.h"
PyMODINIT_FUNC PyInit__pyaction(void);
PyMODINIT_FUNC PyInit__pyaction(void)
{ return output_module(); }
"""


def build(folder: Path, flags: str = "-O2 -g") -> None:
    """Compiles it for this interpreter into a folder, to be put into sys.path.

    Args:
        folder: exists; gets _pyaction.so and a C file
        flags: for compiler and linker

    Raises:
        subprocess.CalledProcessError: the compiler has said why on stderr
    """
    init = folder / "init.c"
    init.write_text(INIT)
    command = [*shlex.split(os.environ.get("CC", "cc")), "-std=gnu17", "-D_GNU_SOURCE", "-shared", "-fPIC",
               *shlex.split(flags), f"-I{RUNNER}", "-isystem", sysconfig.get_paths()["include"],
               "-o", str(folder / "_pyaction.so"), *(str(RUNNER / name) for name in SOURCES), str(init), "-lm"]
    subprocess.run(command, check=True)
