"""Makes the zoo anew: `python tests/zoo/exporters/make.py ENVIRONMENTS [SCRIPT...]`, of all scripts unless some are named.

Each script runs in an environment with the pinned packages of `requirements/`, made in the folder ENVIRONMENTS where
it is missing, from a copy in a temporary folder: exporters write the paths of scripts, and JAX those of packages, into models.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
MODELS = HERE.parent / "models"
MANIFEST = HERE.parent / "manifest.json"
PYTHONS = {"jax_old": "3.12", "jax_new": "3.12", "tf24": "3.8", "tf1": "3.7"}
"""The Python of an environment, where it is not 3.11."""

SCRIPTS = (
    ("keras", "keras_tensorflow"),
    ("keras", "tensorflow_modules"),
    ("jax_old", "jax_models"),
    ("jax_new", "jax_models"),
    ("jax_new", "keras_jax"),
    ("jax_new", "orbax_models"),
    ("tf24", "tensorflow_2_4"),
    ("tf1", "tensorflow_1_15"),
    ("text", "text_models"),
    ("ydf", "ydf_models"),
    ("tft", "transform_models"),
    ("mlflow", "mlflow_models"),
    ("sklearn", "sklearn_onnx"),
    ("tf2onnx", "tensorflow_onnx"),
)


def environment(folder: Path, name: str) -> Path:
    """Return the Python of an environment, made now if it is missing."""
    python = folder / name / "bin" / "python"
    if not python.exists():
        uv = shutil.which("uv") or str(Path(sys.executable).with_name("uv"))
        subprocess.run([uv, "venv", "--python", PYTHONS.get(name, "3.11"), folder / name], check=True)
        pinned = HERE / "requirements" / f"{name}.txt"
        subprocess.run([uv, "pip", "install", "--python", python, "--requirement", pinned], check=True)
    return python


def run(python: Path, script: str, out: Path) -> list[dict[str, Any]]:
    """Run one script; returns what it recorded."""
    scripts = out / "scripts"
    shutil.copytree(HERE, scripts)
    models = out / "models"
    models.mkdir()
    packages = {"JAX_HLO_SOURCE_FILE_CANONICALIZATION_REGEX": ".*/site-packages/"}
    variables = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "2", "CUDA_VISIBLE_DEVICES": "-1"} | packages
    subprocess.run([python, scripts / f"{script}.py", models], check=True, env=variables, cwd=out)
    (records,) = models.glob("*.json")
    return json.loads(records.read_text(encoding="utf-8"))


def keep(entry: dict[str, Any], made: Path) -> dict[str, Any]:
    """Move a model into the zoo and note its files."""
    target = MODELS / entry["name"]
    shutil.rmtree(target, ignore_errors=True)
    if any(made.iterdir()):
        shutil.copytree(made, target, ignore=shutil.ignore_patterns("keras_metadata.pb"))
    files = sorted(path for path in target.rglob("*") if path.is_file())
    sums = {path.relative_to(target).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    today = dt.datetime.now(dt.UTC).date().isoformat()
    return {**entry, "made": today, "files": sums}


def main() -> None:
    """Make the models of the scripts, and write the manifest anew."""
    environments, wanted = Path(sys.argv[1]).resolve(), sys.argv[2:]
    before = json.loads(MANIFEST.read_text(encoding="utf-8"))["models"] if MANIFEST.exists() else []
    entries = {entry["name"]: entry for entry in before}
    for name, script in SCRIPTS:
        if not wanted or script in wanted:
            with tempfile.TemporaryDirectory() as folder:
                for entry in run(environment(environments, name), script, Path(folder)):
                    entries[entry["name"]] = keep(entry, Path(folder) / "models" / entry["name"])
    manifest = {"licence": "Apache-2.0, as the whole project", "models": [entries[name] for name in sorted(entries)]}
    MANIFEST.write_text(
        json.dumps(manifest, separators=(",", ":")).replace('{"name"', '\n{"name"') + "\n", encoding="utf-8"
    )


if __name__ == "__main__":
    main()
