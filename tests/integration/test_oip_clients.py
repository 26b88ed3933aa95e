"""The Open Inference Protocol as clients of KServe's and Triton's world see it, each in an environment of its own.

The letters are those of the acceptance list, one test for each; each client's program runs once, for all letters.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import default_cache
from tests.integration.conftest import LiveServer
from tests.support.client_environments import STOCK_CLIENT
from tests.support.clients import wait_until
from tests.support.oip_clients.cases import COMPARED, DEFAULTS, LOADED, MATRIX, NEVER_READY, SCALAR, VERSIONS
from tests.support.oip_clients.runs import ClientRuns
from tests.support.zoo_models import MODELS

pytestmark = [pytest.mark.oip_clients, pytest.mark.timeout(600)]

LABELS = 'version_labels { key: "stable" value: 1 } version_labels { key: "canary" value: 2 }'
POLICY = "model_version_policy { specific { versions: 1 versions: 2 } }"

TRITON, KSERVE, GRPC, OPENAPI, NODE = "triton", "kserve", "open_inference_grpc", "open_inference_openapi", "node"
ALL = (TRITON, KSERVE, GRPC, OPENAPI, NODE)


@pytest.fixture(scope="module")
def runs(server: LiveServer, saved_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClientRuns]:
    """The shared server with the models that the clients ask for."""
    before = dict(server.entries)
    broken = tmp_path_factory.mktemp("never_ready")
    (broken / "1").mkdir()
    (broken / "1" / "saved_model.pb").write_bytes(bytes(range(256)) * 10)
    base_paths = {
        DEFAULTS: MODELS / "tf_defaults",
        LOADED: saved_models / "half_plus_two",
        MATRIX: saved_models / MATRIX,
        NEVER_READY: broken,
        SCALAR: saved_models / SCALAR,
    }
    for name, base_path in base_paths.items():
        server.entries[name] = f'config {{ name: "{name}" base_path: "{base_path}" model_platform: "tensorflow" }}'
    server.configure(VERSIONS, saved_models / "half_plus_two_versions", f"{POLICY} {LABELS}")
    client = server.client()
    wait_until(
        lambda: all(client.available(name) for name in base_paths if name != NEVER_READY), "models are available"
    )
    labels = f"/v1/models/{VERSIONS}/labels"
    for label in ("stable", "canary"):
        wait_until(lambda label=label: client.get(f"{labels}/{label}/metadata").status == 200, f"{label} is available")
    wait_until(lambda: client.states(NEVER_READY) == {1: "END"}, "the version that cannot be loaded was given up")
    client.close()
    folder = tmp_path_factory.mktemp("oip_clients")
    yield ClientRuns(default_cache().parent, f"127.0.0.1:{server.rest_port}", f"127.0.0.1:{server.grpc_port}", folder)
    server.entries = before
    server.apply_config()


@pytest.mark.parametrize("client", ALL)
def test_a_health_is_seen_by_every_client(runs: ClientRuns, client: str) -> None:
    """Live, ready, and ready or not for each model; unknown models and versions are not found."""
    assert runs.different(client, "a") == []


@pytest.mark.parametrize("client", ALL)
def test_b_metadata_has_names_types_shapes_versions_and_the_platform(runs: ClientRuns, client: str) -> None:
    assert runs.different(client, "b") == []


@pytest.mark.parametrize("client", ALL)
def test_c_every_type_comes_back_as_it_was_sent(runs: ClientRuns, client: str) -> None:
    """Raw, typed and in JSON, as far as the client has the form; compressed where it can compress."""
    assert runs.different(client, "c") == []


@pytest.mark.parametrize("client", ALL)
def test_d_outputs_are_those_that_were_asked_for_in_their_order(runs: ClientRuns, client: str) -> None:
    assert runs.different(client, "d") == []


@pytest.mark.parametrize("client", ALL)
def test_e_an_id_is_echoed_and_none_is_invented(runs: ClientRuns, client: str) -> None:
    assert runs.different(client, "e") == []


@pytest.mark.parametrize("client", ALL)
def test_f_errors_have_their_status_and_a_text_that_the_client_shows(runs: ClientRuns, client: str) -> None:
    assert runs.different(client, "f") == []


@pytest.mark.parametrize("client", [TRITON, KSERVE, GRPC])
def test_g_bytes_may_be_anything(runs: ClientRuns, client: str) -> None:
    """Zero bytes, what is not UTF-8, nothing, and the shapes [0] and [2, 1]."""
    assert runs.different(client, "g") == []


@pytest.mark.parametrize("client", [TRITON, KSERVE, GRPC, NODE])
def test_h_half_floats_and_odd_floats_keep_their_bits(runs: ClientRuns, client: str) -> None:
    assert runs.different(client, "h") == []


@pytest.mark.parametrize("client", [OPENAPI])
def test_i_integers_and_truths_may_come_as_floats(runs: ClientRuns, client: str) -> None:
    assert runs.different(client, "i") == []


@pytest.mark.parametrize("client", [KSERVE])
def test_j_kserves_clients_get_binary_answers_and_bodies_of_health(runs: ClientRuns, client: str) -> None:
    assert runs.different(client, "j") == []


@pytest.mark.parametrize("client", [TRITON, KSERVE])
def test_k_models_are_listed_unloaded_and_loaded(runs: ClientRuns, client: str) -> None:
    """By Triton's messages over both protocols, and by KServe's, whose name is in another field."""
    assert runs.different(client, "k") == []


@pytest.mark.parametrize("client", [TRITON, GRPC, OPENAPI, NODE])
def test_l_a_version_or_a_label_chooses_and_the_answer_says_the_version(runs: ClientRuns, client: str) -> None:
    assert runs.different(client, "l") == []


@pytest.mark.parametrize("client", [TRITON, KSERVE, GRPC, OPENAPI])
def test_m_signatures_are_chosen_and_inputs_with_defaults_left_out(runs: ClientRuns, client: str) -> None:
    assert runs.different(client, "m") == []


@pytest.mark.parametrize("client", ALL)
def test_n_tensors_may_be_empty_or_scalars(runs: ClientRuns, client: str) -> None:
    assert runs.different(client, "n") == []


@pytest.mark.parametrize("client", [TRITON, KSERVE, NODE])
def test_o_a_tensor_may_have_64_mib(runs: ClientRuns, client: str) -> None:
    assert runs.different(client, "o") == []


@pytest.mark.stock_client
def test_p_triton_and_tensorflow_servings_clients_get_the_same_bits(runs: ClientRuns) -> None:
    """Of the same inputs, over REST and gRPC of this protocol, and over TensorFlow Serving's."""
    expected = runs.told(STOCK_CLIENT.name)["bits"]

    assert len(expected) >= len(COMPARED)
    assert runs.told(TRITON)["bits"] == [expected, expected]


@pytest.mark.parametrize("client", [TRITON])
def test_statistics_count_what_clients_asked(runs: ClientRuns, client: str) -> None:
    assert runs.different(client, "statistics") == []
