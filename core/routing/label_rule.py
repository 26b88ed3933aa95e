"""TensorFlow Serving's rule for version labels, behind `--strict_version_labels` (version labels, config reload)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from core.config.model_config import ModelConfig
from core.errors import FailedPrecondition
from core.routing.table import ModelRoutes, RoutingTable


@dataclass(frozen=True, slots=True)
class LabelRule:
    """Which labels a new list of models may have; without `is_strict`, any."""

    is_strict: bool = False
    allows_new: bool = False

    def check(self, models: Iterable[ModelConfig], table: RoutingTable) -> None:
        """Raise FailedPrecondition, with a line for each label whose version would have to answer first."""
        refused = tuple(self._refused(models, table)) if self.is_strict else ()
        if refused:
            raise FailedPrecondition("\n".join(refused))

    def _refused(self, models: Iterable[ModelConfig], table: RoutingTable) -> Iterator[str]:
        for model in models:
            known = table.models.get(model.name, ModelRoutes())
            for label, version in sorted(model.labels.items()):
                is_new = known.labels.get(label, version) == version
                if version not in known.available and not (self.allows_new and is_new):
                    yield (
                        f"Request to assign label to version {version} of model {model.name}, "
                        "which is not currently available for inference"
                    )
