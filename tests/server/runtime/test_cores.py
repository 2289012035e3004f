"""Cores by quota and affinity, on invented machines."""

from __future__ import annotations

import os

import pytest

from sardonyx_server.runtime.cores import available_cores, cgroup_quota, read_text


@pytest.mark.parametrize(
    ("files", "quota"),
    [
        pytest.param({}, None, id="no cgroups"),
        pytest.param({"/proc/self/cgroup": "0::/\n"}, None, id="no limit"),
        pytest.param({"/proc/self/cgroup": "0::/\n", "/sys/fs/cgroup/cpu.max": "max 100000\n"}, None, id="v2: max"),
        pytest.param(
            {"/proc/self/cgroup": "0::/\n", "/sys/fs/cgroup/cpu.max": "150000 100000\n"}, 1.5, id="v2: container"
        ),
        pytest.param(
            {
                "/proc/self/cgroup": "0::/system.slice/a.service\n",
                "/sys/fs/cgroup/system.slice/a.service/cpu.max": "max 100000\n",
                "/sys/fs/cgroup/system.slice/cpu.max": "400000 100000\n",
            },
            4.0,
            id="v2: a limit above counts",
        ),
        pytest.param(
            {
                "/proc/self/cgroup": "0::/a/b\n",
                "/sys/fs/cgroup/a/b/cpu.max": "300000 100000\n",
                "/sys/fs/cgroup/a/cpu.max": "200000 100000\n",
            },
            2.0,
            id="v2: the least counts",
        ),
        pytest.param(
            {
                "/proc/self/cgroup": "5:memory:/x\n4:cpu,cpuacct:/docker/abc\n",
                "/sys/fs/cgroup/cpu,cpuacct/docker/abc/cpu.cfs_quota_us": "250000\n",
                "/sys/fs/cgroup/cpu,cpuacct/docker/abc/cpu.cfs_period_us": "100000\n",
            },
            2.5,
            id="v1",
        ),
        pytest.param(
            {
                "/proc/self/cgroup": "4:cpu,cpuacct:/docker/abc\n",
                "/sys/fs/cgroup/cpu/cpu.cfs_quota_us": "100000\n",
                "/sys/fs/cgroup/cpu/cpu.cfs_period_us": "50000\n",
            },
            2.0,
            id="v1: inside the container the path is not there",
        ),
        pytest.param(
            {
                "/proc/self/cgroup": "4:cpu:/\n",
                "/sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
                "/sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
            },
            None,
            id="v1: no limit",
        ),
        pytest.param(
            {"/proc/self/cgroup": "nonsense\n0::/../..\n", "/sys/fs/cgroup/cpu.max": "100000 0\n"}, None, id="nonsense"
        ),
    ],
)
def test_quota(files: dict[str, str], quota: float | None) -> None:
    """Version 1 and 2 of cgroups, as files."""
    assert cgroup_quota(files.get) == quota


@pytest.mark.parametrize(
    ("quota", "affinity", "cores"),
    [("max", 8, 8), ("200000", 8, 2), ("800000", 2, 2), ("150000", 8, 1), ("50000", 8, 1)],
)
def test_the_least_of_quota_and_affinity_in_whole_cores(quota: str, affinity: int, cores: int) -> None:
    """Rounded down, and never 0."""
    files = {"/proc/self/cgroup": "0::/\n", "/sys/fs/cgroup/cpu.max": f"{quota} 100000\n"}
    assert available_cores(files.get, affinity) == cores


def test_this_machine_has_a_core() -> None:
    """And not more than the system counts."""
    assert 1 <= available_cores() <= (os.cpu_count() or 1)


def test_a_file_that_is_not_there_reads_as_none() -> None:
    """No error: every path is a guess."""
    assert read_text("/nonexistent/file") is None
