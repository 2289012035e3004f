"""Which public methods tritonclient's InferenceServerClient has, and what shows that each works. Starts nothing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from tests.e2e import triton_admin_checks as admin
from tests.e2e import triton_call_checks as calls
from tests.e2e.triton_conversations import Conversation

__all__ = ["METHODS"]

Check = Callable[[Conversation], Awaitable[None]]
"""What shows that a method works."""


_SHARED: Final[Mapping[str, Check]] = {
    "close": calls.close,
    "get_cuda_shared_memory_status": admin.cuda_memory,
    "get_inference_statistics": admin.statistics,
    "get_log_settings": admin.log_settings,
    "get_model_config": calls.model_config,
    "get_model_metadata": calls.model_metadata,
    "get_model_repository_index": admin.repository_index,
    "get_server_metadata": calls.server_metadata,
    "get_system_shared_memory_status": admin.system_memory,
    "get_trace_settings": admin.trace_settings,
    "infer": calls.infer,
    "is_model_ready": calls.model_ready,
    "is_server_live": calls.server_live,
    "is_server_ready": calls.server_ready,
    "load_model": admin.load,
    "plugin": calls.plugin,
    "register_cuda_shared_memory": admin.cuda_memory,
    "register_plugin": calls.plugin,
    "register_system_shared_memory": admin.system_memory,
    "unload_model": admin.unload,
    "unregister_cuda_shared_memory": admin.cuda_memory,
    "unregister_plugin": calls.plugin,
    "unregister_system_shared_memory": admin.system_memory,
    "update_log_settings": admin.log_settings,
    "update_trace_settings": admin.trace_settings,
}
METHODS: Final[Mapping[str, Mapping[str, Check]]] = {
    "sync": {
        **_SHARED,
        "async_infer": calls.callbacks,
        "async_stream_infer": calls.stream,
        "start_stream": calls.stream,
        "stop_stream": calls.stream,
    },
    "aio": {**_SHARED, "stream_infer": calls.stream},
}
"""For each client of tritonclient, its public methods."""
