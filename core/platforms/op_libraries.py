"""Libraries of TensorFlow operations: which package holds an operation, and what a load says that lacks one.

TensorFlow's runtime has its own operations alone; those of TF Text, Decision Forests and users come from shared
libraries that register them when they are opened. The names of operations and files below are those of the packages'
releases for TensorFlow 2.21.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from core.versions.load_report import UNFIT_LIBRARY
from core.versions.servable_spec import ServableSpec

NOT_REGISTERED: Final = re.compile(r"Op type not registered '([^']+)'")


@dataclass(frozen=True, slots=True)
class OpPackage:
    """A package with libraries of operations: its name, its extra of this server, and where its files are.

    `module` is its folder in the environment. `libraries` gives the operations of each file there; a release may have
    further ones, whose names begin with one of the `prefixes`.
    """

    name: str
    extra: str
    module: str
    libraries: Mapping[str, tuple[str, ...]]
    prefixes: tuple[str, ...] = ()

    def files_with(self, operation: str) -> tuple[str, ...]:
        """Return the files to open for an operation: the one that has it, or all if only the package is known."""
        exact = tuple(file for file, operations in self.libraries.items() if operation in operations)
        if exact or not operation.startswith(self.prefixes):
            return exact
        return tuple(self.libraries)


TENSORFLOW_TEXT: Final = OpPackage(
    "tensorflow-text",
    "text",
    "tensorflow_text",
    MappingProxyType(
        {
            "python/metrics/_text_similarity_metric_ops.so": ("RougeL",),
            "python/ops/_boise_offset_converter.so": ("TFText>OffsetsToBoiseTags", "TFText>BoiseTagsToOffsets"),
            "python/ops/_byte_splitter.so": ("TFText>ByteSplitWithOffsets", "TFText>ByteSplitByOffsets"),
            "python/ops/_constrained_sequence_op.so": ("ConstrainedSequence",),
            "python/ops/_fast_bert_normalizer.so": ("FastBertNormalize",),
            "python/ops/_fast_sentencepiece_tokenizer.so": (
                "TFText>FastSentencepieceTokenize",
                "TFText>FastSentencepieceDetokenize",
            ),
            "python/ops/_fast_wordpiece_tokenizer.so": (
                "FastWordpieceTokenizeWithOffsets",
                "TFText>FastWordpieceDetokenize",
            ),
            "python/ops/_mst_ops.so": ("MaxSpanningTree",),
            "python/ops/_ngrams_op.so": ("TFText>NgramsStringJoin",),
            "python/ops/_normalize_ops.so": (
                "CaseFoldUTF8",
                "NormalizeUTF8",
                "NormalizeUTF8WithOffsetsMap",
                "FindSourceOffsets",
            ),
            "python/ops/_phrase_tokenizer.so": ("PhraseTokenize", "TFText>PhraseDetokenize"),
            "python/ops/_regex_split_ops.so": ("RegexSplitWithOffsets",),
            "python/ops/_sentence_breaking_ops.so": ("SentenceFragments",),
            "python/ops/_sentencepiece_tokenizer.so": (
                "SentencepieceOp",
                "SentencepieceTokenizeOp",
                "SentencepieceTokenizeWithOffsetsOp",
                "SentencepieceDetokenizeOp",
                "SentencepieceVocabSizeOp",
                "SentencepieceIdToStringOp",
                "SentencepieceStringToIdOp",
            ),
            "python/ops/_split_merge_from_logits_tokenizer.so": ("TokenizerFromLogits",),
            "python/ops/_split_merge_tokenizer.so": ("SplitMergeTokenizeWithOffsets",),
            "python/ops/_state_based_sentence_breaker_op.so": ("SentenceFragmentsV2",),
            "python/ops/_trimmer_ops.so": ("TFText>RoundRobinGenerateMasks", "TFText>RoundRobinTrim"),
            "python/ops/_unicode_script_tokenizer.so": ("UnicodeScriptTokenizeWithOffsets",),
            "python/ops/_utf8_binarize_op.so": ("TFText>Utf8Binarize",),
            "python/ops/_whitespace_tokenizer.so": ("WhitespaceTokenizeWithOffsets",),
            "python/ops/_whitespace_tokenizer_v2.so": ("TFText>WhitespaceTokenizeWithOffsetsV2",),
            "python/ops/_wordpiece_tokenizer.so": ("WordpieceTokenizeWithOffsets",),
        }
    ),
    ("TFText>",),
)

YDF_TF: Final = OpPackage(
    "ydf-tf",
    "forests",
    "ydf_tf",
    MappingProxyType(
        {
            "inference.so": (
                "SimpleMLLoadModelFromPath",
                "SimpleMLLoadModelFromPathWithHandle",
                "SimpleMLInferenceOp",
                "SimpleMLInferenceOpWithHandle",
                "SimpleMLInferenceLeafIndexOpWithHandle",
                "SimpleMLCreateModelResource",
            )
        }
    ),
    ("SimpleML",),
)

KNOWN_PACKAGES: Final = (TENSORFLOW_TEXT, YDF_TF)


def known_package(name: str) -> OpPackage | None:
    """Return what is known of a package; its name may be written in any of the ways that pip takes."""
    plain = re.sub(r"[-_.]+", "-", name).lower()
    return next((one for one in KNOWN_PACKAGES if one.name == plain), None)


def package_with(operation: str) -> OpPackage | None:
    """Return the package that is known to hold an operation."""
    return next((one for one in KNOWN_PACKAGES if one.files_with(operation)), None)


def wanted_files(operations: Iterable[str]) -> Iterator[tuple[OpPackage, str]]:
    """Yield the package and the file of each operation that a known package holds, each file once."""
    pairs = (
        (package, file) for one in operations if (package := package_with(one)) for file in package.files_with(one)
    )
    seen: set[str] = set()
    for package, file in pairs:
        if file not in seen:
            seen.add(file)
            yield package, file


def unregistered_operation(message: str) -> str | None:
    """Return the operation that TensorFlow's text of a failed load says to be unknown."""
    found = NOT_REGISTERED.search(message)
    return None if found is None else found.group(1)


def named_libraries(spec: ServableSpec) -> tuple[str, ...]:
    """Return the entries of `op_libraries` for a version: the server's, then the model's own, each once."""
    own = () if spec.config is None else spec.config.op_libraries
    return tuple(dict.fromkeys((*spec.settings.platforms.op_libraries, *own)))


def missing_operation(message: str, operation: str, *, is_installed: bool) -> str:
    """Return the text of a load that lacks an operation: TensorFlow's own, and where the operation can come from."""
    package = package_with(operation)
    if package is None:
        advice = (
            f"No package that this server knows holds operation {operation}; name the library that does in op_libraries"
            " (the flag, or the setting of the model)"
        )
    elif is_installed:
        advice = (
            f"Package {package.name} is installed, but its libraries do not have operation {operation}; "
            f"{install_advice(package)} installs the release that fits"
        )
    else:
        advice = (
            f"Operation {operation} is in package {package.name}, which is not installed here: "
            f"{install_advice(package)}"
        )
    return f"{message.rstrip().removesuffix('.')}. {advice}"


def install_advice(package: OpPackage) -> str:
    """Return the command that installs a package in the release that fits."""
    return f"pip install 'ray-model-server[{package.extra}]'"


def unfit_library(path: str, reason: str) -> str:
    """Return the text for a library that can never be opened as it is."""
    return (
        f"{path} {UNFIT_LIBRARY}: {reason.removeprefix(f'{path}: ')}. It must be a whole shared library, built for the "
        "TensorFlow that serves"
    )
