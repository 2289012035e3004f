"""Responses filled from a template are the messages that protobuf would have made."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sardonyx_wire.messages import ModelInferRequest, ModelInferResponse
from sardonyx_wire.responses import OutputHead, ResponseTemplate

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
        outputs=[OutputHead(name, datatype, shape) for name, datatype, shape, _ in tensors],
    )
    id_field = ModelInferRequest(id=request_id).SerializeToString()
    filled = template.fill(id_field, [memoryview(data) for *_, data in tensors])
    assert ModelInferResponse.FromString(filled) == expected
    assert filled == expected.SerializeToString(deterministic=True)


def test_outputs_carry_parameters_of_text_and_numbers() -> None:
    """Such as where an output was put in shared memory."""
    template = ResponseTemplate(
        model_name="m",
        model_version="1",
        outputs=[OutputHead("y", "FP32", (2,), {"shared_memory_region": "r", "shared_memory_byte_size": 8})],
    )
    (output,) = ModelInferResponse.FromString(template.fill(b"", [b""])).outputs
    assert output.parameters["shared_memory_region"].string_param == "r"
    assert output.parameters["shared_memory_byte_size"].int64_param == 8
