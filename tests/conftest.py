"""What every test shares: one thread a process, local data sets, folders of its own and no network."""

import ipaddress
import os
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

ROOT = Path(__file__).resolve().parents[1]
_DATASETS = ROOT.parent / "shared" / "data"

# At import, because numpy and XGBoost read the number of threads once, when they are loaded. Two OpenMP threads on a
# busy core make small fits many times slower than one.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"
os.environ["MPLBACKEND"] = "Agg"
os.environ.pop("CRMLAB_HOME", None)
if not os.environ.get("CRMLAB_DATASETS") and _DATASETS.is_dir():
    os.environ["CRMLAB_DATASETS"] = str(_DATASETS)

# The same examples on every machine: whether a change is sound must not hang on a draw. A search for more draws anew.
settings.register_profile("repeatable", derandomize=not os.environ.get("CRMLAB_EXAMPLES"))
settings.load_profile("repeatable")

# Far from UTC and not by whole hours: code that depends on the local time zone fails here, not on a user's machine.
os.environ["TZ"] = "Asia/Kathmandu"
if hasattr(time, "tzset"):
    time.tzset()


@pytest.fixture(scope="session", autouse=True)
def _own_folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Point the local store and IPython's history at folders of this session."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CRMLAB_DATA", str(tmp_path_factory.mktemp("crmlab-data")))
        patch.setenv("IPYTHONDIR", str(tmp_path_factory.mktemp("ipython")))
        yield


@pytest.fixture(scope="session", autouse=True)
def _no_network() -> Iterator[None]:
    """Refuse every address but this machine's own, so that no test depends on the network."""
    with pytest.MonkeyPatch.context() as patch:
        for method in ("connect", "connect_ex"):
            patch.setattr(socket.socket, method, _local_only(getattr(socket.socket, method)))
        yield


def _local_only(connect: Callable[..., object]) -> Callable[..., object]:
    def guarded(self: socket.socket, address: object) -> object:
        if self.family in (socket.AF_INET, socket.AF_INET6) and not _is_local(address[0]):
            self.close()
            # Not an OSError: a loader that falls back when the network is down must not hide this.
            raise AssertionError(f"A test tried to reach {address[0]}: tests use no network.")
        return connect(self, address)

    return guarded


def _is_local(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@pytest.fixture(scope="session")
def root() -> Path:
    """Return the folder of this checkout."""
    return ROOT


@pytest.fixture(scope="session")
def public_data() -> Path:
    """Return the local folder of the public data sets; skip the test where there is none."""
    folder = os.environ.get("CRMLAB_DATASETS")
    if not folder or not Path(folder).is_dir():
        pytest.skip("CRMLAB_DATASETS names no folder with the public data sets")
    return Path(folder)
