"""The built distribution: what is in it, and that it installs and works where nothing of the project is."""

from __future__ import annotations

import json
import tarfile
import zipfile
from collections.abc import Callable

import pytest

from tests.packaging.conftest import Distribution, Environment

PACKAGES = ("sardonyx_client", "sardonyx_server", "sardonyx_wire")
Install = Callable[..., Environment]


@pytest.fixture(scope="session")
def names(distribution: Distribution) -> list[str]:
    """Names of the files in the wheel."""
    return zipfile.ZipFile(distribution.wheel).namelist()


def test_the_wheel_holds_the_three_packages_and_nothing_else(names: list[str]) -> None:
    """No tests, models, benchmarks or .proto folders at the top."""
    assert {name.partition("/")[0] for name in names} == {*PACKAGES, "sardonyx-0.1.0.dist-info"}


@pytest.mark.parametrize("package", PACKAGES)
def test_every_package_says_that_it_is_typed(names: list[str], package: str) -> None:
    """Type checkers read the packages' own annotations (PEP 561)."""
    assert f"{package}/py.typed" in names


def test_the_wheel_holds_the_descriptors_and_their_types(names: list[str]) -> None:
    """sardonyx_wire makes its classes from the descriptor file at import."""
    assert {"sardonyx_wire/inference.binpb", "sardonyx_wire/messages.pyi"} <= set(names)


def test_the_wheel_holds_the_licence(names: list[str]) -> None:
    """Apache-2.0 asks that each copy comes with it."""
    assert "sardonyx-0.1.0.dist-info/licenses/LICENSE" in names


def test_no_file_is_left_over_from_a_run(names: list[str]) -> None:
    """Nothing compiled or cached is packed."""
    assert not [name for name in names if "__pycache__" in name or name.endswith(".pyc")]


def test_the_source_archive_holds_the_proto_files(distribution: Distribution) -> None:
    """Who packages the project can generate stubs from it."""
    with tarfile.open(distribution.sdist) as archive:
        inside = {name.partition("/")[2] for name in archive.getnames()}
    assert {"protos/inference/grpc_service.proto", "protos/inference/model_config.proto", "pyproject.toml"} <= inside
    assert not [name for name in inside if name.startswith(("tests/", "models/", "bench/"))]


def test_installed_without_extras_it_is_the_client_alone(installed: Install) -> None:
    """The client imports; neither onnxruntime nor anything else of the server came with it."""
    environment = installed()
    assert environment.run("python", "-c", "import sardonyx_client, sardonyx_wire").stderr == ""
    came = {each["name"] for each in json.loads(environment.pip("list", "--format=json").stdout)}
    assert came == {"grpcio", "numpy", "protobuf", "sardonyx", "typing_extensions"}


def test_the_command_without_the_server_says_what_to_install(installed: Install) -> None:
    """One line and no traceback: the entry point is there with the client alone too."""
    run = installed().run("sardonyx", "version")
    assert run.returncode != 0
    assert "pip install 'sardonyx[server]'" in run.stderr
    assert "Traceback" not in run.stderr


def test_installed_with_the_server_the_command_works(installed: Install) -> None:
    """`sardonyx version` runs where the project's sources are out of reach."""
    run = installed("[server]").run("sardonyx", "version")
    assert (run.returncode, run.stderr) == (0, "")
    assert "0.1.0" in run.stdout


@pytest.mark.parametrize("order", [("sardonyx_client", "tritonclient.grpc"), ("tritonclient.grpc", "sardonyx_client")])
def test_the_server_and_tritonclient_live_in_one_environment(installed: Install, order: tuple[str, str]) -> None:
    """No requirement contradicts another, and both import in either order."""
    environment = installed("[server]", "tritonclient[grpc]")
    check = environment.pip("check")
    assert (check.returncode, check.stdout.strip()) == (0, "No broken requirements found.")
    done = environment.run("python", "-c", f"import {order[0]}, {order[1]}")
    assert done.returncode == 0, done.stderr
