"""Bad requests: ModelStatistics of what there is not. Part of the table in bad_requests.py."""

from __future__ import annotations

from sardonyx_wire.messages import METHODS, ModelStatisticsRequest
from tests.e2e.bad_names import INVALID, NOT_FOUND, ODD_NAMES, ODD_VERSIONS
from tests.e2e.bad_request import BadRequest

__all__ = ["statistics"]


def statistics() -> list[BadRequest]:
    """Rows about names, versions and the message itself; no name at all is right, and means every model."""
    path = METHODS["ModelStatistics"].path
    rows = [
        BadRequest(
            id=f"ModelStatistics-name-{key}",
            make=lambda name=name: ModelStatisticsRequest(name=name),  # type: ignore[misc]  # defaults bind the loop
            code=NOT_FOUND,
            pattern=r"^unknown model '.*'( \(1,048,576 characters\))?: this server has 'add_sub', ",
            path=path,
        )
        for key, name in ODD_NAMES.items()
    ]
    rows += [
        BadRequest(
            id=f"ModelStatistics-version-{version[:5]}",
            make=lambda version=version: ModelStatisticsRequest(  # type: ignore[misc]
                name="affine", version=version
            ),
            code=code,
            pattern=r"of model 'affine': known versions are 1, 3$"
            if code is NOT_FOUND
            else r"of model 'affine': expected a positive integer without leading zeros, or none for the newest$",
            path=path,
            field="" if code is NOT_FOUND else "version",
        )
        for version, code in ODD_VERSIONS.items()
    ]
    return [
        *rows,
        *(
            BadRequest(
                id=f"ModelStatistics-version-of-nothing-{version}",
                make=lambda version=version: ModelStatisticsRequest(version=version),  # type: ignore[misc]
                code=INVALID,
                pattern=rf"^version '{version}' of no model: expected the name of its model with it, or neither ",
                path=path,
                field="name",
            )
            for version in ("1", "abc")
        ),
        BadRequest(
            id="ModelStatistics-malformed",
            make=lambda: b"\x0a\xff",
            code=INVALID,
            pattern=r"^request of ModelStatistics: expected a ModelStatisticsRequest, got 2 bytes that are none; ",
            path=path,
        ),
    ]
