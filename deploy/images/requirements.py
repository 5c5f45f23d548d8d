"""Prints what Winnow needs, without Winnow: ``requirements.py EXTRA... [--without NAME...]``.

Installed before the code is copied, so that a change of code does not install the dependencies again.
"""

from __future__ import annotations

import argparse
import re
import tomllib
from pathlib import Path

parser = argparse.ArgumentParser()
parser.add_argument("extras", nargs="+")
parser.add_argument("--without", nargs="*", default=[], help="packages that the base image brings")
arguments = parser.parse_args()

project = tomllib.loads(Path("pyproject.toml").read_text())["project"]
wanted = set(project["dependencies"])
for extra in arguments.extras:
    wanted.update(project["optional-dependencies"][extra])
print("\n".join(sorted(line for line in wanted if re.split(r"[^\w-]", line)[0] not in arguments.without)))
