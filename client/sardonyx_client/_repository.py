"""Control of the server's model repository: index, load, unload. For servers in explicit mode."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from sardonyx_client import _operations
from sardonyx_client._timeout import CLIENT_DEFAULT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sardonyx_client._operations import AsyncRun, Run
    from sardonyx_client._timeout import Timeout
    from sardonyx_client._values import IndexEntry

__all__ = ["AsyncRepository", "Repository"]

_NO_FILES: Mapping[str, bytes] = MappingProxyType({})


class Repository:
    """Models of the server, from :attr:`Client.repository`."""

    __slots__ = ("_run",)

    def __init__(self, run: Run) -> None:
        self._run = run

    def index(self, *, ready: bool = False, timeout_s: Timeout = CLIENT_DEFAULT) -> tuple[IndexEntry, ...]:
        """Every version of every model in the server's repositories; ``ready``: only those that are ready."""
        return self._run(_operations.index(ready=ready), timeout_s)

    def load(
        self,
        model: str,
        *,
        config: Mapping[str, Any] | str | None = None,
        files: Mapping[str, bytes] = _NO_FILES,
        timeout_s: Timeout = CLIENT_DEFAULT,
    ) -> None:
        """Load a model, or load it again; returns when it is ready.

        Args:
            model: Its name.
            config: ModelConfig as JSON text, or as a mapping to serialise; used instead of config.pbtxt.
            files: Path in the model's folder, such as ``1/model.onnx`` -> content; used instead of the files on disk.
                Requires ``config``.
            timeout_s: For this call.

        Raises:
            Unavailable: The server is not in explicit mode.
            ClientError: Any other failure; its message says why the model did not load.
        """
        self._run(_operations.load(model, config, files), timeout_s)

    def unload(self, model: str, *, unload_dependents: bool = False, timeout_s: Timeout = CLIENT_DEFAULT) -> None:
        """Unload a model after it has responded to the requests that it had accepted."""
        self._run(_operations.unload(model, unload_dependents=unload_dependents), timeout_s)


class AsyncRepository:
    """Models of the server, from :attr:`AsyncClient.repository`. See :class:`Repository`."""

    __slots__ = ("_run",)

    def __init__(self, run: AsyncRun) -> None:
        self._run = run

    async def index(self, *, ready: bool = False, timeout_s: Timeout = CLIENT_DEFAULT) -> tuple[IndexEntry, ...]:
        """See :meth:`Repository.index`."""
        return await self._run(_operations.index(ready=ready), timeout_s)

    async def load(
        self,
        model: str,
        *,
        config: Mapping[str, Any] | str | None = None,
        files: Mapping[str, bytes] = _NO_FILES,
        timeout_s: Timeout = CLIENT_DEFAULT,
    ) -> None:
        """See :meth:`Repository.load`."""
        await self._run(_operations.load(model, config, files), timeout_s)

    async def unload(self, model: str, *, unload_dependents: bool = False, timeout_s: Timeout = CLIENT_DEFAULT) -> None:
        """See :meth:`Repository.unload`."""
        await self._run(_operations.unload(model, unload_dependents=unload_dependents), timeout_s)
