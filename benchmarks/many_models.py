"""From the command until many models of mixed kinds answer: `python -m benchmarks.many_models`.

Another revision takes turns: `--than REVISION`. Flags that only this one gets come at the end:
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

from benchmarks.checkouts import NOW, THAN, checkout, in_turn
from benchmarks.contenders import end_on_signals, model_list
from benchmarks.peers import ROOT
from benchmarks.server_start import Cost, started, table

POLL_S = 0.5
FOLDERS = ("examples/models", "tests/zoo/models", "tests/support/tflite_models")
FOR_REFUSALS = {"broken_metadata", "complex", "unknown_operation", "unknown_tensor", "jax_cuda_only", "tf_py_function"}
NEEDS_LIBRARIES = {"text_bert", "text_case_fold", "text_tokens", "ydf_forest", "ydf_trees"}
PYTHON_MODEL = """
class Model:
    inputs = {"x": ("float32", (None,))}
    outputs = {"y": ("float32", (None,))}

    def load(self, path):
        pass

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


def until_all_answer(code: Path, models: Mapping[str, Path], config: Path, flags: Sequence[str]) -> Cost:
    """Start a server and return the cost until the model server of each model has answered."""
    left = set(models)
    with started(code, ["--allow_python_servables", f"--model_config_file={config}", *flags]) as server:
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
    parser.add_argument("--than", help=THAN)
    parser.add_argument("flags", nargs="*", help="flags of this checkout's server")
    options = parser.parse_args()
    end_on_signals()
    with tempfile.TemporaryDirectory(prefix="bench-many-") as folder:
        models = {path.name: path for path in base_paths(Path(folder), options.models)}
        config = model_list(Path(folder), models)
        ways = {NOW: (ROOT, options.flags)} | ({options.than: (checkout(options.than), [])} if options.than else {})
        costs: dict[str, list[Cost]] = {name: [] for name in ways}
        for number in range(options.rounds):
            for name in in_turn(list(ways), number):
                code, flags = ways[name]
                costs[name].append(until_all_answer(code, models, config, flags))
                print(name, costs[name][-1], f"load {os.getloadavg()[0]:.1f}", flush=True)
    print(f"\nuntil {options.models} models answer, medians of {options.rounds} rounds\n\n{table(costs)}")


if __name__ == "__main__":
    main()
