"""Makes a component of a policy's module: `build.py FOLDER ENTRY SDK WIT OUT`. Prints the hooks it exports.

FOLDER/ENTRY is the author's module, SDK the folder with headworks_policy, WIT one with the contract. An error of the
author's is one short text on stderr and exit code 1.
"""

import importlib
import os
import shutil
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path

# The contract's world for each hook, and the functions of its interface.
WORLDS = {
    "configure": ("configured", {"configure": "json"}),
    "admit": ("admitting", {"admit": "request"}),
    "place": ("placing", {"place": "request"}),
    "observe": ("observing", {"observe": "events"}),
    "snapshot": ("restorable", {"snapshot": "", "restore": "bytes"}),
}

GLUE = "headworks_component"

# Not the script that pip installs: it names the folder where it was installed.
PROGRAM = "import sys, componentize_py; sys.argv[0] = 'componentize-py'; sys.exit(componentize_py.script())"


def main(folder: str, entry: str, sdk: str, wit: str, out: str) -> None:
    places = [folder, sdk]
    module = entry[: -len(".py")]
    hooks = hooks_of(module, places)
    with tempfile.TemporaryDirectory(prefix="headworks-policy-") as room:
        write_world(Path(room) / "wit", wit, hooks)
        (Path(room) / f"{GLUE}.py").write_text(glue(module, hooks))
        componentize(room, places, out)
    print(" ".join(hooks))


def hooks_of(module: str, places: list) -> list:
    """Imports the module as a test would, to learn which hooks it has and whether the SDK takes it."""
    sys.dont_write_bytecode = True
    sys.path[:0] = places
    importlib.import_module(module)
    policy = importlib.import_module("headworks_policy.policy")
    return policy.hooks_of(type(policy.exported()))


def write_world(folder: Path, wit: str, hooks: list) -> None:
    """A world of its own for the policy: everything it may import, and the hooks it has."""
    shutil.copytree(wit, folder / "deps" / "policy")
    worlds = ["senses", "described", *(WORLDS[hook][0] for hook in hooks)]
    includes = "".join(f"  include headworks:policy/{name}@0.1.0;\n" for name in worlds)
    (folder / "policy.wit").write_text(f"package local:policy;\n\nworld policy {{\n{includes}}}\n")


def glue(module: str, hooks: list) -> str:
    """One class per interface, as componentize-py wants them."""
    verbs = {"describe": {"describe": ""}, **{hook: WORLDS[hook][1] for hook in hooks}}
    lines = [f"import {module}", "from headworks_policy import component"]
    for interface, functions in verbs.items():
        lines.append(f"class {interface.capitalize()}:")
        for verb, word in functions.items():
            words = f"self, {word}" if word else "self"
            lines.append(f"    def {verb}({words}):\n        return component.{verb}({word})")
    return "\n".join(lines) + "\n"


def componentize(room: str, places: list, out: str) -> None:
    """Every import of WASI becomes a stub that traps: the policy imports nothing but the contract."""
    path = [word for place in [room, *places] for word in ("-p", place)]
    world = ["--quiet", "-d", os.path.join(room, "wit"), "-w", "policy"]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *world, "componentize", "--stub-wasi", *path, "-o", out, GLUE],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise SystemExit(f"componentize-py: {done.stdout.strip()}")


def said(error: BaseException, folder: str, sdk: str) -> str:
    """What went wrong, and where in the author's files."""

    def is_below(file: str, place: str) -> bool:
        return os.path.abspath(file).startswith(os.path.abspath(place) + os.sep)

    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if is_below(frame.filename, folder) and not is_below(frame.filename, sdk)]
    place = f"{os.path.relpath(own[-1].filename, folder)}:{own[-1].lineno}: " if own else ""
    return place + "".join(traceback.format_exception_only(type(error), error)).strip()


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except Exception as error:
        sys.exit(said(error, sys.argv[1], sys.argv[3]))
