#!/usr/bin/env python3
"""Compiles the bootstrap modules into a C file.

usage: embed.py FOLDER OUTPUT

FOLDER is the package's folder; OUTPUT defines what interpreter.h declares. Run it with the Python whose library
the runner is linked with: the code is marshalled, which differs from version to version.
"""

from __future__ import annotations

import importlib.util
import marshal
import sys
from pathlib import Path
from typing import List, Tuple

# In the order of their imports among each other.
MODULES = (
    "__init__", "stdlib", "wire", "streams", "report", "context", "environment", "signature", "virtualenv", "loader",
    "precompile", "openwhisk", "handle",
)


def compile_module(folder: Path, stem: str) -> Tuple[str, bytes]:
    """Full name and marshalled code of one module."""
    path = folder / f"{stem}.py"
    name = folder.name if stem == "__init__" else f"{folder.name}.{stem}"
    # The file name marks frames as ours in tracebacks (report.py).
    code = compile(path.read_bytes(), f"<pyaction>/{stem}.py", "exec", dont_inherit=True)
    return name, marshal.dumps(code)


def check_complete(folder: Path) -> None:
    """Ends the program if a module is in the folder and not in MODULES, or the other way round."""
    difference = {path.stem for path in folder.glob("*.py")} ^ set(MODULES)
    if difference:
        sys.exit(f"embed.py: the list of modules and the folder differ: {', '.join(sorted(difference))}")


def write_c(modules: List[Tuple[str, bytes]], output: Path) -> None:
    """Writes the C file."""
    lines = ['/* Made by embed.py. */', '#include "interpreter.h"', ""]
    for index, (_, code) in enumerate(modules):
        lines.append(f"static const unsigned char code_{index}[] = {{")
        lines += [",".join(map(str, code[start:start + 40])) + "," for start in range(0, len(code), 40)]
        lines.append("};")
    lines.append("const struct embedded_module embedded_modules[] = {")
    lines += [f'\t{{ "{name}", code_{index}, sizeof(code_{index}) }},' for index, (name, _) in enumerate(modules)]
    lines.append("};")
    lines.append(f"const size_t embedded_module_count = {len(modules)};")
    magic = int.from_bytes(importlib.util.MAGIC_NUMBER, "little")
    lines.append(f"const long embedded_magic = {magic}L;")
    output.write_text("\n".join(lines) + "\n", encoding="utf-8")


def main() -> None:
    """Entry point."""
    folder, output = Path(sys.argv[1]), Path(sys.argv[2])
    check_complete(folder)
    write_c([compile_module(folder, stem) for stem in MODULES], output)


if __name__ == "__main__":
    main()
