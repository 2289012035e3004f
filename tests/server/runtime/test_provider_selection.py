"""The choice of execution providers: a table of machines and wishes, and properties of all of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sardonyx_server.errors import LoadFailed
from sardonyx_server.runtime.catalogue import AUTO, PROVIDERS, short_name
from sardonyx_server.runtime.placement import Accelerator, InstanceGroup, Placement, PlacementRequest
from sardonyx_server.runtime.provider_selection import select_providers

AZURE = "AzureExecutionProvider"
CPU = "CPUExecutionProvider"
CUDA = "CUDAExecutionProvider"
TENSORRT = "TensorrtExecutionProvider"
OPENVINO = "OpenVINOExecutionProvider"
PLAIN_WHEEL = (AZURE, CPU)
GPU_WHEEL = (TENSORRT, CUDA, CPU)


def request(**fields: object) -> PlacementRequest:
    """What model 'm' asks for."""
    return PlacementRequest(name="m", **fields)  # type: ignore[arg-type]


def on(kind: str, count: int = 0, gpus: tuple[int, ...] = ()) -> InstanceGroup:
    """One instance group."""
    return InstanceGroup(kind=kind, count=count, gpus=gpus)  # type: ignore[arg-type]


def shape(placement: Placement) -> list[tuple[str, int, int, list[str]]]:
    """(kind, device, count, providers) of each instance."""
    return [
        (one.kind, one.device_id, one.count, [short_name(option.name) for option in one.providers])
        for one in placement.instances
    ]


@pytest.mark.parametrize(
    ("requested", "available", "gpus", "model", "want", "reason"),
    [
        pytest.param(
            "auto",
            PLAIN_WHEEL,
            0,
            request(),
            [("cpu", 0, 0, ["cpu"])],
            "cpu is the best installed provider",
            id="laptop",
        ),
        pytest.param(
            "auto",
            PLAIN_WHEEL,
            1,
            request(),
            [("cpu", 0, 0, ["cpu"])],
            "cpu: the installed onnxruntime has no provider for this machine's GPU; "
            "install it with: pip install 'sardonyx[gpu]'",
            id="a GPU that lies idle is mentioned",
        ),
        pytest.param(
            "auto",
            (OPENVINO, CPU),
            0,
            request(),
            [("cpu", 0, 0, ["openvino", "cpu"])],
            "openvino is the best installed provider",
        ),
        pytest.param(
            "auto",
            GPU_WHEEL,
            2,
            request(),
            [("gpu", 0, 1, ["cuda", "cpu"]), ("gpu", 1, 1, ["cuda", "cpu"])],
            "cuda is the best installed provider; tensorrt is installed too, but its engine builds take minutes: "
            "name it with --providers tensorrt",
            id="auto takes every GPU, and never TensorRT",
        ),
        pytest.param(
            "auto",
            GPU_WHEEL,
            0,
            request(),
            [("cpu", 0, 0, ["cpu"])],
            "cpu is the best installed provider",
            id="no GPU plugged in",
        ),
        pytest.param(
            "auto",
            GPU_WHEEL,
            1,
            request(groups=(on("cpu", 3), on("gpu", 2))),
            [("cpu", 0, 3, ["cpu"]), ("gpu", 0, 2, ["cuda", "cpu"])],
            "instance_group asks for KIND_CPU; instance_group asks for KIND_GPU; tensorrt is installed too, but its "
            "engine "
            "builds take minutes: name it with --providers tensorrt",
            id="two groups",
        ),
        pytest.param(
            "auto",
            GPU_WHEEL,
            4,
            request(groups=(on("auto", 1, (3, 1, 3)),), gpu_accelerators=(Accelerator(name="tensorrt"),)),
            [("gpu", 3, 1, ["tensorrt", "cuda", "cpu"]), ("gpu", 1, 1, ["tensorrt", "cuda", "cpu"])],
            "gpu_execution_accelerator names tensorrt",
            id="an accelerator comes first, named GPUs once each",
        ),
        pytest.param(
            "auto",
            (OPENVINO, *GPU_WHEEL),
            1,
            request(groups=(on("cpu"),), cpu_accelerators=(Accelerator(name="openvino"),)),
            [("cpu", 0, 0, ["openvino", "cpu"])],
            "cpu_execution_accelerator names openvino",
        ),
        pytest.param(
            "tensorrt",
            GPU_WHEEL,
            1,
            request(),
            [("gpu", 0, 1, ["tensorrt", "cuda", "cpu"])],
            "--providers names tensorrt",
        ),
        pytest.param("cpu", GPU_WHEEL, 1, request(), [("cpu", 0, 0, ["cpu"])], "--providers names cpu"),
        pytest.param(
            "cuda,cpu", GPU_WHEEL, 1, request(), [("gpu", 0, 1, ["cuda", "cpu"])], "--providers names cuda,cpu"
        ),
        pytest.param(
            "cpu,cuda",
            GPU_WHEEL,
            1,
            request(),
            [("cpu", 0, 0, ["cpu"])],
            "--providers names cpu,cuda",
            id="order counts",
        ),
        pytest.param(
            "cuda",
            GPU_WHEEL,
            1,
            request(groups=(on("cpu"),)),
            [("cpu", 0, 0, ["cpu"])],
            "instance_group asks for KIND_CPU",
        ),
        pytest.param(
            "auto",
            GPU_WHEEL,
            1,
            request(groups=(on("model"),)),
            [("gpu", 0, 1, ["cuda", "cpu"])],
            None,
            id="KIND_MODEL as AUTO",
        ),
    ],
)
def test_what_is_chosen_and_why(
    requested: str,
    available: tuple[str, ...],
    gpus: int,
    model: PlacementRequest,
    want: list[tuple[str, int, int, list[str]]],
    reason: str | None,
) -> None:
    """(kind, device, count, providers in order) of each instance, and the line for people."""
    placement = select_providers(requested.split(","), available, gpus, model)
    assert shape(placement) == want
    assert reason in (None, placement.reason)


@pytest.mark.parametrize(
    ("requested", "available", "gpus", "model", "message"),
    [
        pytest.param(
            "cuda",
            PLAIN_WHEEL,
            0,
            request(),
            "model 'm': provider 'cuda', named by --providers, is not in the installed onnxruntime (has: "
            "AzureExecutionProvider, "
            "CPUExecutionProvider); install it with: pip install 'sardonyx[gpu]'",
        ),
        pytest.param(
            "cuda",
            GPU_WHEEL,
            0,
            request(),
            "model 'm': --providers names 'cuda', but this machine has no GPU that the server can see; check the "
            "driver with "
            "nvidia-smi, or ask for KIND_CPU and --providers cpu",
        ),
        pytest.param(
            "auto",
            PLAIN_WHEEL,
            1,
            request(gpu_accelerators=(Accelerator(name="tensorrt"),)),
            "model 'm': provider 'tensorrt', named by gpu_execution_accelerator, is not in the installed onnxruntime "
            "(has: "
            "AzureExecutionProvider, CPUExecutionProvider); install it with: pip install 'sardonyx[gpu]', and "
            "TensorRT's "
            "libraries with: pip install tensorrt",
        ),
        pytest.param(
            "auto",
            GPU_WHEEL,
            0,
            request(groups=(on("gpu"),)),
            "model 'm': instance_group asks for KIND_GPU, but this machine has no GPU that the server can see; check "
            "the driver "
            "with nvidia-smi, or ask for KIND_CPU and --providers cpu",
        ),
        pytest.param(
            "auto",
            PLAIN_WHEEL,
            1,
            request(groups=(on("auto", 1, (0,)),)),
            "model 'm': instance_group names GPUs, but the installed onnxruntime has no GPU provider (has: "
            "AzureExecutionProvider, CPUExecutionProvider); install it with: pip install 'sardonyx[gpu]'",
        ),
        pytest.param(
            "auto",
            GPU_WHEEL,
            2,
            request(groups=(on("gpu", 1, (2,)),)),
            "model 'm': instance_group names GPU 2, but this machine has 2, counted from 0",
        ),
        pytest.param(
            "cpu",
            GPU_WHEEL,
            1,
            request(groups=(on("gpu"),)),
            "model 'm': instance_group asks for KIND_GPU, but the server was started with --providers cpu; add a GPU "
            "provider "
            "there, or ask for KIND_CPU",
        ),
        pytest.param(
            "cuda,cpu",
            GPU_WHEEL,
            1,
            request(gpu_accelerators=(Accelerator(name="tensorrt"),)),
            "model 'm': gpu_execution_accelerator names 'tensorrt', but the server was started with --providers "
            "cuda,cpu; add it "
            "there, or remove it from the model's config",
        ),
        pytest.param(
            "auto",
            (OPENVINO, *GPU_WHEEL),
            1,
            request(gpu_accelerators=(Accelerator(name="openvino"),)),
            "model 'm': provider 'openvino' is under gpu_execution_accelerator; move it to cpu_execution_accelerator",
        ),
        pytest.param(
            "auto",
            PLAIN_WHEEL,
            0,
            request(cpu_accelerators=(Accelerator(name="quantum"),)),
            "model 'm': cpu_execution_accelerator: unknown provider 'quantum'; expected auto, or a list of tensorrt, "
            "cuda, rocm, "
            "migraphx, directml, openvino, coreml, qnn, dnnl, xnnpack, cann, vitisai, cpu",
        ),
        pytest.param(
            "auto",
            PLAIN_WHEEL,
            0,
            request(groups=(on("cpu", -1),)),
            "model 'm': instance_group count is -1; it must be 1 or more, or left out",
        ),
        pytest.param(
            "azure",
            PLAIN_WHEEL,
            0,
            request(),
            "model 'm': --providers: provider 'azure' is never used: it sends data to the network",
        ),
        pytest.param(
            "auto",
            (AZURE,),
            0,
            request(),
            "model 'm': CPUExecutionProvider is not in the installed onnxruntime; install it with: pip install "
            "'sardonyx[server]'",
        ),
    ],
)
def test_what_cannot_be_had_is_an_error(
    requested: str, available: tuple[str, ...], gpus: int, model: PlacementRequest, message: str
) -> None:
    """Never a silent fall to the CPU; the message says what to do."""
    with pytest.raises(LoadFailed) as caught:
        select_providers(requested.split(","), available, gpus, model)
    assert caught.value.message == message


@pytest.mark.parametrize(
    ("requested", "available", "gpus", "model", "want"),
    [
        pytest.param(
            "auto",
            GPU_WHEEL,
            1,
            request(),
            {"tensorrt": "its engine builds take minutes, so it is taken only when it is named"},
            id="not by itself",
        ),
        pytest.param(
            "auto",
            GPU_WHEEL,
            0,
            request(),
            {
                "tensorrt": "its engine builds take minutes, so it is taken only when it is named",
                "cuda": "this machine has no GPU that the server can see",
            },
            id="no GPU",
        ),
        pytest.param("cpu,cuda", GPU_WHEEL, 1, request(), {"cuda": "no instance of the model runs on a GPU"}),
        pytest.param(
            "cpu,openvino",
            (OPENVINO, CPU),
            0,
            request(),
            {"openvino": "it is listed after 'cpu', which takes every node"},
        ),
        pytest.param(
            "auto",
            GPU_WHEEL,
            1,
            request(groups=(on("cpu"),), gpu_accelerators=(Accelerator(name="tensorrt"),)),
            {"tensorrt": "no instance of the model runs on a GPU", "cuda": "no instance of the model runs on a GPU"},
        ),
    ],
)
def test_what_was_not_taken_has_a_reason(
    requested: str, available: tuple[str, ...], gpus: int, model: PlacementRequest, want: dict[str, str]
) -> None:
    """In the operator's words."""
    assert dict(select_providers(requested.split(","), available, gpus, model).refused) == want


NAMES = st.sampled_from([*PROVIDERS, "unknown", "azure"])
ACCELERATORS = st.lists(NAMES.map(lambda name: Accelerator(name=name)), max_size=2).map(tuple)
GROUPS = st.lists(
    st.builds(
        InstanceGroup,
        kind=st.sampled_from(["auto", "cpu", "gpu", "model"]),
        count=st.integers(-1, 3),
        gpus=st.lists(st.integers(-1, 3), max_size=3).map(tuple),
    ),
    max_size=3,
).map(tuple)
WISHES = st.builds(
    PlacementRequest, name=st.just("m"), groups=GROUPS, gpu_accelerators=ACCELERATORS, cpu_accelerators=ACCELERATORS
)
REQUESTS = st.one_of(st.just([AUTO]), st.lists(st.sampled_from(list(PROVIDERS)), min_size=1, unique=True))
INSTALLED = st.lists(st.sampled_from([AZURE, *(item.name for item in PROVIDERS.values())]), unique=True)


@given(REQUESTS, INSTALLED, st.integers(0, 4), WISHES)
def test_every_choice_can_run_and_every_refusal_has_a_reason(
    requested: list[str], available: list[str], gpus: int, model: PlacementRequest
) -> None:
    """For any machine and any wish: only what is installed, the same each time, nothing dropped in silence."""
    try:
        placement = select_providers(requested, available, gpus, model)
    except LoadFailed:
        return
    assert select_providers(requested, available[::-1], gpus, model) == placement
    assert placement.instances
    assert placement.reason
    used = set()
    for instance in placement.instances:
        names = [option.name for option in instance.providers]
        used |= set(names)
        assert set(names) <= set(available) - {AZURE}
        assert names[-1] == CPU
        assert len(set(names)) == len(names)
        first = PROVIDERS[short_name(names[0])]
        assert first.kind == instance.kind
        assert not first.counts_gpus or 0 <= instance.device_id < gpus
        assert instance.kind == "cpu" or instance.count >= 1
    named = {*requested, *(entry.name for entry in (*model.gpu_accelerators, *model.cpu_accelerators))} - {AUTO}
    refused = dict(placement.refused)
    assert named <= {short_name(name) for name in used} | refused.keys()
    assert all(refused.values())
    assert not {short_name(name) for name in used} & refused.keys()
