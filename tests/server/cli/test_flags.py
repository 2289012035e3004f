"""The fields of the settings as help, documentation and messages show them."""

from __future__ import annotations

import pytest

from sardonyx_server.cli.flags import SETTINGS
from sardonyx_server.settings import Settings


def test_every_default_can_be_typed_back() -> None:
    """As help and documentation show it."""
    for name, setting in SETTINGS.items():
        shown = setting.show(setting.default)
        if shown:
            assert getattr(Settings.model_validate({name: shown}), name) == setting.default, name


def test_every_setting_says_what_it_does_in_one_paragraph() -> None:
    """The text is help and documentation, so it is there, ends as a sentence and has no line breaks."""
    for name, setting in SETTINGS.items():
        assert setting.doc.endswith("."), name
        assert "\n" not in setting.doc, name


@pytest.mark.parametrize(
    ("name", "metavar", "allowed"),
    [
        ("grpc_port", "PORT", "a port from 0 to 65535"),
        ("http_port", "PORT", "off or a port from 0 to 65535"),
        ("repository_poll_secs", "SECONDS", "a number of seconds from 0.1 to 86400"),
        ("max_queue_bytes", "BYTES", "a number of bytes, such as 1048576 or 256MiB, from 1KiB"),
        ("strict_readiness", "true|false", "true or false"),
        ("transport", "auto|lane|grpcio", "one of auto, lane, grpcio"),
    ],
)
def test_what_is_allowed_is_made_of_the_type_of_the_field(name: str, metavar: str, allowed: str) -> None:
    """Help and the limits in force cannot differ."""
    assert (SETTINGS[name].metavar, SETTINGS[name].allowed) == (metavar, allowed)


def test_a_flag_and_a_variable_are_made_of_the_name() -> None:
    """A second flag is an exception."""
    assert (SETTINGS["cores"].flags, SETTINGS["cores"].variable) == (("--cores",), "SARDONYX_CORES")
    assert SETTINGS["host"].flags == ("--host", "--grpc-address")
