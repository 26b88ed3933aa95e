"""The environments and models of the servers that we compare with, made when first asked for, below `.peers/`.

`benchmarks/peers/` has the peers' server programs and, for each environment, `requirements-NAME.txt`.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROGRAMS = ROOT / "benchmarks" / "peers"
HOME = ROOT / ".peers"
BIN = Path(sys.executable).parent


def python(environment: str) -> Path:
    """Return the interpreter of an environment, making or renewing it when its requirements are not those installed."""
    requirements = PROGRAMS / f"requirements-{environment}.txt"
    folder = HOME / environment
    interpreter, stamp = folder / "bin" / "python", folder / ".installed"
    if not stamp.exists() or stamp.read_bytes() != requirements.read_bytes():
        print(f"making .peers/{environment}", file=sys.stderr, flush=True)
        _run(BIN / "uv", "venv", "--quiet", "--clear", "--python", sys.executable, folder)
        _run(BIN / "uv", "pip", "install", "--quiet", "--python", interpreter, "--requirement", requirements)
        stamp.write_bytes(requirements.read_bytes())
    return interpreter


def base_paths(names: Iterable[str]) -> dict[str, Path]:
    """Return the models' base paths, making those that are not among the examples."""
    known = (ROOT / "examples" / "models", ROOT / "benchmarks" / "python_models", HOME / "models")
    paths = {name: next((one / name for one in known if (one / name).exists()), known[-1] / name) for name in names}
    missing = [name for name, path in paths.items() if not is_python(path) and not (path / "1/saved_model.pb").exists()]
    if missing:
        print(f"making models: {', '.join(missing)}", file=sys.stderr, flush=True)
        _run(sys.executable, "-m", "benchmarks.make_models", HOME / "models", *missing)
    return paths


def is_python(base_path: Path) -> bool:
    """Whether a model is a `model.py`, which only servers of Python code can serve."""
    return (base_path / "1" / "model.py").exists()


def _run(*command: object) -> None:
    subprocess.run([str(part) for part in command], check=True, cwd=ROOT, stderr=subprocess.STDOUT)
