"""Responses filled from a template are the messages that protobuf would have made."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sardonyx_wire.messages import ModelInferRequest, ModelInferResponse
from sardonyx_wire.protobuf_fields import LARGE_PAYLOAD_BYTES
from sardonyx_wire.response_template import OutputMetadata, ResponseTemplate

outputs = st.lists(
    st.tuples(
        st.text(max_size=10),
        st.sampled_from(["FP32", "BYTES"]),
        st.lists(st.integers(0, 2**40), max_size=4),
        st.binary(max_size=400),
    ),
    max_size=4,
)


@given(st.text(max_size=20), st.text(max_size=5), st.text(max_size=200), outputs)
def test_a_filled_template_parses_as_the_message_protobuf_makes(
    model_name: str, version: str, request_id: str, tensors: list[tuple[str, str, list[int], bytes]]
) -> None:
    """Names, id, shapes and data arrive, one raw entry for each output, empty ones included."""
    expected = ModelInferResponse(model_name=model_name, model_version=version, id=request_id)
    for name, datatype, shape, data in tensors:
        expected.outputs.add(name=name, datatype=datatype, shape=shape)
        expected.raw_output_contents.append(data)
    template = ResponseTemplate(
        model_name=model_name,
        model_version=version,
        outputs=[OutputMetadata(name, datatype, shape) for name, datatype, shape, _ in tensors],
    )
    id_field = ModelInferRequest(id=request_id).SerializeToString()
    filled = bytes(template.fill(id_field, [memoryview(data) for *_, data in tensors]))
    assert ModelInferResponse.FromString(filled) == expected
    assert filled == expected.SerializeToString(deterministic=True)


lengths = st.integers(0, 4).flatmap(
    lambda count: st.lists(
        st.lists(st.sampled_from([0, 4, 127, 128, LARGE_PAYLOAD_BYTES]), min_size=count, max_size=count),
        min_size=1,
        max_size=5,
    )
)


@given(lengths, st.text(max_size=3))
def test_a_template_is_filled_again_with_data_of_any_length(fillings: list[list[int]], request_id: str) -> None:
    """What is known of the first answer holds for those alike, and for no others."""
    heads = [OutputMetadata(f"y{index}", "BYTES", [1]) for index in range(len(fillings[0]))]
    template = ResponseTemplate(model_name="m", model_version="1", outputs=heads)
    id_field = ModelInferRequest(id=request_id).SerializeToString()
    for number, filling in enumerate(fillings):
        expected = ModelInferResponse(model_name="m", model_version="1", id=request_id)
        for head in heads:
            expected.outputs.add(name=head.name, datatype=head.datatype, shape=head.shape)
        expected.raw_output_contents.extend(bytes((number,)) * length for length in filling)
        filled = template.fill(id_field, [memoryview(data) for data in expected.raw_output_contents])
        assert bytes(filled) == expected.SerializeToString(deterministic=True)


@given(
    st.lists(st.sampled_from([0, 3, LARGE_PAYLOAD_BYTES - 1, LARGE_PAYLOAD_BYTES, 3 * LARGE_PAYLOAD_BYTES]), max_size=5)
)
def test_large_outputs_are_not_copied(sizes: list[int]) -> None:
    """Put together, the pieces are what protobuf would have made."""
    expected = ModelInferResponse(model_name="m", model_version="1", id="7")
    payloads = [memoryview(bytes(range(256)) * (-(-size // 256)))[:size] for size in sizes]
    for data in payloads:
        expected.outputs.add(name="y", datatype="UINT8", shape=[len(data)])
        expected.raw_output_contents.append(bytes(data))
    heads = [OutputMetadata("y", "UINT8", [size]) for size in sizes]
    template = ResponseTemplate(model_name="m", model_version="1", outputs=heads)
    filled = template.fill(ModelInferRequest(id="7").SerializeToString(), payloads)
    assert bytes(filled) == expected.SerializeToString(deterministic=True)
    assert len(filled) == len(bytes(filled))
    large = [data for data in payloads if len(data) >= LARGE_PAYLOAD_BYTES]
    kept = [] if isinstance(filled, bytes) else [piece for piece in filled.parts if piece in large]
    assert [id(piece) for piece in kept] == [id(data) for data in large]


def test_outputs_carry_parameters_of_text_and_numbers() -> None:
    """Such as where an output was put in shared memory."""
    template = ResponseTemplate(
        model_name="m",
        model_version="1",
        outputs=[OutputMetadata("y", "FP32", (2,), {"shared_memory_region": "r", "shared_memory_byte_size": 8})],
    )
    (output,) = ModelInferResponse.FromString(bytes(template.fill(b"", [b""]))).outputs
    assert output.parameters["shared_memory_region"].string_param == "r"
    assert output.parameters["shared_memory_byte_size"].int64_param == 8
