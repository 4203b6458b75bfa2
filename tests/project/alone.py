"""Import every module of one package and ask its command for help, where nothing else is installed."""

from __future__ import annotations

import importlib
import pkgutil
import shutil
import subprocess
import sys
from pathlib import Path


def main(package_name: str, *commands: str) -> None:
    package = importlib.import_module(package_name)
    for module in pkgutil.walk_packages(package.__path__, f"{package_name}."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    for name in commands:
        path = shutil.which(name, path=str(Path(sys.executable).parent))
        if path is None:
            raise SystemExit(f"{name} is not installed")
        subprocess.run([path, "--help"], check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    main(*sys.argv[1:])
