"""project.yml.example: complete, and valid for DigitalOcean's deployer.

The checker below restates the validators of the deployer
(digitalocean/functions-deployer 5.0.19, `util.ts` and `deploy.ts`) and those of
doctl (`do/serverless.go`), and is itself tested on broken projects.
"""

from __future__ import annotations

import copy
import re
from typing import Any, Callable, Dict, Iterator, List, Set

import pytest
import yaml

from .harness import ROOT

EXAMPLE = ROOT / "project.yml.example"
TEXT = EXAMPLE.read_text(encoding="utf-8")
PROJECT = yaml.safe_load(TEXT)

KEYS: Dict[str, Set[str]] = {
    "project": {"targetNamespace", "packages", "parameters", "environment"},
    "package": {
        "name", "shared", "web", "parameters", "environment", "annotations",
        "functions", "actions", "binding",
    },
    "function": {
        "name", "file", "binary", "runtime", "main", "docker", "sequence",
        "web", "webSecure", "parameters", "environment", "annotations",
        "limits", "localBuild", "remoteBuild", "triggers",
    },
    "limits": {"timeout", "memory", "logs"},
    "trigger": {
        "name", "enabled", "type", "scheduledDetails",
        "sourceType", "sourceDetails",
    },
    "scheduledDetails": {"cron", "body"},
    "sourceDetails": {"cron", "withBody"},
    "binding": {"namespace", "name"},
    "targetNamespace": {"test", "production"},
}
# Shown as comments, because they exclude a key that is shown or name something
# that has to exist.
IN_COMMENTS = {
    "project": {"targetNamespace"},
    "package": {"actions", "binding"},
    "function": {"docker"},
    "binding": {"namespace", "name"},
    "targetNamespace": {"test", "production"},
}
# The deployer accepts these only in files that it writes itself.
NEVER = {
    "slice", "credentials", "flags", "deployerAnnotation", "buildEnv",
    "deployedDuringBuild",
}
RUNTIMES = re.compile(r"python:(default|3\.9|3\.1[1-3])")
CRON_FIELD = r"(\*|\d+(-\d+)?(,\d+(-\d+)?)*)(/\d+)?"
CRON = re.compile(rf"{CRON_FIELD}( {CRON_FIELD}){{4}}")


def problems(project: Any) -> List[str]:
    """Return what a deployment of the project would fail for."""
    found = unknown_keys("project", project)
    found += dictionaries("project", project, "parameters", "environment")
    layered = bool(project.get("parameters") or project.get("environment"))
    for package in project.get("packages", []):
        found += package_problems(package, layered)
    return found


def unknown_keys(level: str, item: Dict[str, Any]) -> List[str]:
    return [f"{level}: key {key}" for key in item if key not in KEYS[level]]


def dictionaries(level: str, item: Dict[str, Any], *keys: str) -> List[str]:
    return [
        f"{level}: {key} is no dictionary"
        for key in keys
        if not isinstance(item.get(key, {}), dict)
    ]


def package_problems(package: Dict[str, Any], layered: bool) -> List[str]:
    found = unknown_keys("package", package)
    found += common_problems("package", package)
    functions = package.get("functions", [])
    if "actions" in package and "functions" in package:
        found.append("package: actions and functions")
    if package.get("shared") is not False and "shared" in package:
        found.append("package: shared")
    own = package.keys() & {"parameters", "environment", "annotations", "binding"}
    if package.get("name") == "default" and (own or layered):
        found.append("package: default with settings")
    if "binding" in package:
        found += unknown_keys("binding", package["binding"])
        if set(package["binding"]) != KEYS["binding"] or functions:
            found.append("package: binding")
    for function in functions:
        found += function_problems(function)
    return found


def common_problems(level: str, item: Dict[str, Any]) -> List[str]:
    """Check what packages and functions have in common."""
    found = dictionaries(level, item, "parameters", "environment", "annotations")
    if not isinstance(item.get("name"), str):
        found.append(f"{level}: name")
    if item.get("web", True) not in (True, False, "raw"):
        found.append(f"{level}: web")
    for key, value in item.get("environment", {}).items():
        if not isinstance(value, str):
            found.append(f"{level}: environment {key} is no text")
    forbidden = {"require-whisk-auth", "provide-api-key", "web-export", "raw-http"}
    for key in item.get("annotations", {}).keys() & forbidden:
        found.append(f"{level}: annotation {key}")
    return found


def function_problems(function: Dict[str, Any]) -> List[str]:
    found = unknown_keys("function", function)
    found += common_problems("function", function)
    found += [
        f"function: {key} is no {kind.__name__}"
        for kind, keys in (
            (str, ("file", "runtime", "main", "docker")),
            (bool, ("binary", "remoteBuild", "localBuild")),
        )
        for key in keys
        if not isinstance(function.get(key, kind()), kind)
    ]
    if not RUNTIMES.fullmatch(function.get("runtime", "python:default")):
        found.append("function: runtime")
    secret = function.get("webSecure", False)
    if secret is not False and (not isinstance(secret, str) or secret == "true"):
        found.append("function: webSecure")
    if function.get("remoteBuild") and function.get("localBuild"):
        found.append("function: remoteBuild and localBuild")
    if "sequence" in function:
        found += sequence_problems(function)
    elif not (function.get("file") and function.get("runtime")):
        found.append("function: no file and runtime, and not in packages/")
    if "limits" in function:
        found += limits_problems(function["limits"])
    for trigger in function.get("triggers", []):
        found += trigger_problems(trigger)
    return found


def sequence_problems(function: Dict[str, Any]) -> List[str]:
    members = function["sequence"]
    found = [
        f"sequence: {key} too"
        for key in ("file", "runtime", "binary", "main", "docker")
        if key in function
    ]
    if not members or not all(isinstance(name, str) for name in members):
        found.append("sequence: members")
    return found


def limits_problems(limits: Dict[str, Any]) -> List[str]:
    found = unknown_keys("limits", limits)
    ranges = {"timeout": (1, 900_000), "memory": (128, 1024), "logs": (0, 256)}
    for key, (least, most) in ranges.items():
        value = limits.get(key, least)
        if type(value) is not int or not least <= value <= most:
            found.append(f"limits: {key}")
    return found


def trigger_problems(trigger: Dict[str, Any]) -> List[str]:
    found = unknown_keys("trigger", trigger)
    if "sourceType" in trigger:
        kind, wanted = trigger["sourceType"], "scheduler"
        form, body = "sourceDetails", "withBody"
        other = trigger.keys() & {"type", "scheduledDetails"}
    else:
        kind, wanted = str(trigger.get("type")).upper(), "SCHEDULED"
        form, body = "scheduledDetails", "body"
        other = trigger.keys() & {"sourceDetails"}
    details = trigger.get(form, {})
    found += unknown_keys(form, details)
    found += dictionaries("trigger", details, body)
    if kind != wanted or other:
        found.append("trigger: type")
    if not isinstance(trigger.get("name"), str):
        found.append("trigger: name")
    if not isinstance(trigger.get("enabled", True), bool):
        found.append("trigger: enabled")
    if not CRON.fullmatch(str(details.get("cron"))):
        found.append("trigger: cron")
    return found


def test_is_valid() -> None:
    assert problems(PROJECT) == []


def test_has_no_tabs() -> None:
    assert "\t" not in TEXT


def test_needs_no_variables() -> None:
    """Templates are replaced in comments too, and an unset one is an error."""
    assert not re.search(r"\$[{(]", TEXT)
    for form in ("$ {NAME}", "$ {|NAME}", "$ {<FILE}", "$ (NAME OTHER)"):
        assert form in TEXT


def test_its_functions_exist() -> None:
    functions = PROJECT["packages"][0]["functions"]
    names = {f"sample/{function['name']}" for function in functions}
    for function in functions:
        assert names.issuperset(function.get("sequence", []))
        if "file" in function:
            source = (ROOT / function["file"]).read_text(encoding="utf-8")
            handler = function.get("main", "main")
            assert re.search(rf"^def {handler}\(", source, re.MULTILINE)


def test_at_most_three_triggers_of_unique_names() -> None:
    triggers = [
        trigger["name"]
        for package in PROJECT["packages"]
        for function in package["functions"]
        for trigger in function.get("triggers", [])
    ]
    assert 0 < len(triggers) <= 3
    assert len(set(triggers)) == len(triggers)


def levels(project: Any) -> Iterator[Any]:
    """Yield every (level, item) of a project."""
    yield "project", project
    for package in project["packages"]:
        yield "package", package
        for function in package["functions"]:
            yield "function", function
            if "limits" in function:
                yield "limits", function["limits"]
            for trigger in function.get("triggers", []):
                yield "trigger", trigger
                for form in ("sourceDetails", "scheduledDetails"):
                    if form in trigger:
                        yield form, trigger[form]


@pytest.mark.parametrize("level", KEYS)
def test_every_key_is_shown(level: str) -> None:
    used = {key for where, item in levels(PROJECT) if where == level for key in item}
    commented = IN_COMMENTS.get(level, set())
    assert used == KEYS[level] - commented
    for key in commented:
        shown = rf'^ *# *(- )?{key}:|# "{key}" is '
        assert re.search(shown, TEXT, re.MULTILINE), key


def test_keys_of_generated_files_are_left_out() -> None:
    for _, item in levels(PROJECT):
        assert not item.keys() & NEVER


def test_both_forms_of_a_trigger_are_shown() -> None:
    [triggers] = [i["triggers"] for w, i in levels(PROJECT) if "triggers" in i]
    assert {tuple(sorted(trigger)) for trigger in triggers} == {
        ("name", "sourceDetails", "sourceType"),
        ("enabled", "name", "scheduledDetails", "type"),
    }


def commented_package(name: str) -> Any:
    """Parse the package that is shown as a comment."""
    start = TEXT.index(f"  # - name: {name}\n")
    lines = []
    for line in TEXT[start:].splitlines():
        if not line.startswith("  # ") or not line.strip("# "):
            break
        lines.append(line[4:])
    [package] = yaml.safe_load("\n".join(lines))
    return package


def test_packages_in_comments_are_valid_where_they_can_be() -> None:
    assert problems({"packages": [commented_package("borrowed")]}) == []
    default = commented_package("default")
    default["functions"][0].update(file="x.py", runtime="python:default")
    assert problems({"packages": [default]}) == []
    assert problems({"packages": [default], "parameters": {"a": 1}}) != []


def test_target_namespace_in_comments() -> None:
    for form in re.findall(r"^# targetNamespace:.*(?:\n#   .*)*", TEXT, re.MULTILINE):
        project = yaml.safe_load(re.sub("^# ", "", form, flags=re.MULTILINE))
        assert problems(project) == []
        names = project["targetNamespace"]
        assert isinstance(names, str) or names.keys() <= KEYS["targetNamespace"]


Break = Callable[[Any, Any, Any], Any]
BREAKS: Dict[str, Break] = {
    "project: key": lambda project, package, function: project.update(slice=True),
    "project: parameters": lambda project, *_: project.update(parameters=[]),
    "package: key": lambda _, package, __: package.update(runtime="x"),
    "package: name": lambda _, package, __: package.update(name=1),
    "package: shared": lambda _, package, __: package.update(shared=True),
    "package: web": lambda _, package, __: package.update(web="rw"),
    "package: actions": lambda _, package, __: package.update(actions=[]),
    "package: environment": lambda _, p, __: p["environment"].update(A=1),
    "package: annotation": lambda _, p, __: p["annotations"].update({"raw-http": 1}),
    "package: default": lambda _, package, __: package.update(name="default"),
    "package: binding": lambda _, package, __: package.update(binding={"name": "x"}),
    "function: key": lambda *args: args[2].update(memory=1),
    "function: file": lambda *args: args[2].update(file=1),
    "function: no file": lambda *args: args[2].pop("runtime"),
    "function: runtime": lambda *args: args[2].update(runtime="python:2"),
    "function: binary": lambda *args: args[2].update(binary="no"),
    "function: webSecure": lambda *args: args[2].update(webSecure=True),
    "function: remoteBuild": lambda *args: args[2].update(remoteBuild=True),
    "function: environment": lambda *args: args[2]["environment"].update(A=1),
    "limits: key": lambda *args: args[2]["limits"].update(concurrency=1),
    "limits: timeout": lambda *args: args[2]["limits"].update(timeout=900_001),
    "limits: memory": lambda *args: args[2]["limits"].update(memory="256"),
    "sequence: main": lambda *args: args[2].update(sequence=["a"]),
    "sequence: members": lambda *args: args[2].update(sequence=[1]),
    "trigger: key": lambda *a: a[2].update(triggers=[{"name": "x", "cron": "y"}]),
    "trigger: cron": lambda *args: args[2].update(
        triggers=[{"name": "x", "type": "SCHEDULED", "scheduledDetails": {"cron": ""}}]
    ),
    "trigger: type": lambda *args: args[2].update(
        triggers=[{"name": "x", "sourceDetails": {"cron": "* * * * *"}}]
    ),
}


@pytest.mark.parametrize("problem", BREAKS)
def test_the_checker_sees(problem: str) -> None:
    project = copy.deepcopy(PROJECT)
    package = project["packages"][0]
    BREAKS[problem](project, package, package["functions"][0])
    assert any(found.startswith(problem) for found in problems(project))
