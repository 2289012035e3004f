"""Requests filled from a template are the messages that protobuf would have made."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sardonyx_wire.messages import ModelInferRequest
from sardonyx_wire.request_template import RequestTemplate

headers = st.builds(
    ModelInferRequest,
    model_name=st.text(max_size=10),
    model_version=st.sampled_from(["", "1", "17"]),
    inputs=st.lists(
        st.builds(
            ModelInferRequest.InferInputTensor,
            name=st.text(max_size=5),
            datatype=st.sampled_from(["FP32", "BYTES"]),
            shape=st.lists(st.integers(0, 2**40), max_size=4),
        ),
        max_size=3,
    ),
    outputs=st.lists(st.builds(ModelInferRequest.InferRequestedOutputTensor, name=st.text(max_size=5)), max_size=2),
)


@given(
    headers,
    st.text(max_size=200),
    st.lists(st.binary(max_size=300), max_size=3),
    st.dictionaries(st.text(), st.integers(0, 9), max_size=1),
)
def test_a_filled_template_is_the_message_protobuf_makes(
    header: ModelInferRequest, request_id: str, data: list[bytes], parameters: dict[str, int]
) -> None:
    """Byte for byte, with and without id, parameters and data."""
    for name, value in parameters.items():
        header.parameters[name].int64_param = value
    template = RequestTemplate(header)
    expected = ModelInferRequest()
    expected.CopyFrom(header)
    expected.id = request_id
    expected.raw_input_contents.extend(data)
    assert template.fill(request_id, [memoryview(each) for each in data]) == expected.SerializeToString(
        deterministic=True
    )
