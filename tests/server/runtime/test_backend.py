"""The machine as one server may use it: what of it is checked before any model is looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sardonyx_server.errors import SettingsError
from sardonyx_server.runtime.backend import OrtBackend

if TYPE_CHECKING:
    from pathlib import Path


def test_a_folder_for_compiled_models_that_is_not_there_is_refused(tmp_path: Path) -> None:
    """At start: a provider would compile for minutes and then keep nothing."""
    folder = tmp_path / "none"
    with pytest.raises(SettingsError) as caught:
        OrtBackend(requested=("cpu",), cores=1, cache_folder=folder)
    assert str(caught.value) == (
        f"provider_cache_dir: cannot write in {str(folder)!r}; name a folder that exists and is writable"
    )
    folder.mkdir()
    assert OrtBackend(requested=("cpu",), cores=1, cache_folder=folder).cores == 1
