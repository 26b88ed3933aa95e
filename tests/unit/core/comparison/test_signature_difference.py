"""Tests of the difference of signatures."""

from __future__ import annotations

import random

import numpy as np
import pytest

from core.comparison.signature_difference import MOST_PROBLEMS, signature_problems
from core.inference.dtypes import DataType
from core.inference.signature import CLASSIFY_METHOD, PREDICT_METHOD, Signature, TensorSpec

ROW = (-1, 4)


def spec(dtype: DataType = DataType.FLOAT, shape: tuple[int, ...] | None = ROW, composite: str = "") -> TensorSpec:
    return TensorSpec("t:0", dtype, shape, composite)


def signed(inputs: dict[str, TensorSpec] | None = None, outputs: dict[str, TensorSpec] | None = None, **more) -> dict:
    given = {"x": spec()} if inputs is None else inputs
    return {"serving_default": Signature(given, {"y": spec()} if outputs is None else outputs, **more)}


def problems(old: dict, new: dict) -> list[str]:
    return [one.removeprefix('signature "serving_default": ') for one in signature_problems(old, new)]


def test_equal_signatures_do_not_differ() -> None:
    """What callers send and get is the same; names inside of the graph are the exporter's business."""
    other = signed({"x": TensorSpec("serving_default_x:0", DataType.FLOAT, ROW)})

    assert problems(signed(), other) == []


def test_an_input_that_a_counter_named_is_told_with_its_new_name() -> None:
    """Keras counts all tensors of the process, so the same code exports other names the next time."""
    old, new = signed({"keras_tensor_9": spec()}), signed({"keras_tensor_10": spec()})

    assert problems(old, new) == ['input "keras_tensor_9" (float32 (None, 4)) is now called "keras_tensor_10"']


def test_several_inputs_of_one_type_are_paired_in_the_order_of_their_numbers() -> None:
    """Sorted as texts, `args_0_10` would come before `args_0_2`."""
    old = signed({f"args_0_{number}": spec() for number in (2, 10)})
    new = signed({f"inputs_{number}": spec() for number in (2, 10)})

    assert [one.split(" is now called ") for one in problems(old, new)] == [
        ['input "args_0_2" (float32 (None, 4))', '"inputs_2"'],
        ['input "args_0_10" (float32 (None, 4))', '"inputs_10"'],
    ]


def test_a_number_of_any_length_and_script_is_a_part_of_a_name() -> None:
    """Names come from files; Python refuses to read a number of 5,000 digits."""
    names = ("9" * 5000, "x" + "٣" * 30, "", "x\u0660")

    assert len(problems(signed(dict.fromkeys(names, spec())), signed({}))) == len(names)


def test_an_input_of_another_type_is_not_the_renamed_one() -> None:
    """A guess would send callers the wrong way."""
    found = problems(signed({"x": spec()}), signed({"z": spec(DataType.INT64)}))

    assert found == [
        'input "x" (float32 (None, 4)) is missing',
        'input "z" (int64 (None, 4)) is new, and requests must have it',
    ]


def test_an_input_that_may_be_left_out_may_come() -> None:
    """Old requests go on without it."""
    new = signed({"x": spec(), "z": spec()}, defaults={"z": np.zeros((1, 4), np.float32)})

    assert problems(signed(), new) == []
    assert problems(new, signed({"x": spec(), "z": spec()})) == [
        'input "z" has lost its default, and requests must have it'
    ]


def test_an_input_that_takes_the_place_of_one_with_a_default_is_its_new_name() -> None:
    """A rename is told as such whether or not the new one has a default."""
    new = signed({"z": spec()}, defaults={"z": np.zeros((1, 4), np.float32)})

    assert problems(signed(), new) == ['input "x" (float32 (None, 4)) is now called "z"']


@pytest.mark.parametrize(
    ("dtype", "composite", "text"),
    [
        (DataType.DOUBLE, "", "was float and is double"),
        (DataType.STRING, "", "was float and is string"),
        (DataType.INVALID, "", "was float and is unknown"),
        (DataType.FLOAT, "ragged", "was float and is float (ragged)"),
    ],
)
def test_another_type_is_told(dtype: DataType, composite: str, text: str) -> None:
    """Of inputs and outputs; a composite tensor is another type as well."""
    other = spec(dtype, composite=composite)

    assert problems(signed(), signed({"x": other}, {"y": other})) == [f'input "x" {text}', f'output "y" {text}']


@pytest.mark.parametrize(
    ("narrow", "wide"),
    [((1, 4), (-1, 4)), ((-1, 4), (-1, -1)), ((-1, 4), None), ((2,), (-1,)), ((), None)],
)
def test_an_input_may_allow_more_and_an_output_less(narrow: tuple[int, ...], wide: tuple[int, ...] | None) -> None:
    """Callers send what they sent, and get no shape that they did not expect. The reverse breaks them."""
    low, high = spec(shape=narrow), spec(shape=wide)

    assert problems(signed({"x": low}, {"y": high}), signed({"x": high}, {"y": low})) == []
    assert [one[:9] for one in problems(signed({"x": high}, {"y": low}), signed({"x": low}, {"y": high}))] == [
        'input "x"',
        'output "y',
    ]


@pytest.mark.parametrize(("old", "new"), [((-1, 4), (-1, 5)), ((-1, 4), (-1,)), ((-1, 4), (-1, 4, 1)), ((), (-1,))])
def test_another_shape_is_told_in_both_directions(old: tuple[int, ...], new: tuple[int, ...]) -> None:
    """Another size or another number of dimensions fits nobody."""
    for before, after in ((old, new), (new, old)):
        was, now = (str(tuple(None if one < 0 else one for one in shape)) for shape in (before, after))

        assert problems(signed({"x": spec(shape=before)}), signed({"x": spec(shape=after)})) == [
            f'input "x" had shape {was} and has {now}'
        ]


def test_outputs_that_lose_their_names_are_told() -> None:
    """Keras 3 exports lists of outputs as `output_0`, `output_1`."""
    old = signed(outputs={"scores": spec(), "label": spec(DataType.STRING, (-1,))})
    new = signed(outputs={"output_0": spec(), "output_1": spec(DataType.STRING, (-1,))})

    assert problems(old, new) == [
        'output "label" (string (None,)) is now called "output_1"',
        'output "scores" (float32 (None, 4)) is now called "output_0"',
    ]


def test_a_second_output_changes_the_form_of_rest_answers() -> None:
    """With one output, `predictions` is a list of its values; with two, a list of objects. A third changes nothing."""
    one, two = {"y": spec()}, {"y": spec(), "z": spec()}

    assert problems(signed(outputs=one), signed(outputs=two)) == [
        'there are more outputs ("z"): REST answers that were lists of values become objects'
    ]
    assert problems(signed(outputs=two), signed(outputs={**two, "w": spec()})) == []
    assert problems(signed(outputs=two), signed(outputs=one)) == ['output "z" (float32 (None, 4)) is missing']


def test_a_signature_that_is_gone_is_told_and_a_new_one_is_not() -> None:
    """Nobody calls yet what is new."""
    default = signed()["serving_default"]
    two = {"serving_default": default, "embed": Signature({"x": spec()}, {"e": spec()})}

    assert signature_problems(two, {"serving_default": default}) == ('signature "embed" is missing',)
    assert signature_problems({"serving_default": default}, two) == ()
    assert signature_problems(two, {"serving_default": default, "embedding": two["embed"]}) == (
        'signature "embed" is now called "embedding"',
    )


def test_what_tensorflow_exports_for_itself_is_not_compared() -> None:
    """Callers never ask for it, and a graph without variables has none."""
    init = Signature({}, {"__saved_model_init_op": spec(DataType.INVALID, None)}, "")

    assert signature_problems({**signed(), "__saved_model_init_op": init}, signed()) == ()


def test_a_lost_method_matters_to_those_who_need_it() -> None:
    """Classify and Regress answer with their own method only; Predict answers with each."""
    classify, predict = signed(method=CLASSIFY_METHOD), signed(method=PREDICT_METHOD)

    assert problems(predict, classify) == []
    assert problems(classify, predict) == [
        f"its method was {CLASSIFY_METHOD} and is {PREDICT_METHOD}: it does not answer Classify"
    ]


def test_the_list_of_differences_is_bounded() -> None:
    """A status document must not hold thousands."""
    old = signed({f"a{number}": spec(shape=(number,)) for number in range(1, 500)})

    found = problems(old, signed({}))
    assert len(found) == MOST_PROBLEMS + 1
    assert found[-1] == f"and {499 - MOST_PROBLEMS} more differences"


def test_every_problem_is_about_something_that_differs_and_none_is_missed() -> None:
    """Over random signatures: equal ones have none; one that lacks, or requires, another name has one."""
    dice = random.Random(17)
    shapes = [None, (), (-1,), (-1, 4), (2, 4)]
    for _ in range(500):
        old, new = (
            {f"n{dice.randrange(6)}": spec(dice.choice(list(DataType)), dice.choice(shapes)) for _ in range(4)}
            for _ in range(2)
        )
        found = problems(signed(old), signed(new))

        assert problems(signed(old), signed(dict(reversed(old.items())))) == []
        assert bool(found) >= (old.keys() != new.keys())
