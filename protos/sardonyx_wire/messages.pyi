"""Types of messages.py. Written by protos/generate.py from the .proto files: do not edit.

The classes of repeated fields and maps exist here only: at run time they are protobuf's own.
"""

# mypy: disallow_subclassing_any=False
# Without types-protobuf mypy knows nothing of protobuf's Message.

from collections.abc import Iterable, Iterator, Mapping, MutableMapping, MutableSequence, Sequence
from typing import Any, ClassVar, Final, Generic, Literal, Self, SupportsIndex, TypeVar, final, overload

from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message as _GoogleMessage

_T = TypeVar("_T")
_K = TypeVar("_K")
_MessageT = TypeVar("_MessageT", bound=_Message)

class _Message(_GoogleMessage):
    @classmethod
    def FromString(cls, s: bytes) -> Self: ...
    def SerializeToString(self, *, deterministic: bool = ...) -> bytes: ...
    def ParseFromString(self, serialized: bytes) -> int: ...
    def ByteSize(self) -> int: ...
    def Clear(self) -> None: ...
    def ListFields(self) -> list[tuple[Any, Any]]: ...

@final
class _Enum:  # google.protobuf.internal.enum_type_wrapper.EnumTypeWrapper
    def Name(self, number: int) -> str: ...
    def Value(self, name: str | None) -> int: ...
    def keys(self) -> list[str]: ...
    def values(self) -> list[int]: ...
    def items(self) -> list[tuple[str, int]]: ...

class _Repeated(MutableSequence[_T], Generic[_T]):
    @overload
    def __getitem__(self, index: int) -> _T: ...
    @overload
    def __getitem__(self, index: slice) -> list[_T]: ...
    @overload
    def __setitem__(self, index: int, value: _T) -> None: ...
    @overload
    def __setitem__(self, index: slice, value: Iterable[_T]) -> None: ...
    def __delitem__(self, index: int | slice) -> None: ...
    def __len__(self) -> int: ...
    def insert(self, index: int, value: _T) -> None: ...

class _RepeatedMessage(Sequence[_MessageT], Generic[_MessageT]):
    @overload
    def __getitem__(self, index: int) -> _MessageT: ...
    @overload
    def __getitem__(self, index: slice) -> list[_MessageT]: ...
    def __delitem__(self, index: int | slice) -> None: ...
    def __len__(self) -> int: ...
    def add(self, **fields: Any) -> _MessageT: ...
    def append(self, value: _MessageT) -> None: ...
    def extend(self, values: Iterable[_MessageT]) -> None: ...
    def pop(self, index: SupportsIndex = ...) -> _MessageT: ...
    def clear(self) -> None: ...

class _Map(MutableMapping[_K, _T], Generic[_K, _T]):
    def __getitem__(self, key: _K) -> _T: ...
    def __setitem__(self, key: _K, value: _T) -> None: ...
    def __delitem__(self, key: _K) -> None: ...
    def __iter__(self) -> Iterator[_K]: ...
    def __len__(self) -> int: ...

class _MessageMap(Mapping[_K, _MessageT], Generic[_K, _MessageT]):
    def __getitem__(self, key: _K) -> _MessageT: ...  # makes it where it is missing
    def __delitem__(self, key: _K) -> None: ...
    def __iter__(self) -> Iterator[_K]: ...
    def __len__(self) -> int: ...
    def get_or_create(self, key: _K) -> _MessageT: ...
    def clear(self) -> None: ...

@final
class Method:
    @property
    def name(self) -> str: ...
    @property
    def path(self) -> str: ...
    @property
    def request(self) -> type[_GoogleMessage]: ...
    @property
    def response(self) -> type[_GoogleMessage]: ...
    @property
    def client_streaming(self) -> bool: ...
    @property
    def server_streaming(self) -> bool: ...

METHODS: Final[Mapping[str, Method]]
POOL: Final[DescriptorPool]
SERVICE: Final = "inference.GRPCInferenceService"

__all__ = [
    "BatchInput",
    "BatchOutput",
    "CudaSharedMemoryRegisterRequest",
    "CudaSharedMemoryRegisterResponse",
    "CudaSharedMemoryStatusRequest",
    "CudaSharedMemoryStatusResponse",
    "CudaSharedMemoryUnregisterRequest",
    "CudaSharedMemoryUnregisterResponse",
    "DataType",
    "InferBatchStatistics",
    "InferParameter",
    "InferResponseStatistics",
    "InferStatistics",
    "InferTensorContents",
    "LogSettingsRequest",
    "LogSettingsResponse",
    "METHODS",
    "MemoryUsage",
    "Method",
    "ModelConfig",
    "ModelConfigRequest",
    "ModelConfigResponse",
    "ModelDynamicBatching",
    "ModelEnsembling",
    "ModelInferRequest",
    "ModelInferResponse",
    "ModelInput",
    "ModelInstanceGroup",
    "ModelMetadataRequest",
    "ModelMetadataResponse",
    "ModelMetrics",
    "ModelOperations",
    "ModelOptimizationPolicy",
    "ModelOutput",
    "ModelParameter",
    "ModelQueuePolicy",
    "ModelRateLimiter",
    "ModelReadyRequest",
    "ModelReadyResponse",
    "ModelRepositoryAgents",
    "ModelRepositoryParameter",
    "ModelResponseCache",
    "ModelSequenceBatching",
    "ModelStatistics",
    "ModelStatisticsRequest",
    "ModelStatisticsResponse",
    "ModelStreamInferResponse",
    "ModelTensorReshape",
    "ModelTransactionPolicy",
    "ModelVersionPolicy",
    "ModelWarmup",
    "POOL",
    "RepositoryIndexRequest",
    "RepositoryIndexResponse",
    "RepositoryModelLoadRequest",
    "RepositoryModelLoadResponse",
    "RepositoryModelUnloadRequest",
    "RepositoryModelUnloadResponse",
    "SERVICE",
    "ServerLiveRequest",
    "ServerLiveResponse",
    "ServerMetadataRequest",
    "ServerMetadataResponse",
    "ServerReadyRequest",
    "ServerReadyResponse",
    "StatisticDuration",
    "SystemSharedMemoryRegisterRequest",
    "SystemSharedMemoryRegisterResponse",
    "SystemSharedMemoryStatusRequest",
    "SystemSharedMemoryStatusResponse",
    "SystemSharedMemoryUnregisterRequest",
    "SystemSharedMemoryUnregisterResponse",
    "TraceSettingRequest",
    "TraceSettingResponse",
]

DataType: Final[_Enum]

class ModelRateLimiter(_Message):
    class Resource(_Message):
        name: str
        count: int
        def __init__(
            self,
            *,
            name: str | None = ...,
            count: int | None = ...,
        ) -> None: ...
    @property
    def resources(self) -> _RepeatedMessage[ModelRateLimiter.Resource]: ...
    priority: int
    def __init__(
        self,
        *,
        resources: Iterable[ModelRateLimiter.Resource | Mapping[str, Any]] | None = ...,
        priority: int | None = ...,
    ) -> None: ...

class ModelInstanceGroup(_Message):
    Kind: ClassVar[_Enum]
    KIND_AUTO: Final = 0
    KIND_GPU: Final = 1
    KIND_CPU: Final = 2
    KIND_MODEL: Final = 3
    class SecondaryDevice(_Message):
        SecondaryDeviceKind: ClassVar[_Enum]
        KIND_NVDLA: Final = 0
        kind: int
        device_id: int
        def __init__(
            self,
            *,
            kind: int | str | None = ...,
            device_id: int | None = ...,
        ) -> None: ...
    name: str
    kind: int
    count: int
    @property
    def rate_limiter(self) -> ModelRateLimiter: ...
    @property
    def gpus(self) -> _Repeated[int]: ...
    @property
    def secondary_devices(self) -> _RepeatedMessage[ModelInstanceGroup.SecondaryDevice]: ...
    @property
    def profile(self) -> _Repeated[str]: ...
    passive: bool
    host_policy: str
    def __init__(
        self,
        *,
        name: str | None = ...,
        kind: int | str | None = ...,
        count: int | None = ...,
        rate_limiter: ModelRateLimiter | Mapping[str, Any] | None = ...,
        gpus: Iterable[int] | None = ...,
        secondary_devices: Iterable[ModelInstanceGroup.SecondaryDevice | Mapping[str, Any]] | None = ...,
        profile: Iterable[str] | None = ...,
        passive: bool | None = ...,
        host_policy: str | None = ...,
    ) -> None: ...
    def HasField(self, field_name: Literal["rate_limiter"]) -> bool: ...

class ModelTensorReshape(_Message):
    @property
    def shape(self) -> _Repeated[int]: ...
    def __init__(
        self,
        *,
        shape: Iterable[int] | None = ...,
    ) -> None: ...

class ModelInput(_Message):
    Format: ClassVar[_Enum]
    FORMAT_NONE: Final = 0
    FORMAT_NHWC: Final = 1
    FORMAT_NCHW: Final = 2
    name: str
    data_type: int
    format: int
    @property
    def dims(self) -> _Repeated[int]: ...
    @property
    def reshape(self) -> ModelTensorReshape: ...
    is_shape_tensor: bool
    allow_ragged_batch: bool
    optional: bool
    is_non_linear_format_io: bool
    def __init__(
        self,
        *,
        name: str | None = ...,
        data_type: int | str | None = ...,
        format: int | str | None = ...,
        dims: Iterable[int] | None = ...,
        reshape: ModelTensorReshape | Mapping[str, Any] | None = ...,
        is_shape_tensor: bool | None = ...,
        allow_ragged_batch: bool | None = ...,
        optional: bool | None = ...,
        is_non_linear_format_io: bool | None = ...,
    ) -> None: ...
    def HasField(self, field_name: Literal["reshape"]) -> bool: ...

class ModelOutput(_Message):
    name: str
    data_type: int
    @property
    def dims(self) -> _Repeated[int]: ...
    @property
    def reshape(self) -> ModelTensorReshape: ...
    label_filename: str
    is_shape_tensor: bool
    is_non_linear_format_io: bool
    def __init__(
        self,
        *,
        name: str | None = ...,
        data_type: int | str | None = ...,
        dims: Iterable[int] | None = ...,
        reshape: ModelTensorReshape | Mapping[str, Any] | None = ...,
        label_filename: str | None = ...,
        is_shape_tensor: bool | None = ...,
        is_non_linear_format_io: bool | None = ...,
    ) -> None: ...
    def HasField(self, field_name: Literal["reshape"]) -> bool: ...

class BatchInput(_Message):
    Kind: ClassVar[_Enum]
    BATCH_ELEMENT_COUNT: Final = 0
    BATCH_ACCUMULATED_ELEMENT_COUNT: Final = 1
    BATCH_ACCUMULATED_ELEMENT_COUNT_WITH_ZERO: Final = 2
    BATCH_MAX_ELEMENT_COUNT_AS_SHAPE: Final = 3
    BATCH_ITEM_SHAPE: Final = 4
    BATCH_ITEM_SHAPE_FLATTEN: Final = 5
    kind: int
    @property
    def target_name(self) -> _Repeated[str]: ...
    data_type: int
    @property
    def source_input(self) -> _Repeated[str]: ...
    def __init__(
        self,
        *,
        kind: int | str | None = ...,
        target_name: Iterable[str] | None = ...,
        data_type: int | str | None = ...,
        source_input: Iterable[str] | None = ...,
    ) -> None: ...

class BatchOutput(_Message):
    Kind: ClassVar[_Enum]
    BATCH_SCATTER_WITH_INPUT_SHAPE: Final = 0
    @property
    def target_name(self) -> _Repeated[str]: ...
    kind: int
    @property
    def source_input(self) -> _Repeated[str]: ...
    def __init__(
        self,
        *,
        target_name: Iterable[str] | None = ...,
        kind: int | str | None = ...,
        source_input: Iterable[str] | None = ...,
    ) -> None: ...

class ModelVersionPolicy(_Message):
    class Latest(_Message):
        num_versions: int
        def __init__(
            self,
            *,
            num_versions: int | None = ...,
        ) -> None: ...
    class All(_Message):
        def __init__(self) -> None: ...
    class Specific(_Message):
        @property
        def versions(self) -> _Repeated[int]: ...
        def __init__(
            self,
            *,
            versions: Iterable[int] | None = ...,
        ) -> None: ...
    @property
    def latest(self) -> ModelVersionPolicy.Latest: ...
    @property
    def all(self) -> ModelVersionPolicy.All: ...
    @property
    def specific(self) -> ModelVersionPolicy.Specific: ...
    def __init__(
        self,
        *,
        latest: ModelVersionPolicy.Latest | Mapping[str, Any] | None = ...,
        all: ModelVersionPolicy.All | Mapping[str, Any] | None = ...,
        specific: ModelVersionPolicy.Specific | Mapping[str, Any] | None = ...,
    ) -> None: ...
    def HasField(self, field_name: Literal["latest", "all", "specific", "policy_choice"]) -> bool: ...
    def WhichOneof(self, oneof_group: Literal["policy_choice"]) -> Literal["latest", "all", "specific"] | None: ...

class ModelOptimizationPolicy(_Message):
    ModelPriority: ClassVar[_Enum]
    PRIORITY_DEFAULT: Final = 0
    PRIORITY_MAX: Final = 1
    PRIORITY_MIN: Final = 2
    class Graph(_Message):
        level: int
        def __init__(
            self,
            *,
            level: int | None = ...,
        ) -> None: ...
    class Cuda(_Message):
        class GraphSpec(_Message):
            class Shape(_Message):
                @property
                def dim(self) -> _Repeated[int]: ...
                def __init__(
                    self,
                    *,
                    dim: Iterable[int] | None = ...,
                ) -> None: ...
            class LowerBound(_Message):
                batch_size: int
                @property
                def input(self) -> _MessageMap[str, ModelOptimizationPolicy.Cuda.GraphSpec.Shape]: ...
                def __init__(
                    self,
                    *,
                    batch_size: int | None = ...,
                    input: Mapping[str, ModelOptimizationPolicy.Cuda.GraphSpec.Shape] | None = ...,
                ) -> None: ...
            batch_size: int
            @property
            def input(self) -> _MessageMap[str, ModelOptimizationPolicy.Cuda.GraphSpec.Shape]: ...
            @property
            def graph_lower_bound(self) -> ModelOptimizationPolicy.Cuda.GraphSpec.LowerBound: ...
            def __init__(
                self,
                *,
                batch_size: int | None = ...,
                input: Mapping[str, ModelOptimizationPolicy.Cuda.GraphSpec.Shape] | None = ...,
                graph_lower_bound: ModelOptimizationPolicy.Cuda.GraphSpec.LowerBound | Mapping[str, Any] | None = ...,
            ) -> None: ...
            def HasField(self, field_name: Literal["graph_lower_bound"]) -> bool: ...
        graphs: bool
        busy_wait_events: bool
        @property
        def graph_spec(self) -> _RepeatedMessage[ModelOptimizationPolicy.Cuda.GraphSpec]: ...
        output_copy_stream: bool
        def __init__(
            self,
            *,
            graphs: bool | None = ...,
            busy_wait_events: bool | None = ...,
            graph_spec: Iterable[ModelOptimizationPolicy.Cuda.GraphSpec | Mapping[str, Any]] | None = ...,
            output_copy_stream: bool | None = ...,
        ) -> None: ...
    class ExecutionAccelerators(_Message):
        class Accelerator(_Message):
            name: str
            @property
            def parameters(self) -> _Map[str, str]: ...
            def __init__(
                self,
                *,
                name: str | None = ...,
                parameters: Mapping[str, str] | None = ...,
            ) -> None: ...
        @property
        def gpu_execution_accelerator(self) -> _RepeatedMessage[ModelOptimizationPolicy.ExecutionAccelerators.Accelerator]: ...
        @property
        def cpu_execution_accelerator(self) -> _RepeatedMessage[ModelOptimizationPolicy.ExecutionAccelerators.Accelerator]: ...
        def __init__(
            self,
            *,
            gpu_execution_accelerator: Iterable[ModelOptimizationPolicy.ExecutionAccelerators.Accelerator | Mapping[str, Any]] | None = ...,
            cpu_execution_accelerator: Iterable[ModelOptimizationPolicy.ExecutionAccelerators.Accelerator | Mapping[str, Any]] | None = ...,
        ) -> None: ...
    class PinnedMemoryBuffer(_Message):
        enable: bool
        def __init__(
            self,
            *,
            enable: bool | None = ...,
        ) -> None: ...
    @property
    def graph(self) -> ModelOptimizationPolicy.Graph: ...
    priority: int
    @property
    def cuda(self) -> ModelOptimizationPolicy.Cuda: ...
    @property
    def execution_accelerators(self) -> ModelOptimizationPolicy.ExecutionAccelerators: ...
    @property
    def input_pinned_memory(self) -> ModelOptimizationPolicy.PinnedMemoryBuffer: ...
    @property
    def output_pinned_memory(self) -> ModelOptimizationPolicy.PinnedMemoryBuffer: ...
    gather_kernel_buffer_threshold: int
    eager_batching: bool
    def __init__(
        self,
        *,
        graph: ModelOptimizationPolicy.Graph | Mapping[str, Any] | None = ...,
        priority: int | str | None = ...,
        cuda: ModelOptimizationPolicy.Cuda | Mapping[str, Any] | None = ...,
        execution_accelerators: ModelOptimizationPolicy.ExecutionAccelerators | Mapping[str, Any] | None = ...,
        input_pinned_memory: ModelOptimizationPolicy.PinnedMemoryBuffer | Mapping[str, Any] | None = ...,
        output_pinned_memory: ModelOptimizationPolicy.PinnedMemoryBuffer | Mapping[str, Any] | None = ...,
        gather_kernel_buffer_threshold: int | None = ...,
        eager_batching: bool | None = ...,
    ) -> None: ...
    def HasField(self, field_name: Literal["graph", "cuda", "execution_accelerators", "input_pinned_memory", "output_pinned_memory"]) -> bool: ...

class ModelQueuePolicy(_Message):
    TimeoutAction: ClassVar[_Enum]
    REJECT: Final = 0
    DELAY: Final = 1
    timeout_action: int
    default_timeout_microseconds: int
    allow_timeout_override: bool
    max_queue_size: int
    def __init__(
        self,
        *,
        timeout_action: int | str | None = ...,
        default_timeout_microseconds: int | None = ...,
        allow_timeout_override: bool | None = ...,
        max_queue_size: int | None = ...,
    ) -> None: ...

class ModelDynamicBatching(_Message):
    @property
    def preferred_batch_size(self) -> _Repeated[int]: ...
    max_queue_delay_microseconds: int
    preserve_ordering: bool
    priority_levels: int
    default_priority_level: int
    @property
    def default_queue_policy(self) -> ModelQueuePolicy: ...
    @property
    def priority_queue_policy(self) -> _MessageMap[int, ModelQueuePolicy]: ...
    def __init__(
        self,
        *,
        preferred_batch_size: Iterable[int] | None = ...,
        max_queue_delay_microseconds: int | None = ...,
        preserve_ordering: bool | None = ...,
        priority_levels: int | None = ...,
        default_priority_level: int | None = ...,
        default_queue_policy: ModelQueuePolicy | Mapping[str, Any] | None = ...,
        priority_queue_policy: Mapping[int, ModelQueuePolicy] | None = ...,
    ) -> None: ...
    def HasField(self, field_name: Literal["default_queue_policy"]) -> bool: ...

class ModelSequenceBatching(_Message):
    class Control(_Message):
        Kind: ClassVar[_Enum]
        CONTROL_SEQUENCE_START: Final = 0
        CONTROL_SEQUENCE_READY: Final = 1
        CONTROL_SEQUENCE_END: Final = 2
        CONTROL_SEQUENCE_CORRID: Final = 3
        kind: int
        @property
        def int32_false_true(self) -> _Repeated[int]: ...
        @property
        def fp32_false_true(self) -> _Repeated[float]: ...
        @property
        def bool_false_true(self) -> _Repeated[bool]: ...
        data_type: int
        def __init__(
            self,
            *,
            kind: int | str | None = ...,
            int32_false_true: Iterable[int] | None = ...,
            fp32_false_true: Iterable[float] | None = ...,
            bool_false_true: Iterable[bool] | None = ...,
            data_type: int | str | None = ...,
        ) -> None: ...
    class ControlInput(_Message):
        name: str
        @property
        def control(self) -> _RepeatedMessage[ModelSequenceBatching.Control]: ...
        def __init__(
            self,
            *,
            name: str | None = ...,
            control: Iterable[ModelSequenceBatching.Control | Mapping[str, Any]] | None = ...,
        ) -> None: ...
    class InitialState(_Message):
        data_type: int
        @property
        def dims(self) -> _Repeated[int]: ...
        zero_data: bool
        data_file: str
        name: str
        def __init__(
            self,
            *,
            data_type: int | str | None = ...,
            dims: Iterable[int] | None = ...,
            zero_data: bool | None = ...,
            data_file: str | None = ...,
            name: str | None = ...,
        ) -> None: ...
        def HasField(self, field_name: Literal["zero_data", "data_file", "state_data"]) -> bool: ...
        def WhichOneof(self, oneof_group: Literal["state_data"]) -> Literal["zero_data", "data_file"] | None: ...
    class State(_Message):
        input_name: str
        output_name: str
        data_type: int
        @property
        def dims(self) -> _Repeated[int]: ...
        @property
        def initial_state(self) -> _RepeatedMessage[ModelSequenceBatching.InitialState]: ...
        use_same_buffer_for_input_output: bool
        use_growable_memory: bool
        def __init__(
            self,
            *,
            input_name: str | None = ...,
            output_name: str | None = ...,
            data_type: int | str | None = ...,
            dims: Iterable[int] | None = ...,
            initial_state: Iterable[ModelSequenceBatching.InitialState | Mapping[str, Any]] | None = ...,
            use_same_buffer_for_input_output: bool | None = ...,
            use_growable_memory: bool | None = ...,
        ) -> None: ...
    class StrategyDirect(_Message):
        max_queue_delay_microseconds: int
        minimum_slot_utilization: float
        def __init__(
            self,
            *,
            max_queue_delay_microseconds: int | None = ...,
            minimum_slot_utilization: float | None = ...,
        ) -> None: ...
    class StrategyOldest(_Message):
        max_candidate_sequences: int
        @property
        def preferred_batch_size(self) -> _Repeated[int]: ...
        max_queue_delay_microseconds: int
        preserve_ordering: bool
        def __init__(
            self,
            *,
            max_candidate_sequences: int | None = ...,
            preferred_batch_size: Iterable[int] | None = ...,
            max_queue_delay_microseconds: int | None = ...,
            preserve_ordering: bool | None = ...,
        ) -> None: ...
    @property
    def direct(self) -> ModelSequenceBatching.StrategyDirect: ...
    @property
    def oldest(self) -> ModelSequenceBatching.StrategyOldest: ...
    max_sequence_idle_microseconds: int
    @property
    def control_input(self) -> _RepeatedMessage[ModelSequenceBatching.ControlInput]: ...
    @property
    def state(self) -> _RepeatedMessage[ModelSequenceBatching.State]: ...
    iterative_sequence: bool
    def __init__(
        self,
        *,
        direct: ModelSequenceBatching.StrategyDirect | Mapping[str, Any] | None = ...,
        oldest: ModelSequenceBatching.StrategyOldest | Mapping[str, Any] | None = ...,
        max_sequence_idle_microseconds: int | None = ...,
        control_input: Iterable[ModelSequenceBatching.ControlInput | Mapping[str, Any]] | None = ...,
        state: Iterable[ModelSequenceBatching.State | Mapping[str, Any]] | None = ...,
        iterative_sequence: bool | None = ...,
    ) -> None: ...
    def HasField(self, field_name: Literal["direct", "oldest", "strategy_choice"]) -> bool: ...
    def WhichOneof(self, oneof_group: Literal["strategy_choice"]) -> Literal["direct", "oldest"] | None: ...

class ModelEnsembling(_Message):
    class Step(_Message):
        model_name: str
        model_version: int
        @property
        def input_map(self) -> _Map[str, str]: ...
        @property
        def output_map(self) -> _Map[str, str]: ...
        model_namespace: str
        def __init__(
            self,
            *,
            model_name: str | None = ...,
            model_version: int | None = ...,
            input_map: Mapping[str, str] | None = ...,
            output_map: Mapping[str, str] | None = ...,
            model_namespace: str | None = ...,
        ) -> None: ...
    @property
    def step(self) -> _RepeatedMessage[ModelEnsembling.Step]: ...
    max_inflight_requests: int
    def __init__(
        self,
        *,
        step: Iterable[ModelEnsembling.Step | Mapping[str, Any]] | None = ...,
        max_inflight_requests: int | None = ...,
    ) -> None: ...

class ModelParameter(_Message):
    string_value: str
    def __init__(
        self,
        *,
        string_value: str | None = ...,
    ) -> None: ...

class ModelWarmup(_Message):
    class Input(_Message):
        data_type: int
        @property
        def dims(self) -> _Repeated[int]: ...
        zero_data: bool
        random_data: bool
        input_data_file: str
        def __init__(
            self,
            *,
            data_type: int | str | None = ...,
            dims: Iterable[int] | None = ...,
            zero_data: bool | None = ...,
            random_data: bool | None = ...,
            input_data_file: str | None = ...,
        ) -> None: ...
        def HasField(self, field_name: Literal["zero_data", "random_data", "input_data_file", "input_data_type"]) -> bool: ...
        def WhichOneof(self, oneof_group: Literal["input_data_type"]) -> Literal["zero_data", "random_data", "input_data_file"] | None: ...
    name: str
    batch_size: int
    @property
    def inputs(self) -> _MessageMap[str, ModelWarmup.Input]: ...
    count: int
    def __init__(
        self,
        *,
        name: str | None = ...,
        batch_size: int | None = ...,
        inputs: Mapping[str, ModelWarmup.Input] | None = ...,
        count: int | None = ...,
    ) -> None: ...

class ModelOperations(_Message):
    @property
    def op_library_filename(self) -> _Repeated[str]: ...
    def __init__(
        self,
        *,
        op_library_filename: Iterable[str] | None = ...,
    ) -> None: ...

class ModelTransactionPolicy(_Message):
    decoupled: bool
    def __init__(
        self,
        *,
        decoupled: bool | None = ...,
    ) -> None: ...

class ModelRepositoryAgents(_Message):
    class Agent(_Message):
        name: str
        @property
        def parameters(self) -> _Map[str, str]: ...
        def __init__(
            self,
            *,
            name: str | None = ...,
            parameters: Mapping[str, str] | None = ...,
        ) -> None: ...
    @property
    def agents(self) -> _RepeatedMessage[ModelRepositoryAgents.Agent]: ...
    def __init__(
        self,
        *,
        agents: Iterable[ModelRepositoryAgents.Agent | Mapping[str, Any]] | None = ...,
    ) -> None: ...

class ModelResponseCache(_Message):
    enable: bool
    def __init__(
        self,
        *,
        enable: bool | None = ...,
    ) -> None: ...

class ModelMetrics(_Message):
    class MetricControl(_Message):
        class MetricIdentifier(_Message):
            family: str
            def __init__(
                self,
                *,
                family: str | None = ...,
            ) -> None: ...
        class HistogramOptions(_Message):
            @property
            def buckets(self) -> _Repeated[float]: ...
            def __init__(
                self,
                *,
                buckets: Iterable[float] | None = ...,
            ) -> None: ...
        @property
        def metric_identifier(self) -> ModelMetrics.MetricControl.MetricIdentifier: ...
        @property
        def histogram_options(self) -> ModelMetrics.MetricControl.HistogramOptions: ...
        def __init__(
            self,
            *,
            metric_identifier: ModelMetrics.MetricControl.MetricIdentifier | Mapping[str, Any] | None = ...,
            histogram_options: ModelMetrics.MetricControl.HistogramOptions | Mapping[str, Any] | None = ...,
        ) -> None: ...
        def HasField(self, field_name: Literal["metric_identifier", "histogram_options", "metric_options"]) -> bool: ...
        def WhichOneof(self, oneof_group: Literal["metric_options"]) -> Literal["histogram_options"] | None: ...
    @property
    def metric_control(self) -> _RepeatedMessage[ModelMetrics.MetricControl]: ...
    def __init__(
        self,
        *,
        metric_control: Iterable[ModelMetrics.MetricControl | Mapping[str, Any]] | None = ...,
    ) -> None: ...

class ModelConfig(_Message):
    name: str
    platform: str
    backend: str
    runtime: str
    @property
    def version_policy(self) -> ModelVersionPolicy: ...
    max_batch_size: int
    @property
    def input(self) -> _RepeatedMessage[ModelInput]: ...
    @property
    def output(self) -> _RepeatedMessage[ModelOutput]: ...
    @property
    def batch_input(self) -> _RepeatedMessage[BatchInput]: ...
    @property
    def batch_output(self) -> _RepeatedMessage[BatchOutput]: ...
    @property
    def optimization(self) -> ModelOptimizationPolicy: ...
    @property
    def dynamic_batching(self) -> ModelDynamicBatching: ...
    @property
    def sequence_batching(self) -> ModelSequenceBatching: ...
    @property
    def ensemble_scheduling(self) -> ModelEnsembling: ...
    @property
    def instance_group(self) -> _RepeatedMessage[ModelInstanceGroup]: ...
    default_model_filename: str
    @property
    def cc_model_filenames(self) -> _Map[str, str]: ...
    @property
    def metric_tags(self) -> _Map[str, str]: ...
    @property
    def parameters(self) -> _MessageMap[str, ModelParameter]: ...
    @property
    def model_warmup(self) -> _RepeatedMessage[ModelWarmup]: ...
    @property
    def model_operations(self) -> ModelOperations: ...
    @property
    def model_transaction_policy(self) -> ModelTransactionPolicy: ...
    @property
    def model_repository_agents(self) -> ModelRepositoryAgents: ...
    @property
    def response_cache(self) -> ModelResponseCache: ...
    @property
    def model_metrics(self) -> ModelMetrics: ...
    def __init__(
        self,
        *,
        name: str | None = ...,
        platform: str | None = ...,
        backend: str | None = ...,
        runtime: str | None = ...,
        version_policy: ModelVersionPolicy | Mapping[str, Any] | None = ...,
        max_batch_size: int | None = ...,
        input: Iterable[ModelInput | Mapping[str, Any]] | None = ...,
        output: Iterable[ModelOutput | Mapping[str, Any]] | None = ...,
        batch_input: Iterable[BatchInput | Mapping[str, Any]] | None = ...,
        batch_output: Iterable[BatchOutput | Mapping[str, Any]] | None = ...,
        optimization: ModelOptimizationPolicy | Mapping[str, Any] | None = ...,
        dynamic_batching: ModelDynamicBatching | Mapping[str, Any] | None = ...,
        sequence_batching: ModelSequenceBatching | Mapping[str, Any] | None = ...,
        ensemble_scheduling: ModelEnsembling | Mapping[str, Any] | None = ...,
        instance_group: Iterable[ModelInstanceGroup | Mapping[str, Any]] | None = ...,
        default_model_filename: str | None = ...,
        cc_model_filenames: Mapping[str, str] | None = ...,
        metric_tags: Mapping[str, str] | None = ...,
        parameters: Mapping[str, ModelParameter] | None = ...,
        model_warmup: Iterable[ModelWarmup | Mapping[str, Any]] | None = ...,
        model_operations: ModelOperations | Mapping[str, Any] | None = ...,
        model_transaction_policy: ModelTransactionPolicy | Mapping[str, Any] | None = ...,
        model_repository_agents: ModelRepositoryAgents | Mapping[str, Any] | None = ...,
        response_cache: ModelResponseCache | Mapping[str, Any] | None = ...,
        model_metrics: ModelMetrics | Mapping[str, Any] | None = ...,
    ) -> None: ...
    def HasField(self, field_name: Literal["version_policy", "optimization", "dynamic_batching", "sequence_batching", "ensemble_scheduling", "model_operations", "model_transaction_policy", "model_repository_agents", "response_cache", "model_metrics", "scheduling_choice"]) -> bool: ...
    def WhichOneof(self, oneof_group: Literal["scheduling_choice"]) -> Literal["dynamic_batching", "sequence_batching", "ensemble_scheduling"] | None: ...

class ServerLiveRequest(_Message):
    def __init__(self) -> None: ...

class ServerLiveResponse(_Message):
    live: bool
    def __init__(
        self,
        *,
        live: bool | None = ...,
    ) -> None: ...

class ServerReadyRequest(_Message):
    def __init__(self) -> None: ...

class ServerReadyResponse(_Message):
    ready: bool
    def __init__(
        self,
        *,
        ready: bool | None = ...,
    ) -> None: ...

class ModelReadyRequest(_Message):
    name: str
    version: str
    def __init__(
        self,
        *,
        name: str | None = ...,
        version: str | None = ...,
    ) -> None: ...

class ModelReadyResponse(_Message):
    ready: bool
    def __init__(
        self,
        *,
        ready: bool | None = ...,
    ) -> None: ...

class ServerMetadataRequest(_Message):
    def __init__(self) -> None: ...

class ServerMetadataResponse(_Message):
    name: str
    version: str
    @property
    def extensions(self) -> _Repeated[str]: ...
    def __init__(
        self,
        *,
        name: str | None = ...,
        version: str | None = ...,
        extensions: Iterable[str] | None = ...,
    ) -> None: ...

class ModelMetadataRequest(_Message):
    name: str
    version: str
    def __init__(
        self,
        *,
        name: str | None = ...,
        version: str | None = ...,
    ) -> None: ...

class ModelMetadataResponse(_Message):
    class TensorMetadata(_Message):
        name: str
        datatype: str
        @property
        def shape(self) -> _Repeated[int]: ...
        def __init__(
            self,
            *,
            name: str | None = ...,
            datatype: str | None = ...,
            shape: Iterable[int] | None = ...,
        ) -> None: ...
    name: str
    @property
    def versions(self) -> _Repeated[str]: ...
    platform: str
    @property
    def inputs(self) -> _RepeatedMessage[ModelMetadataResponse.TensorMetadata]: ...
    @property
    def outputs(self) -> _RepeatedMessage[ModelMetadataResponse.TensorMetadata]: ...
    def __init__(
        self,
        *,
        name: str | None = ...,
        versions: Iterable[str] | None = ...,
        platform: str | None = ...,
        inputs: Iterable[ModelMetadataResponse.TensorMetadata | Mapping[str, Any]] | None = ...,
        outputs: Iterable[ModelMetadataResponse.TensorMetadata | Mapping[str, Any]] | None = ...,
    ) -> None: ...

class InferParameter(_Message):
    bool_param: bool
    int64_param: int
    string_param: str
    double_param: float
    uint64_param: int
    def __init__(
        self,
        *,
        bool_param: bool | None = ...,
        int64_param: int | None = ...,
        string_param: str | None = ...,
        double_param: float | None = ...,
        uint64_param: int | None = ...,
    ) -> None: ...
    def HasField(self, field_name: Literal["bool_param", "int64_param", "string_param", "double_param", "uint64_param", "parameter_choice"]) -> bool: ...
    def WhichOneof(self, oneof_group: Literal["parameter_choice"]) -> Literal["bool_param", "int64_param", "string_param", "double_param", "uint64_param"] | None: ...

class InferTensorContents(_Message):
    @property
    def bool_contents(self) -> _Repeated[bool]: ...
    @property
    def int_contents(self) -> _Repeated[int]: ...
    @property
    def int64_contents(self) -> _Repeated[int]: ...
    @property
    def uint_contents(self) -> _Repeated[int]: ...
    @property
    def uint64_contents(self) -> _Repeated[int]: ...
    @property
    def fp32_contents(self) -> _Repeated[float]: ...
    @property
    def fp64_contents(self) -> _Repeated[float]: ...
    @property
    def bytes_contents(self) -> _Repeated[bytes]: ...
    def __init__(
        self,
        *,
        bool_contents: Iterable[bool] | None = ...,
        int_contents: Iterable[int] | None = ...,
        int64_contents: Iterable[int] | None = ...,
        uint_contents: Iterable[int] | None = ...,
        uint64_contents: Iterable[int] | None = ...,
        fp32_contents: Iterable[float] | None = ...,
        fp64_contents: Iterable[float] | None = ...,
        bytes_contents: Iterable[bytes] | None = ...,
    ) -> None: ...

class ModelInferRequest(_Message):
    class InferInputTensor(_Message):
        name: str
        datatype: str
        @property
        def shape(self) -> _Repeated[int]: ...
        @property
        def parameters(self) -> _MessageMap[str, InferParameter]: ...
        @property
        def contents(self) -> InferTensorContents: ...
        def __init__(
            self,
            *,
            name: str | None = ...,
            datatype: str | None = ...,
            shape: Iterable[int] | None = ...,
            parameters: Mapping[str, InferParameter] | None = ...,
            contents: InferTensorContents | Mapping[str, Any] | None = ...,
        ) -> None: ...
        def HasField(self, field_name: Literal["contents"]) -> bool: ...
    class InferRequestedOutputTensor(_Message):
        name: str
        @property
        def parameters(self) -> _MessageMap[str, InferParameter]: ...
        def __init__(
            self,
            *,
            name: str | None = ...,
            parameters: Mapping[str, InferParameter] | None = ...,
        ) -> None: ...
    model_name: str
    model_version: str
    id: str
    @property
    def parameters(self) -> _MessageMap[str, InferParameter]: ...
    @property
    def inputs(self) -> _RepeatedMessage[ModelInferRequest.InferInputTensor]: ...
    @property
    def outputs(self) -> _RepeatedMessage[ModelInferRequest.InferRequestedOutputTensor]: ...
    @property
    def raw_input_contents(self) -> _Repeated[bytes]: ...
    def __init__(
        self,
        *,
        model_name: str | None = ...,
        model_version: str | None = ...,
        id: str | None = ...,
        parameters: Mapping[str, InferParameter] | None = ...,
        inputs: Iterable[ModelInferRequest.InferInputTensor | Mapping[str, Any]] | None = ...,
        outputs: Iterable[ModelInferRequest.InferRequestedOutputTensor | Mapping[str, Any]] | None = ...,
        raw_input_contents: Iterable[bytes] | None = ...,
    ) -> None: ...

class ModelInferResponse(_Message):
    class InferOutputTensor(_Message):
        name: str
        datatype: str
        @property
        def shape(self) -> _Repeated[int]: ...
        @property
        def parameters(self) -> _MessageMap[str, InferParameter]: ...
        @property
        def contents(self) -> InferTensorContents: ...
        def __init__(
            self,
            *,
            name: str | None = ...,
            datatype: str | None = ...,
            shape: Iterable[int] | None = ...,
            parameters: Mapping[str, InferParameter] | None = ...,
            contents: InferTensorContents | Mapping[str, Any] | None = ...,
        ) -> None: ...
        def HasField(self, field_name: Literal["contents"]) -> bool: ...
    model_name: str
    model_version: str
    id: str
    @property
    def parameters(self) -> _MessageMap[str, InferParameter]: ...
    @property
    def outputs(self) -> _RepeatedMessage[ModelInferResponse.InferOutputTensor]: ...
    @property
    def raw_output_contents(self) -> _Repeated[bytes]: ...
    def __init__(
        self,
        *,
        model_name: str | None = ...,
        model_version: str | None = ...,
        id: str | None = ...,
        parameters: Mapping[str, InferParameter] | None = ...,
        outputs: Iterable[ModelInferResponse.InferOutputTensor | Mapping[str, Any]] | None = ...,
        raw_output_contents: Iterable[bytes] | None = ...,
    ) -> None: ...

class ModelStreamInferResponse(_Message):
    error_message: str
    @property
    def infer_response(self) -> ModelInferResponse: ...
    def __init__(
        self,
        *,
        error_message: str | None = ...,
        infer_response: ModelInferResponse | Mapping[str, Any] | None = ...,
    ) -> None: ...
    def HasField(self, field_name: Literal["infer_response"]) -> bool: ...

class ModelConfigRequest(_Message):
    name: str
    version: str
    def __init__(
        self,
        *,
        name: str | None = ...,
        version: str | None = ...,
    ) -> None: ...

class ModelConfigResponse(_Message):
    @property
    def config(self) -> ModelConfig: ...
    def __init__(
        self,
        *,
        config: ModelConfig | Mapping[str, Any] | None = ...,
    ) -> None: ...
    def HasField(self, field_name: Literal["config"]) -> bool: ...

class ModelStatisticsRequest(_Message):
    name: str
    version: str
    def __init__(
        self,
        *,
        name: str | None = ...,
        version: str | None = ...,
    ) -> None: ...

class StatisticDuration(_Message):
    count: int
    ns: int
    def __init__(
        self,
        *,
        count: int | None = ...,
        ns: int | None = ...,
    ) -> None: ...

class InferStatistics(_Message):
    @property
    def success(self) -> StatisticDuration: ...
    @property
    def fail(self) -> StatisticDuration: ...
    @property
    def queue(self) -> StatisticDuration: ...
    @property
    def compute_input(self) -> StatisticDuration: ...
    @property
    def compute_infer(self) -> StatisticDuration: ...
    @property
    def compute_output(self) -> StatisticDuration: ...
    @property
    def cache_hit(self) -> StatisticDuration: ...
    @property
    def cache_miss(self) -> StatisticDuration: ...
    def __init__(
        self,
        *,
        success: StatisticDuration | Mapping[str, Any] | None = ...,
        fail: StatisticDuration | Mapping[str, Any] | None = ...,
        queue: StatisticDuration | Mapping[str, Any] | None = ...,
        compute_input: StatisticDuration | Mapping[str, Any] | None = ...,
        compute_infer: StatisticDuration | Mapping[str, Any] | None = ...,
        compute_output: StatisticDuration | Mapping[str, Any] | None = ...,
        cache_hit: StatisticDuration | Mapping[str, Any] | None = ...,
        cache_miss: StatisticDuration | Mapping[str, Any] | None = ...,
    ) -> None: ...
    def HasField(self, field_name: Literal["success", "fail", "queue", "compute_input", "compute_infer", "compute_output", "cache_hit", "cache_miss"]) -> bool: ...

class InferResponseStatistics(_Message):
    @property
    def compute_infer(self) -> StatisticDuration: ...
    @property
    def compute_output(self) -> StatisticDuration: ...
    @property
    def success(self) -> StatisticDuration: ...
    @property
    def fail(self) -> StatisticDuration: ...
    @property
    def empty_response(self) -> StatisticDuration: ...
    @property
    def cancel(self) -> StatisticDuration: ...
    def __init__(
        self,
        *,
        compute_infer: StatisticDuration | Mapping[str, Any] | None = ...,
        compute_output: StatisticDuration | Mapping[str, Any] | None = ...,
        success: StatisticDuration | Mapping[str, Any] | None = ...,
        fail: StatisticDuration | Mapping[str, Any] | None = ...,
        empty_response: StatisticDuration | Mapping[str, Any] | None = ...,
        cancel: StatisticDuration | Mapping[str, Any] | None = ...,
    ) -> None: ...
    def HasField(self, field_name: Literal["compute_infer", "compute_output", "success", "fail", "empty_response", "cancel"]) -> bool: ...

class InferBatchStatistics(_Message):
    batch_size: int
    @property
    def compute_input(self) -> StatisticDuration: ...
    @property
    def compute_infer(self) -> StatisticDuration: ...
    @property
    def compute_output(self) -> StatisticDuration: ...
    def __init__(
        self,
        *,
        batch_size: int | None = ...,
        compute_input: StatisticDuration | Mapping[str, Any] | None = ...,
        compute_infer: StatisticDuration | Mapping[str, Any] | None = ...,
        compute_output: StatisticDuration | Mapping[str, Any] | None = ...,
    ) -> None: ...
    def HasField(self, field_name: Literal["compute_input", "compute_infer", "compute_output"]) -> bool: ...

class MemoryUsage(_Message):
    type: str
    id: int
    byte_size: int
    def __init__(
        self,
        *,
        type: str | None = ...,
        id: int | None = ...,
        byte_size: int | None = ...,
    ) -> None: ...

class ModelStatistics(_Message):
    name: str
    version: str
    last_inference: int
    inference_count: int
    execution_count: int
    @property
    def inference_stats(self) -> InferStatistics: ...
    @property
    def batch_stats(self) -> _RepeatedMessage[InferBatchStatistics]: ...
    @property
    def memory_usage(self) -> _RepeatedMessage[MemoryUsage]: ...
    @property
    def response_stats(self) -> _MessageMap[str, InferResponseStatistics]: ...
    def __init__(
        self,
        *,
        name: str | None = ...,
        version: str | None = ...,
        last_inference: int | None = ...,
        inference_count: int | None = ...,
        execution_count: int | None = ...,
        inference_stats: InferStatistics | Mapping[str, Any] | None = ...,
        batch_stats: Iterable[InferBatchStatistics | Mapping[str, Any]] | None = ...,
        memory_usage: Iterable[MemoryUsage | Mapping[str, Any]] | None = ...,
        response_stats: Mapping[str, InferResponseStatistics] | None = ...,
    ) -> None: ...
    def HasField(self, field_name: Literal["inference_stats"]) -> bool: ...

class ModelStatisticsResponse(_Message):
    @property
    def model_stats(self) -> _RepeatedMessage[ModelStatistics]: ...
    def __init__(
        self,
        *,
        model_stats: Iterable[ModelStatistics | Mapping[str, Any]] | None = ...,
    ) -> None: ...

class ModelRepositoryParameter(_Message):
    bool_param: bool
    int64_param: int
    string_param: str
    bytes_param: bytes
    def __init__(
        self,
        *,
        bool_param: bool | None = ...,
        int64_param: int | None = ...,
        string_param: str | None = ...,
        bytes_param: bytes | None = ...,
    ) -> None: ...
    def HasField(self, field_name: Literal["bool_param", "int64_param", "string_param", "bytes_param", "parameter_choice"]) -> bool: ...
    def WhichOneof(self, oneof_group: Literal["parameter_choice"]) -> Literal["bool_param", "int64_param", "string_param", "bytes_param"] | None: ...

class RepositoryIndexRequest(_Message):
    repository_name: str
    ready: bool
    def __init__(
        self,
        *,
        repository_name: str | None = ...,
        ready: bool | None = ...,
    ) -> None: ...

class RepositoryIndexResponse(_Message):
    class ModelIndex(_Message):
        name: str
        version: str
        state: str
        reason: str
        def __init__(
            self,
            *,
            name: str | None = ...,
            version: str | None = ...,
            state: str | None = ...,
            reason: str | None = ...,
        ) -> None: ...
    @property
    def models(self) -> _RepeatedMessage[RepositoryIndexResponse.ModelIndex]: ...
    def __init__(
        self,
        *,
        models: Iterable[RepositoryIndexResponse.ModelIndex | Mapping[str, Any]] | None = ...,
    ) -> None: ...

class RepositoryModelLoadRequest(_Message):
    repository_name: str
    model_name: str
    @property
    def parameters(self) -> _MessageMap[str, ModelRepositoryParameter]: ...
    def __init__(
        self,
        *,
        repository_name: str | None = ...,
        model_name: str | None = ...,
        parameters: Mapping[str, ModelRepositoryParameter] | None = ...,
    ) -> None: ...

class RepositoryModelLoadResponse(_Message):
    def __init__(self) -> None: ...

class RepositoryModelUnloadRequest(_Message):
    repository_name: str
    model_name: str
    @property
    def parameters(self) -> _MessageMap[str, ModelRepositoryParameter]: ...
    def __init__(
        self,
        *,
        repository_name: str | None = ...,
        model_name: str | None = ...,
        parameters: Mapping[str, ModelRepositoryParameter] | None = ...,
    ) -> None: ...

class RepositoryModelUnloadResponse(_Message):
    def __init__(self) -> None: ...

class SystemSharedMemoryStatusRequest(_Message):
    name: str
    def __init__(
        self,
        *,
        name: str | None = ...,
    ) -> None: ...

class SystemSharedMemoryStatusResponse(_Message):
    class RegionStatus(_Message):
        name: str
        key: str
        offset: int
        byte_size: int
        def __init__(
            self,
            *,
            name: str | None = ...,
            key: str | None = ...,
            offset: int | None = ...,
            byte_size: int | None = ...,
        ) -> None: ...
    @property
    def regions(self) -> _MessageMap[str, SystemSharedMemoryStatusResponse.RegionStatus]: ...
    def __init__(
        self,
        *,
        regions: Mapping[str, SystemSharedMemoryStatusResponse.RegionStatus] | None = ...,
    ) -> None: ...

class SystemSharedMemoryRegisterRequest(_Message):
    name: str
    key: str
    offset: int
    byte_size: int
    def __init__(
        self,
        *,
        name: str | None = ...,
        key: str | None = ...,
        offset: int | None = ...,
        byte_size: int | None = ...,
    ) -> None: ...

class SystemSharedMemoryRegisterResponse(_Message):
    def __init__(self) -> None: ...

class SystemSharedMemoryUnregisterRequest(_Message):
    name: str
    def __init__(
        self,
        *,
        name: str | None = ...,
    ) -> None: ...

class SystemSharedMemoryUnregisterResponse(_Message):
    def __init__(self) -> None: ...

class CudaSharedMemoryStatusRequest(_Message):
    name: str
    def __init__(
        self,
        *,
        name: str | None = ...,
    ) -> None: ...

class CudaSharedMemoryStatusResponse(_Message):
    class RegionStatus(_Message):
        name: str
        device_id: int
        byte_size: int
        def __init__(
            self,
            *,
            name: str | None = ...,
            device_id: int | None = ...,
            byte_size: int | None = ...,
        ) -> None: ...
    @property
    def regions(self) -> _MessageMap[str, CudaSharedMemoryStatusResponse.RegionStatus]: ...
    def __init__(
        self,
        *,
        regions: Mapping[str, CudaSharedMemoryStatusResponse.RegionStatus] | None = ...,
    ) -> None: ...

class CudaSharedMemoryRegisterRequest(_Message):
    name: str
    raw_handle: bytes
    device_id: int
    byte_size: int
    def __init__(
        self,
        *,
        name: str | None = ...,
        raw_handle: bytes | None = ...,
        device_id: int | None = ...,
        byte_size: int | None = ...,
    ) -> None: ...

class CudaSharedMemoryRegisterResponse(_Message):
    def __init__(self) -> None: ...

class CudaSharedMemoryUnregisterRequest(_Message):
    name: str
    def __init__(
        self,
        *,
        name: str | None = ...,
    ) -> None: ...

class CudaSharedMemoryUnregisterResponse(_Message):
    def __init__(self) -> None: ...

class TraceSettingRequest(_Message):
    class SettingValue(_Message):
        @property
        def value(self) -> _Repeated[str]: ...
        def __init__(
            self,
            *,
            value: Iterable[str] | None = ...,
        ) -> None: ...
    @property
    def settings(self) -> _MessageMap[str, TraceSettingRequest.SettingValue]: ...
    model_name: str
    def __init__(
        self,
        *,
        settings: Mapping[str, TraceSettingRequest.SettingValue] | None = ...,
        model_name: str | None = ...,
    ) -> None: ...

class TraceSettingResponse(_Message):
    class SettingValue(_Message):
        @property
        def value(self) -> _Repeated[str]: ...
        def __init__(
            self,
            *,
            value: Iterable[str] | None = ...,
        ) -> None: ...
    @property
    def settings(self) -> _MessageMap[str, TraceSettingResponse.SettingValue]: ...
    def __init__(
        self,
        *,
        settings: Mapping[str, TraceSettingResponse.SettingValue] | None = ...,
    ) -> None: ...

class LogSettingsRequest(_Message):
    class SettingValue(_Message):
        bool_param: bool
        uint32_param: int
        string_param: str
        def __init__(
            self,
            *,
            bool_param: bool | None = ...,
            uint32_param: int | None = ...,
            string_param: str | None = ...,
        ) -> None: ...
        def HasField(self, field_name: Literal["bool_param", "uint32_param", "string_param", "parameter_choice"]) -> bool: ...
        def WhichOneof(self, oneof_group: Literal["parameter_choice"]) -> Literal["bool_param", "uint32_param", "string_param"] | None: ...
    @property
    def settings(self) -> _MessageMap[str, LogSettingsRequest.SettingValue]: ...
    def __init__(
        self,
        *,
        settings: Mapping[str, LogSettingsRequest.SettingValue] | None = ...,
    ) -> None: ...

class LogSettingsResponse(_Message):
    class SettingValue(_Message):
        bool_param: bool
        uint32_param: int
        string_param: str
        def __init__(
            self,
            *,
            bool_param: bool | None = ...,
            uint32_param: int | None = ...,
            string_param: str | None = ...,
        ) -> None: ...
        def HasField(self, field_name: Literal["bool_param", "uint32_param", "string_param", "parameter_choice"]) -> bool: ...
        def WhichOneof(self, oneof_group: Literal["parameter_choice"]) -> Literal["bool_param", "uint32_param", "string_param"] | None: ...
    @property
    def settings(self) -> _MessageMap[str, LogSettingsResponse.SettingValue]: ...
    def __init__(
        self,
        *,
        settings: Mapping[str, LogSettingsResponse.SettingValue] | None = ...,
    ) -> None: ...
