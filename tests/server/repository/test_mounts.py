"""Which disks report no changes."""

from __future__ import annotations

from pathlib import Path

import pytest

from sardonyx_server.repository.mounts import is_network_filesystem

MOUNTS = r"""
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 22 0:25 / /mnt/share rw shared:2 - nfs4 server:/x rw
31 30 8:2 / /mnt/share/local rw - xfs /dev/sdb1 rw
32 22 0:26 / /mnt/with\040space rw - cifs //server/x rw
33 22 0:27 / /mnt/ssh rw - fuse.sshfs host: rw
34 22 8:3 / /mnt/usb rw - fuseblk /dev/sdc1 rw
35 22 8:4 / /mnt/over rw - ext4 /dev/sdd1 rw
36 22 0:28 / /mnt/over rw - ceph x rw
a line that says nothing
"""


@pytest.mark.parametrize(
    ("path", "network"),
    [
        ("/srv/models", False),
        ("/mnt/share", True),
        ("/mnt/share/models", True),
        ("/mnt/shared", False),
        ("/mnt/share/local/models", False),
        ("/mnt/with space/models", True),
        ("/mnt/ssh", True),
        ("/mnt/usb/models", False),
        ("/mnt/over/models", True),
    ],
)
def test_the_mount_that_holds_a_path_decides(path: str, network: bool) -> None:
    """The innermost, and of several at one place the last."""
    assert is_network_filesystem(Path(path), MOUNTS) is network


def test_without_a_table_nothing_is_a_network_disk() -> None:
    """Other systems than Linux have none."""
    assert not is_network_filesystem(Path("/anything"), "")


def test_the_real_table_can_be_read(tmp_path: Path) -> None:
    """Whatever it says."""
    assert is_network_filesystem(tmp_path) in {True, False}
