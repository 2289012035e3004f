"""The server's list of providers, checked for form."""

from __future__ import annotations

import pytest

from sardonyx_server.errors import SettingsError
from sardonyx_server.runtime.catalogue import check_requested, short_name


class TestRequested:
    """The server's list of providers."""

    def test_a_good_list_is_kept_in_its_order(self) -> None:
        """And auto alone."""
        assert check_requested(["cuda", "cpu"]) == ("cuda", "cpu")
        assert check_requested(["auto"]) == ("auto",)

    @pytest.mark.parametrize(
        ("requested", "message"),
        [
            (
                ["gpu"],
                (
                    "providers: unknown provider 'gpu'; expected auto, or a list of tensorrt, cuda, rocm, migraphx, "
                    "directml, openvino, "
                    "coreml, qnn, dnnl, xnnpack, cann, vitisai, cpu"
                ),
            ),
            (["azure"], "providers: provider 'azure' is never used: it sends data to the network"),
            (["cpu", "cpu"], "providers: a name is repeated in cpu,cpu; name each once"),
            (["auto", "cpu"], "providers: 'auto' stands alone, got auto,cpu; leave it out, or the others"),
        ],
    )
    def test_a_bad_list_is_an_error_of_the_settings(self, requested: list[str], message: str) -> None:
        """Before any model is looked at."""
        with pytest.raises(SettingsError) as caught:
            check_requested(requested)
        assert caught.value.message == message

    def test_an_empty_list_is_an_error(self) -> None:
        """It would mean no provider at all."""
        with pytest.raises(SettingsError, match="providers: the list is empty; name at least one of auto, tensorrt"):
            check_requested([])


def test_names_are_short_and_back() -> None:
    """Providers that the table does not know keep their names."""
    assert short_name("CUDAExecutionProvider") == "cuda"
    assert short_name("FutureExecutionProvider") == "Future"
