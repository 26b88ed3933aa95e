"""The servers that take part: how each is started, asked, and ended (by the ids of its own processes)."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil

from benchmarks.checkouts import checkout
from benchmarks.load import HOST, Job, LoadProcess, Sample
from benchmarks.peers import BIN, PROGRAMS, ROOT, python
from benchmarks.workloads import FORMS, GRPC, OVER_GRPC, REST, V2, V2_BINARY, V2_GRPC, Form, Workload

START_TIMEOUT_S = 180.0
STOP_TIMEOUT_S = 60.0
POLL_S = 0.2
PLATFORMS = {".onnx": "onnx", ".tflite": "tflite", ".py": "python"}


class Contender:
    """One server: a process and its children, listening on loopback: REST on `port`, gRPC on the next one."""

    name = ""
    label = ""
    protocols = frozenset({REST})
    environment = ""
    # Ray's processes import from here before they look into their environment.
    place = ROOT
    answers_with_predictions = True
    # True for the one contender that is asked over its standard input.
    speaks = False

    def __init__(self, models: Mapping[str, Path]) -> None:
        self.models = models
        self.port = 0
        self.folder = Path(tempfile.mkdtemp(prefix=f"bench-{self.name}-"))
        self._process: subprocess.Popen[str] | None = None

    @classmethod
    def answers(cls, asked: Workload) -> bool:
        """Whether it takes part in a workload."""
        return asked.protocol in cls.protocols

    def command(self) -> Sequence[object]:
        raise NotImplementedError

    def variables(self) -> Mapping[str, str]:
        return {}

    def start(self) -> None:
        """Start without waiting; `wait_ready` does."""
        self.port = free_ports(4)
        command = [str(part) for part in self.command()]
        variables = {"TF_CPP_MIN_LOG_LEVEL": "2", "PYTHONUNBUFFERED": "1", **self.variables()}
        self._process = subprocess.Popen(
            command,
            cwd=self.place,
            env={**os.environ, **variables},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE if self.speaks else (self.folder / "log").open("w"),
            stderr=(self.folder / "errors").open("w"),
            text=True,
            start_new_session=True,
        )

    def wait_ready(self, load: LoadProcess, asked: Sequence[Workload]) -> None:
        """Wait until each kind of request is answered once."""
        ends_at = time.monotonic() + START_TIMEOUT_S
        for one in asked:
            while (sample := self.measure(load, one)).wrong:
                if not self.is_running or time.monotonic() > ends_at:
                    raise RuntimeError(f"{self.name} does not answer: {sample.first_wrong}\n{self._last_words()}")
                time.sleep(POLL_S)

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def _last_words(self) -> str:
        texts = [(self.folder / name).read_text() for name in ("log", "errors") if (self.folder / name).exists()]
        return "\n".join(texts)[-3000:]

    def measure(
        self, load: LoadProcess, asked: Workload, expected: bytes | None = None, clients: int = 1, seconds: float = 0.0
    ) -> Sample:
        """Send one workload; 0 seconds is one request by each client."""
        return load.run(self.job(asked, expected, clients, seconds))

    def job(self, asked: Workload, expected: bytes | None = None, clients: int = 1, seconds: float = 0.0) -> Job:
        is_grpc = asked.protocol in OVER_GRPC
        form = self.form(asked)
        return Job(
            is_grpc=is_grpc,
            port=self.port + is_grpc,
            path=form.path(asked),
            body=form.body(asked),
            headers=form.headers(asked),
            expected=expected,
            clients=clients,
            seconds=seconds,
        )

    def form(self, asked: Workload) -> Form:
        return FORMS[asked.protocol]

    def values(self, asked: Workload, answer: bytes) -> np.ndarray | None:
        """Return the numbers of an answer, for comparison; None from one that only sends back what it got."""
        return self.form(asked).values(answer) if self.answers_with_predictions else None

    @property
    def processes(self) -> list[psutil.Process]:
        if self._process is None:
            return []
        with suppress(psutil.NoSuchProcess):
            root = psutil.Process(self._process.pid)
            return [root, *root.children(recursive=True)]
        return []

    def cpu_s(self) -> float:
        """Return the processor time that its processes have used so far."""
        return cpu_s(self.processes)

    def is_on_the_way(self, process: psutil.Process) -> bool:
        """Whether requests pass through a process of it."""
        del process
        return True

    @property
    def way(self) -> list[psutil.Process]:
        """The processes that requests pass through."""
        return [one for one in self.processes if self.is_on_the_way(one)]

    def stop(self) -> None:
        if self._process is None:
            return
        family = self.processes
        with suppress(subprocess.TimeoutExpired):
            self._process.terminate()
            self._process.wait(STOP_TIMEOUT_S)
        for process in family:
            with suppress(psutil.Error):
                process.kill()
        self._process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def program(self, file_name: str) -> list[object]:
        """Return the command of a program in benchmarks/peers: environment's Python, file, port, NAME=DIRECTORY..."""
        interpreter = python(self.environment) if self.environment else sys.executable
        return [interpreter, PROGRAMS / file_name, self.port, *self.versions()]

    def versions(self) -> list[str]:
        return [f"{name}={path / '1'}" for name, path in self.models.items()]


def cpu_s(processes: Sequence[psutil.Process]) -> float:
    """Return the processor time that processes have used so far."""
    used = 0.0
    for process in processes:
        with suppress(psutil.Error):
            times = process.cpu_times()
            used += times.user + times.system
    return used


def platform(base_path: Path) -> str:
    """Return the platform of a model by its files."""
    return next((PLATFORMS[one.suffix] for one in base_path.glob("*/*") if one.suffix in PLATFORMS), "tensorflow")


def model_list(folder: Path, models: Mapping[str, Path]) -> Path:
    """Write the model config file of a server of this project; returns its path."""
    entries = [
        f'config {{ name: "{name}" base_path: "{path}" model_platform: "{platform(path)}" }}\n'
        for name, path in models.items()
    ]
    file = folder / "models.config"
    file.write_text("model_config_list {\n" + "".join(entries) + "}\n")
    return file


def end_on_signals() -> None:
    """Make SIGTERM end this process as Ctrl-C does, so that the servers it started are stopped."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def free_ports(count: int) -> int:
    """Find that many free ports in a row below those that the system gives away; gives the first."""
    for first in range(18700, 30000, 10):
        with suppress(OSError):
            for port in range(first, first + count):
                with socket.socket() as one:
                    one.bind((HOST, port))
            if first not in _given:
                _given.add(first)
                return first
    raise RuntimeError("no free ports")


_given: set[int] = set()


class Ours(Contender):
    name, label = "ours", "Ray Model Server"
    protocols = frozenset(FORMS)
    flags: Sequence[str] = ()
    bin = BIN

    def command(self) -> Sequence[object]:
        config = model_list(self.folder, self.models)
        return self.serving(f"--model_config_file={config}", "--allow_python_servables", *self.flags)

    def serving(self, *flags: str) -> Sequence[object]:
        """Return the command of a server that listens where the others do."""
        door = [f"--host={HOST}", f"--rest_api_port={self.port}", f"--port={self.port + 1}"]
        return [self.bin / "ray_model_server", *door, *flags]

    def is_on_the_way(self, process: psutil.Process) -> bool:
        """Whether it is a router or a model server, by its title."""
        with suppress(psutil.Error):
            title = " ".join(process.cmdline())
            return "ServeReplica:router:Router" in title or any(f":{name}:" in title for name in self.models)
        return False


class OverHandles(Ours):
    """The same server, whose routers call model servers through Serve's handles."""

    name, label = "handles", "Ray Model Server over Serve's handles"
    flags = ("--direct_transport=false",)


class TracingNothing(Ours):
    """The same server, which would follow a `traceparent`, and gets none."""

    name, label = "tracing0", "Ray Model Server, tracing on, no request traced"
    flags = ("--tracing_otlp_endpoint=http://127.0.0.1:9", "--tracing_sampling_rate=0")


class TracingFew(Ours):
    """The same server, which records one request of a hundred."""

    name, label = "tracing1", "Ray Model Server, 1 % of the requests traced"
    flags = ("--tracing_otlp_endpoint=http://127.0.0.1:9", "--tracing_sampling_rate=0.01")


class Traced(Ours):
    """The same server, which records and sends spans of every request; nobody takes them."""

    name, label = "traced", "Ray Model Server, every request traced"
    flags = ("--tracing_otlp_endpoint=http://127.0.0.1:9", "--tracing_sampling_rate=1")


class ServeDoor(Contender):
    """The same server asked on the gRPC port of Ray Serve's proxy, which hands requests over to the router."""

    name, label = "servedoor", "Ray Model Server through Serve's gRPC port"
    protocols = frozenset({GRPC})

    def command(self) -> Sequence[object]:
        flags = {"host": HOST, "port": self.port + 2, "model_config_file": str(model_list(self.folder, self.models))}
        config = {
            "http_options": {"host": HOST, "port": self.port + 3},
            "grpc_options": {
                "port": self.port + 1,
                "grpc_servicer_functions": ["deployments.app:add_services"],
            },
            "logging_config": {"enable_access_log": False},
            "applications": [
                {"name": "router", "route_prefix": "/", "import_path": "deployments.app:build", "args": flags}
            ],
        }
        file = self.folder / "app.yaml"
        file.write_text(json.dumps(config))
        return [BIN / "serve", "run", file]

    def variables(self) -> Mapping[str, str]:
        return {"RAY_ADDRESS": "local", "RAY_TMPDIR": str(self.folder), "RAY_AUTH_MODE": "disabled"}


class FastApi(Contender):
    name, label, environment = "fastapi", "FastAPI + TensorFlow", "fastapi"

    def command(self) -> Sequence[object]:
        return self.program("fastapi_server.py")


class UvicornEcho(Contender):
    name, label = "uvicorn", "uvicorn, bare echo"
    answers_with_predictions = False

    def command(self) -> Sequence[object]:
        return self.program("uvicorn_echo.py")


class GrpcEcho(Contender):
    name, label = "grpc", "grpc.aio, bare echo"
    protocols = frozenset({GRPC})
    answers_with_predictions = False

    def command(self) -> Sequence[object]:
        return [sys.executable, PROGRAMS / "grpc_echo.py", self.port + 1]


class LitServe(Contender):
    name, label, environment = "litserve", "LitServe", "litserve"

    def command(self) -> Sequence[object]:
        return self.program("litserve_server.py")


class BentoMl(Contender):
    name, label, environment = "bentoml", "BentoML", "bentoml"

    def command(self) -> Sequence[object]:
        bentoml = python(self.environment).with_name("bentoml")
        address = ["--host", HOST, "--port", self.port, "--working-dir", PROGRAMS]
        return [bentoml, "serve", "bentoml_service:Models", *address]

    def variables(self) -> Mapping[str, str]:
        return {"BENTOML_DO_NOT_TRACK": "True", "BENTOML_HOME": str(self.folder), "MODELS": " ".join(self.versions())}


class MlServer(Contender):
    name, label, environment = "mlserver", "MLServer", "mlserver"
    protocols = frozenset({REST, V2, V2_GRPC})

    def command(self) -> Sequence[object]:
        settings: dict[str, object] = {"host": HOST, "parallel_workers": 0, "debug": False}
        settings |= {"http_port": self.port, "grpc_port": self.port + 1, "metrics_port": self.port + 2}
        (self.folder / "settings.json").write_text(json.dumps(settings))
        for name, path in self.models.items():
            model = {"name": name, "implementation": "mlserver_runtime.Runtime", "parameters": {"uri": f"{path}/1"}}
            (self.folder / name).mkdir()
            (self.folder / name / "model-settings.json").write_text(json.dumps(model))
        return [python(self.environment).with_name("mlserver"), "start", self.folder]

    def variables(self) -> Mapping[str, str]:
        return {"PYTHONPATH": str(PROGRAMS)}

    def form(self, asked: Workload) -> Form:
        return FORMS[V2] if asked.protocol == REST else super().form(asked)


class KServe(Contender):
    """Its SDK's model server around the same model."""

    name, label, environment = "kserve", "KServe SDK's server", "kserve"
    protocols = frozenset({V2, V2_BINARY, V2_GRPC})

    def command(self) -> Sequence[object]:
        return self.program("kserve_server.py")


class MlServerLeast(MlServer):
    """Without TensorFlow where numpy can do the model's work: the protocol's cost and nearly nothing else."""

    name, label = "mlserver-numpy", "MLServer, the model in numpy"

    def variables(self) -> Mapping[str, str]:
        return {**super().variables(), "LEAST_MODELS": "1"}


class KServeLeast(KServe):
    """Without TensorFlow where numpy can do the model's work."""

    name, label = "kserve-numpy", "KServe SDK's server, the model in numpy"

    def variables(self) -> Mapping[str, str]:
        return {**super().variables(), "LEAST_MODELS": "1"}


class PlainRayServe(Contender):
    name, label = "rayserve", "plain Ray Serve, router + model"

    def command(self) -> Sequence[object]:
        return self.program("ray_serve_app.py")


class InProcess(Contender):
    """TensorFlow called from threads of one Python process: no server at all."""

    name, label = "inprocess", "TensorFlow in-process"
    protocols = frozenset({REST, GRPC})
    speaks = True

    def command(self) -> Sequence[object]:
        return self.program("in_process.py")

    def measure(
        self, load: LoadProcess, asked: Workload, expected: bytes | None = None, clients: int = 1, seconds: float = 0.0
    ) -> Sample:
        del load, expected
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        order = {"model": asked.model, "shape": asked.shape, "clients": clients, "seconds": seconds}
        order["texts"] = asked.array.tolist() if asked.is_text else None
        print(json.dumps(order), file=self._process.stdin, flush=True)
        line = self._process.stdout.readline()
        if not line:
            return Sample(wrong=1, first_wrong="ended")
        answer = json.loads(line)
        sample = Sample(seconds=answer["seconds"], answer=line.encode())
        sample.latency_s.extend(answer["latency_s"])
        return sample

    def values(self, asked: Workload, answer: bytes) -> np.ndarray | None:
        del asked
        return np.array(json.loads(answer)["values"], np.float32)


CONTENDERS: dict[str, type[Contender]] = {
    one.name: one
    for one in (
        Ours,
        OverHandles,
        TracingNothing,
        TracingFew,
        Traced,
        ServeDoor,
        FastApi,
        UvicornEcho,
        GrpcEcho,
        LitServe,
        BentoMl,
        MlServer,
        MlServerLeast,
        KServe,
        KServeLeast,
        PlainRayServe,
        InProcess,
    )
}


def contender(name: str) -> type[Contender]:
    """Return a contender by name: `ours@REVISION` is this project as it was then; raises KeyError."""
    base, at, revision = name.partition("@")
    if not at:
        return CONTENDERS[name]
    folder = checkout(revision)
    label = f"{CONTENDERS[base].label} at {revision}"
    return type(
        base,
        (CONTENDERS[base],),
        {"name": name.replace("/", "-"), "label": label, "bin": folder / ".venv" / "bin", "place": folder},
    )


DEFAULT = ("ours", "fastapi", "uvicorn", "grpc", "servedoor")
