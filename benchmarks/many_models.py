"""From the command until many models of mixed kinds answer: `python -m benchmarks.many_models`.

Another checkout with its own `.venv` takes turns: `--other FOLDER`. Flags that only this one gets come at the end:
`-- --host_light_versions`.
"""

from __future__ import annotations

import argparse
import itertools
import os
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from benchmarks.contenders import end_on_signals
from benchmarks.peers import ROOT
from benchmarks.server_start import Cost, started, table

POLL_S = 0.5
FOLDERS = ("examples/models", "tests/zoo/models", "tests/support/tflite_models")
FOR_REFUSALS = {"broken_metadata", "complex", "unknown_operation", "unknown_tensor", "jax_cuda_only", "tf_py_function"}
NEEDS_LIBRARIES = {"text_bert", "text_case_fold", "text_tokens", "ydf_forest", "ydf_trees"}
PLATFORMS = {".onnx": "onnx", ".tflite": "tflite", ".py": "python"}
PYTHON_MODEL = """
class Model:
    inputs = {"x": ("float32", (None,))}
    outputs = {"y": ("float32", (None,))}

    def predict(self, inputs):
        return {"y": inputs["x"] / 2 + 2}
"""


def base_paths(folder: Path, count: int) -> Iterator[Path]:
    """Yield base paths of small models of all kinds, each again under another name when there are not enough."""
    code = folder / "python_model" / "1" / "model.py"
    code.parent.mkdir(parents=True)
    code.write_text(PYTHON_MODEL)
    left_out = FOR_REFUSALS | NEEDS_LIBRARIES
    found = [path for name in FOLDERS for path in sorted((ROOT / name).iterdir()) if path.name not in left_out]
    served = [code.parent.parent, *(path for path in found if any(path.glob("*/*")))]
    for number, path in zip(range(count), itertools.cycle(served), strict=False):
        link = folder / f"m{number:02}_{path.name}"
        link.symlink_to(path)
        yield link


def platform_of(base_path: Path) -> str:
    """Return the platform of a model by its files."""
    return next((PLATFORMS[one.suffix] for one in base_path.glob("*/*") if one.suffix in PLATFORMS), "tensorflow")


def until_all_answer(checkout: Path, models: Mapping[str, Path], config: Path, flags: Sequence[str]) -> Cost:
    """Start a server and return the cost until the model server of each model has answered."""
    left = set(models)
    with started(checkout, ["--allow_python_servables", f"--model_config_file={config}", *flags]) as server:
        while left:
            time.sleep(POLL_S)
            for name in sorted(left):
                if not server.answered(f"/v1/models/{name}/metadata", None):
                    break
                left.discard(name)
        return server.cost()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.many_models", description=__doc__.split("\n", 1)[0])
    parser.add_argument("--models", type=int, default=69)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--other", type=Path, help="folder of another checkout")
    parser.add_argument("flags", nargs="*", help="flags of this checkout's server")
    options = parser.parse_args()
    end_on_signals()
    with tempfile.TemporaryDirectory(prefix="bench-many-") as folder:
        models = {path.name: path for path in base_paths(Path(folder), options.models)}
        config = Path(folder) / "models.config"
        entries = (
            f'config {{ name: "{name}" base_path: "{path}" model_platform: "{platform_of(path)}" }}'
            for name, path in models.items()
        )
        config.write_text("model_config_list {\n" + "\n".join(entries) + "\n}\n")
        ways = {"this": (ROOT, options.flags)} | ({"other": (options.other.resolve(), [])} if options.other else {})
        costs: dict[str, list[Cost]] = {name: [] for name in ways}
        for number in range(options.rounds):
            for name in sorted(ways, reverse=number % 2 == 0):
                checkout, flags = ways[name]
                costs[name].append(until_all_answer(checkout, models, config, flags))
                print(name, costs[name][-1], f"load {os.getloadavg()[0]:.1f}", flush=True)
    print(f"\nuntil {options.models} models answer, medians of {options.rounds} rounds\n\n{table(costs)}")


if __name__ == "__main__":
    main()
