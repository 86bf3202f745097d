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

# What every function needs, in the order of their imports among each other. The other modules of the folder are
# imported on demand (on_demand.py).
MODULES = (
    "__init__", "on_demand", "stdlib", "wire", "streams", "report", "context", "environment", "signature", "virtualenv",
    "loader", "openwhisk", "handle",
)


def compile_module(folder: Path, stem: str) -> Tuple[str, bytes]:
    """Full name and marshalled code of one module."""
    path = folder / f"{stem}.py"
    name = folder.name if stem == "__init__" else f"{folder.name}.{stem}"
    # The file name marks frames as ours in tracebacks (report.py).
    code = compile(path.read_bytes(), f"<pyaction>/{stem}.py", "exec", dont_inherit=True)
    return name, marshal.dumps(code)


def modules_on_demand(folder: Path) -> List[str]:
    """The stems of the modules that are not in MODULES. Ends the program if one of MODULES is not there."""
    stems = {path.stem for path in folder.glob("*.py")}
    missing = set(MODULES) - stems
    if missing:
        sys.exit(f"embed.py: there is no {', '.join(sorted(missing))} in {folder}")
    return sorted(stems - set(MODULES))


def write_c(modules: List[Tuple[str, bytes]], eager_count: int, output: Path) -> None:
    """Writes the C file. The first eager_count modules are imported at the start."""
    lines = ['/* Made by embed.py. */', '#include "interpreter.h"', ""]
    for index, (_, code) in enumerate(modules):
        lines.append(f"static const unsigned char code_{index}[] = {{")
        lines += [",".join(map(str, code[start:start + 40])) + "," for start in range(0, len(code), 40)]
        lines.append("};")
    lines.append("const struct embedded_module embedded_modules[] = {")
    lines += [f'\t{{ "{name}", code_{index}, sizeof(code_{index}) }},' for index, (name, _) in enumerate(modules)]
    lines.append("};")
    lines.append(f"const size_t embedded_module_count = {len(modules)};")
    lines.append(f"const size_t embedded_eager_count = {eager_count};")
    magic = int.from_bytes(importlib.util.MAGIC_NUMBER, "little")
    lines.append(f"const long embedded_magic = {magic}L;")
    output.write_text("\n".join(lines) + "\n", encoding="utf-8")


def main() -> None:
    """Entry point."""
    folder, output = Path(sys.argv[1]), Path(sys.argv[2])
    stems = [*MODULES, *modules_on_demand(folder)]
    write_c([compile_module(folder, stem) for stem in stems], len(MODULES), output)


if __name__ == "__main__":
    main()
