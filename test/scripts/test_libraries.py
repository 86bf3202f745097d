"""What loading the proxy's libraries brings along."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

PYACTION = Path(os.environ.get("PYACTION_BIN", "build/pyaction"))
START_OF_TLS = {"gnutls_global_init", "gnutls_global_deinit", "_gnutls_global_init_skip"}


def test_gnutls_is_not_set_up() -> None:
    """proxy/without_tls.c comes before the library's own functions, wherever somebody looks for them."""
    done = subprocess.run(
        [PYACTION, "--version"], env={"LD_DEBUG": "bindings"}, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        encoding="utf-8", check=True)
    found = re.findall(r"binding file (\S+) \[0\] to (\S+) \[0\]: normal symbol `([^']+)'", done.stderr)
    assert found, "nothing was bound"
    if not any("libgnutls" in user for user, _, _ in found):
        pytest.skip("this libmicrohttpd does without GnuTLS")
    places = {symbol: place for _, place, symbol in found if symbol in START_OF_TLS}
    assert places and set(places.values()) == {str(PYACTION)}
