"""config.pbtxt: what is read from it, and the exact text of each complaint."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sardonyx_server.errors import LoadFailed
from sardonyx_server.repository.config import declines_batching, inside, parse_config, shown_path, unused_fields

CONFIG = "config.pbtxt of model 'm'"


def test_what_the_file_says_is_kept_and_the_name_filled_in() -> None:
    """The message is the contract's own class."""
    config = parse_config('max_batch_size: 8 output [ { name: "y" dims: [ 3 ] label_filename: "l" } ]', "m")
    assert (config.name, config.max_batch_size, config.output[0].label_filename) == ("m", 8, "l")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            'name: "m"\nmax_batch: 3\n',
            (
                f"{CONFIG}, line 2, column 1: ModelConfig has no field 'max_batch'; did you mean 'max_batch_size'?, "
                "in: max_batch: 3"
            ),
        ),
        (
            "input [\n  { nonsense_: 1 }\n]",
            f"{CONFIG}, line 2, column 5: ModelInput has no field 'nonsense_', in: {{ nonsense_: 1 }}",
        ),
        (
            'max_batch_size: "x"',
            f'{CONFIG}, line 1, column 17: Couldn\'t parse integer: "x", in: max_batch_size: "x"',
        ),
        (
            "max_batch_size: 99999999999",
            f"{CONFIG}, line 1, column 17: Value out of range: 99999999999, in: max_batch_size: 99999999999",
        ),
        (
            'input { data_type: "TYPE_FP32" }',
            (
                f'{CONFIG}, line 1, column 20: Enum type "inference.DataType" has no value named "TYPE_FP32"; '
                'write it without quotes, in: input { data_type: "TYPE_FP32" }'
            ),
        ),
        (
            "input { data_type: TYPE_FOO }",
            (
                f'{CONFIG}, line 1, column 20: Enum type "inference.DataType" has no value named TYPE_FOO, '
                "in: input { data_type: TYPE_FOO }"
            ),
        ),
        (
            'name: "m" name: "m"',
            (
                f'{CONFIG}, line 1, column 17: Message type "inference.ModelConfig" should not have multiple "name" '
                'fields, in: name: "m" name: "m"'
            ),
        ),
        ("input [ {", f'{CONFIG}, line 1, column 9: Expected "}}", in: input [ {{'),
        (
            'name: "n"',
            f"{CONFIG}: name is 'n', expected 'm', the folder's name; remove the line or rename the folder",
        ),
        (
            'platform: "tensorrt_plan"',
            f"{CONFIG}: platform is 'tensorrt_plan', expected 'onnxruntime_onnx'; only ONNX models are served here",
        ),
        (
            'platform: "ensemble"',
            (
                f"{CONFIG}: platform is 'ensemble', expected 'onnxruntime_onnx'; ensembles are not served: "
                "let callers call its models one after the other"
            ),
        ),
        (
            'backend: "python"',
            f"{CONFIG}: backend is 'python', expected 'onnxruntime'; only ONNX models are served here",
        ),
        ("max_batch_size: -1", f"{CONFIG}: max_batch_size is -1, expected 0 or more"),
        (
            "instance_group { count: 600 } instance_group { count: 300 gpus: [0, 1] }",
            f"{CONFIG}: the sum of instance_group.count is 1,200, expected at most 1,024",
        ),
        (
            "instance_group { count: -2 }",
            f"{CONFIG}: instance_group.count is -2, expected 1 or more, or 0 to have it measured",
        ),
    ],
)
def test_a_wrong_config_is_refused_with_place_and_text(text: str, message: str) -> None:
    """Line, column, the line itself, and the way out where there is one."""
    with pytest.raises(LoadFailed) as caught:
        parse_config(text, "m")
    assert caught.value.message == message


def test_long_and_unprintable_contents_stay_one_short_line() -> None:
    """Whatever a file holds, the message fits a log line."""
    for text in ("x" * 100_000, "max_batch_size: \x1b[31m" + "y" * 9_000, "\0", "a\rb: 1"):
        with pytest.raises(LoadFailed) as caught:
            parse_config(text, "m")
        assert caught.value.message.isprintable()
        assert len(caught.value.message) < 700


@given(st.one_of(st.text(max_size=60), st.text(alphabet="input{}[]:,\"'#\\ \n0123456789.-xet_", max_size=40)))
def test_any_text_is_a_config_or_refused(text: str) -> None:
    """Nothing but LoadFailed comes out."""
    try:
        said = parse_config(text, "m").name
    except LoadFailed as error:
        said = error.message
    assert said == "m" or said.startswith(CONFIG)


@pytest.mark.parametrize(
    ("text", "declines"),
    [
        ("max_batch_size: 0", True),
        ("max_batch_size:0 # off", True),
        ('name: "m"\n  max_batch_size : 0\n', True),
        ("", False),
        ("# max_batch_size: 0", False),
        ('parameters { key: "max_batch_size: 0" value { string_value: "\\" max_batch_size" } }', False),
        ("parameters { key: 'max_batch_size' value { } }", False),
        ("max_batch_size: 4", False),
    ],
)
def test_a_stated_zero_is_told_from_silence(text: str, declines: bool) -> None:
    """Comments and strings do not count."""
    assert declines_batching(text, parse_config(text, "m")) is declines


def test_fields_without_effect_are_named_by_path() -> None:
    """Each once, the innermost that is set; lists and maps as a whole."""
    config = parse_config(
        """
        input [ { name: "a" allow_ragged_batch: true }, { name: "b" is_shape_tensor: true allow_ragged_batch: true } ]
        optimization { priority: PRIORITY_MAX graph { level: 1 } cuda { graphs: true graph_spec { batch_size: 1 } } }
        instance_group { count: 2 passive: true rate_limiter { priority: 2 } }
        sequence_batching { }
        metric_tags { key: "a" value: "b" }
        model_transaction_policy { decoupled: true }
        """,
        "m",
    )
    assert unused_fields(config) == [
        "input.allow_ragged_batch",
        "input.is_shape_tensor",
        "instance_group.rate_limiter.priority",
        "instance_group.passive",
        "metric_tags",
        "optimization.priority",
        "optimization.cuda.graphs",
        "optimization.cuda.graph_spec",
        "sequence_batching",
        "model_transaction_policy.decoupled",
    ]


def test_fields_with_an_effect_are_not_named() -> None:
    """All of dynamic_batching, placement, accelerators, warm-up, versions and free parameters."""
    config = parse_config(
        """
        name: "m" platform: "onnxruntime_onnx" backend: "onnxruntime" max_batch_size: 4
        input { name: "x" data_type: TYPE_FP32 dims: 3 format: FORMAT_NONE optional: true reshape { shape: [ ] } }
        output { name: "y" data_type: TYPE_FP32 dims: 3 label_filename: "l" reshape { shape: [ ] } }
        dynamic_batching {
          preferred_batch_size: [ 2, 4 ] max_queue_delay_microseconds: 5 preserve_ordering: true priority_levels: 2
          default_priority_level: 1
          default_queue_policy { timeout_action: DELAY max_queue_size: 3 allow_timeout_override: true }
          priority_queue_policy { key: 1 value { default_timeout_microseconds: 3 } }
        }
        instance_group { name: "g" kind: KIND_GPU count: 2 gpus: [ 0 ] }
        optimization { execution_accelerators { gpu_execution_accelerator { name: "tensorrt" } } }
        model_warmup { name: "w" batch_size: 1 inputs { key: "x" value { dims: 3 zero_data: true } } }
        version_policy { all { } }
        default_model_filename: "model.onnx"
        parameters { key: "k" value { string_value: "v" } }
        """,
        "m",
    )
    assert unused_fields(config) == []


@pytest.mark.parametrize("location", ["", "/a", "..", "a/../b", "../a", "a/..", "a/", ".", "a\\b", "a\nb", "C:\\a\\b"])
def test_paths_that_may_lead_out(location: str) -> None:
    """Only plain relative paths to a file stay inside for sure."""
    assert not inside(location)


@pytest.mark.parametrize("location", ["a", "a/b", "./a", "a..b", ".a", "*"])
def test_paths_that_stay_inside(location: str) -> None:
    """Dots within a name are no way out."""
    assert inside(location)


@pytest.mark.parametrize(
    ("location", "shown"),
    [("a/b", "'a/b'"), ("/root/secret/b", "'/.../b'"), ("C:\\x\\b", "'/.../b'"), ("\\\\host\\b", "'/.../b'")],
)
def test_absolute_paths_are_shown_without_their_folders(location: str, shown: str) -> None:
    """Messages go out to callers."""
    assert shown_path(location) == shown
