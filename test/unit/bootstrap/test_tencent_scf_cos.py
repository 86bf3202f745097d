"""tencent_scf_cos.py: qcloud_cos_v5, where the COS SDK is and where it is not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Dict

import pytest
from tencent_scf_conversation import Conversation, e443, expand, talk

# The shape of cos-python-sdk-v5: a package that takes its names from modules of its own.
SDK = {
    "qcloud_cos/__init__.py": "from .cos_client import CosConfig, CosS3Client\nfrom .cos_exception import CosError\n",
    "qcloud_cos/cos_client.py": "from .cos_exception import CosError\nclass CosConfig: pass\nclass CosS3Client: pass\n",
    "qcloud_cos/cos_exception.py": "print('loaded')\nclass CosError(Exception): pass\n",
    "qcloud_cos/deep/__init__.py": "",
    "qcloud_cos/deep/module.py": "x = 5\n",
}
MISSING = "ModuleNotFoundError: No module named 'qcloud_cos_v5'"


def run(folder: Path, source: str, files: Dict[str, str]) -> Conversation:
    return talk(folder, {"index.py": expand(source), **files}, {"value": {}})


@pytest.mark.parametrize("source", [
    "import qcloud_cos_v5\nfrom qcloud_cos_v5 import CosConfig \nfrom qcloud_cos_v5 import CosS3Client\n"
    "import qcloud_cos as sdk\nH return [CosConfig is sdk.CosConfig, qcloud_cos_v5 is sdk, CosS3Client.__module__]",
    "import qcloud_cos as sdk\nimport qcloud_cos_v5\n"
    "H return [qcloud_cos_v5.CosConfig is sdk.CosConfig, qcloud_cos_v5 is sdk, sdk.CosS3Client.__module__]",
    "from qcloud_cos_v5.cos_exception import CosError\nimport qcloud_cos_v5.cos_client, qcloud_cos.cos_client as sdk\n"
    "H return [CosError is sdk.CosError, qcloud_cos_v5.cos_client is sdk, qcloud_cos_v5.CosS3Client.__module__]",
    "import importlib\nfrom qcloud_cos_v5 import cos_exception\nimport qcloud_cos.cos_exception as sdk, qcloud_cos\n"
    "H return [importlib.import_module('.cos_exception', 'qcloud_cos_v5') is sdk, cos_exception is sdk, "
    "qcloud_cos.CosS3Client.__module__]",
    "import qcloud_cos_v5.deep.module as m\nimport qcloud_cos.deep.module as sdk, qcloud_cos_v5\n"
    "H return [m is sdk, m.x == qcloud_cos_v5.deep.module.x == 5, qcloud_cos_v5.CosS3Client.__module__]",
])
def test_another_name_of_the_sdk(tmp_path: Path, source: str) -> None:
    got = run(tmp_path, source, SDK)
    assert got.replies[1:] == [("success", '[true, true, "qcloud_cos.cos_client"]')], got
    assert got.out == "loaded\n"  # once, under whatever name


def test_the_sdk_knows_its_own_name(tmp_path: Path) -> None:
    got = run(tmp_path, "import qcloud_cos_v5 as c\nimport importlib, pickle\n"
              "H return [c.__name__, c.__spec__.name, c.__package__, importlib.reload(c) is c, "
              "pickle.loads(pickle.dumps(c.CosConfig)) is c.CosConfig]", SDK)
    assert json.loads(got.replies[1][1]) == ["qcloud_cos", "qcloud_cos", "qcloud_cos", True, True]


def test_no_sdk(tmp_path: Path) -> None:
    got = talk(tmp_path, {"index.py": "import qcloud_cos_v5"})
    assert got.replies[0] == ("init_failed", e443(
        'Traceback (most recent call last):\n  File "/var/user/index.py", line 1, in <module>\n'
        "    import qcloud_cos_v5\n" + MISSING))
    assert got.err.endswith(MISSING + "\nHint: qcloud_cos_v5 is Tencent's COS SDK, which is not installed here: "
                            "pip install cos-python-sdk-v5\n")


@pytest.mark.parametrize(("source", "expected"), [
    ("H import qcloud_cos_v5", MISSING),
    ("H from qcloud_cos_v5.cos_client import X", MISSING),
    ("H import qcloud_cos_v4", "ModuleNotFoundError: No module named 'qcloud_cos_v4'"),
    ("H import qcloud_cos_v5x", "ModuleNotFoundError: No module named 'qcloud_cos_v5x'"),
])
def test_missing_modules_while_running(tmp_path: Path, source: str, expected: str) -> None:
    got = run(tmp_path, source, {})
    status, payload = got.replies[1]
    assert status == "function_error" and json.loads(payload)["stackTrace"].split("\n")[-1] == expected
    assert ("Hint:" in got.err) == (expected == MISSING)


def test_looking_for_it_raises_nothing(tmp_path: Path) -> None:
    got = run(tmp_path, "import importlib.util\nH return importlib.util.find_spec('qcloud_cos_v5') is None", {})
    assert got.replies[1] == ("success", "true")


def test_missing_submodule(tmp_path: Path) -> None:
    got = run(tmp_path, "import qcloud_cos_v5\nH import qcloud_cos_v5.nope", SDK)
    last = json.loads(got.replies[1][1])["stackTrace"].split("\n")[-1]
    assert last == "ModuleNotFoundError: No module named 'qcloud_cos_v5.nope'"


def test_what_the_sdk_lacks_is_said(tmp_path: Path) -> None:
    got = run(tmp_path, "H import qcloud_cos_v5", {"qcloud_cos/__init__.py": "import crcmod_that_is_not_there"})
    trace: Any = json.loads(got.replies[1][1])["stackTrace"].split("\n")
    assert trace[-1] == "ModuleNotFoundError: No module named 'crcmod_that_is_not_there'" and "Hint" not in got.err
    assert [line for line in trace if "File" in line] == [
        '  File "/var/user/index.py", line 2, in main_handler',
        '  File "/var/user/qcloud_cos/__init__.py", line 1, in <module>']


def test_a_package_of_the_function_s_comes_first(tmp_path: Path) -> None:
    files = {**SDK, "qcloud_cos_v5/__init__.py": "own = 1", "qcloud_cos_v5/part.py": "own = 2"}
    got = run(tmp_path, "import qcloud_cos_v5.part\nH return [qcloud_cos_v5.own, qcloud_cos_v5.part.own]", files)
    assert got.replies[1] == ("success", "[1, 2]") and got.out == ""
