"""LogSettings: the levels that are logged. Anybody may read them; the operator decides if callers may change them.

Only the operator chooses the destination and the format of the log: a caller never chooses a path.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, Protocol

from sardonyx_server.errors import InvalidRequest
from sardonyx_server.rpc.other_rpcs.admin import require_admin
from sardonyx_server.text import quoted
from sardonyx_wire.messages import LogSettingsResponse

if TYPE_CHECKING:
    from sardonyx_server.observe.logs import LogLevels
    from sardonyx_wire.messages import LogSettingsRequest

__all__ = ["Log", "LogSettings"]

_LOG = logging.getLogger("sardonyx.rpc")

# The protocol's name -> field of LogLevels.
_SWITCHES: Final = {"log_info": "info", "log_warning": "warning", "log_error": "error"}
_VERBOSE: Final = "log_verbose_level"
# Triton's name for its default format.
_DEFAULT_FORMAT: Final = "default"


class Log(Protocol):
    """The log of this process: the module ``observe.logs``, or a test double."""

    def levels(self) -> LogLevels:
        """The levels that are in force."""

    def set_levels(self, wanted: LogLevels, /) -> None:
        """Set the levels, from the next event on."""

    def current_format(self) -> str:
        """The format of printed events."""


class LogSettings:
    """Answers LogSettings. Any thread.

    Args:
        log: The log whose levels are read and changed.
        allow_admin: Whether callers may change the levels.
    """

    __slots__ = ("_allow_admin", "_lock", "_log")

    def __init__(self, log: Log, *, allow_admin: bool) -> None:
        self._log = log
        # Two concurrent changes must not undo each other.
        self._lock = threading.Lock()
        self._allow_admin = allow_admin

    def answer(self, request: LogSettingsRequest) -> LogSettingsResponse:
        """Apply the given settings, all or none, and return the settings in force.

        Raises:
            InvalidRequest: A setting is unknown, has the wrong type, or only the operator may change it.
            TryLater: Settings are given, and callers may not change them.
        """
        if request.settings:
            require_admin("changing log settings", allowed=self._allow_admin)
            changes: dict[str, Any] = {}
            for name, value in request.settings.items():
                if name in _SWITCHES:
                    _require("bool_param", "a boolean", name, value)
                    changes[_SWITCHES[name]] = value.bool_param
                elif name == _VERBOSE:
                    _require("uint32_param", "a uint32", name, value)
                    changes["verbose"] = value.uint32_param
                else:
                    self._refuse_other(name, value)
            # Logged before it is in force, so that the log also records who turned it off.
            _LOG.info("log settings changed by a caller", extra=changes)
            with self._lock:
                self._log.set_levels(replace(self._log.levels(), **changes))
        return self._in_force()

    def _refuse_other(self, name: str, value: LogSettingsRequest.SettingValue) -> None:
        """Refuse a setting that cannot be changed, unless its value is the one in force."""
        if name == "log_file":
            if value.WhichOneof("parameter_choice") != "string_param" or value.string_param:
                raise InvalidRequest(
                    "setting 'log_file': a caller cannot choose where the log goes; it goes to the server's standard "
                    "output, which the operator may direct into a file",
                    field="settings[log_file]",
                )
        elif name == "log_format":
            in_force = self._log.current_format()
            if value.string_param not in {in_force, _DEFAULT_FORMAT}:
                raise InvalidRequest(
                    f"setting 'log_format': expected '{in_force}', which is in force, or '{_DEFAULT_FORMAT}', got "
                    f"{quoted(value.string_param)}; the operator chooses it with --log-format",
                    field="settings[log_format]",
                )
        else:
            known = ", ".join(sorted((*_SWITCHES, _VERBOSE, "log_file", "log_format")))
            raise InvalidRequest(f"unknown log setting {quoted(name)}: expected one of {known}", field="settings")

    def _in_force(self) -> LogSettingsResponse:
        levels = self._log.levels()
        response = LogSettingsResponse()
        response.settings["log_file"].string_param = ""
        response.settings["log_info"].bool_param = levels.info
        response.settings["log_warning"].bool_param = levels.warning
        response.settings["log_error"].bool_param = levels.error
        response.settings[_VERBOSE].uint32_param = levels.verbose
        response.settings["log_format"].string_param = self._log.current_format()
        return response


def _require(arm: str, expected: str, name: str, value: LogSettingsRequest.SettingValue) -> None:
    given = value.WhichOneof("parameter_choice")
    if given != arm:
        raise InvalidRequest(
            f"setting '{name}': expected {expected}, got {given or 'no value'}", field=f"settings[{name}]"
        )
