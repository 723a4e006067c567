import pytest

from fairautoml.execution._worker import available_mb, memory_per_worker_mb

MEMINFO = "MemTotal:       8388608 kB\nMemAvailable:   4194304 kB\nHugePages_Total:       0\n"


@pytest.fixture
def root(tmp_path):
    """A machine with 4,096 MiB available and no control groups."""
    write(tmp_path / "proc/meminfo", MEMINFO)
    return tmp_path


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def limit_second(folder, *, limit, used=0, cache=0):
    write(folder / "memory.max", f"{limit}\n")
    write(folder / "memory.current", f"{used * 2**20}\n")
    write(folder / "memory.stat", f"anon 5\ninactive_file {cache * 2**20}\n")


def test_a_machine_without_control_groups_gives_what_the_kernel_calls_available(root):
    assert available_mb(root) == 4096


def test_a_tenth_is_left_to_others_and_the_rest_is_shared_by_the_trials(root):
    assert memory_per_worker_mb(1, root) == pytest.approx(0.9 * 4096)
    assert memory_per_worker_mb(4, root) == pytest.approx(0.9 * 4096 / 4)


def test_nothing_is_known_without_proc(tmp_path):
    assert available_mb(tmp_path) is None
    assert memory_per_worker_mb(2, tmp_path) is None


def test_the_tightest_group_above_the_process_counts(root):
    write(root / "proc/self/cgroup", "0::/a/b/c\n")
    groups = root / "sys/fs/cgroup"
    limit_second(groups / "a", limit=1000 * 2**20, used=300, cache=100)
    limit_second(groups / "a/b", limit="max", used=5)
    limit_second(groups / "a/b/c", limit=3000 * 2**20)
    assert available_mb(root) == 1000 - 300 + 100


def test_a_container_that_sees_only_its_own_root_is_limited_too(root):
    write(root / "proc/self/cgroup", "0::/outside/of/it\n")
    limit_second(root / "sys/fs/cgroup", limit=512 * 2**20, used=12)
    assert available_mb(root) == 500


def test_the_first_version_of_control_groups_is_read(root):
    write(root / "proc/self/cgroup", "9:name=systemd:/\n4:cpu,memory:/job\n0::/\n")
    folder = root / "sys/fs/cgroup/memory/job"
    write(folder / "memory.limit_in_bytes", f"{700 * 2**20}\n")
    write(folder / "memory.usage_in_bytes", f"{200 * 2**20}\n")
    write(folder / "memory.stat", f"cache 1\ntotal_inactive_file {50 * 2**20}\n")
    assert available_mb(root) == 550


def test_a_group_without_a_limit_takes_nothing_away(root):
    write(root / "proc/self/cgroup", "4:memory:/job\n")
    folder = root / "sys/fs/cgroup/memory/job"
    write(folder / "memory.limit_in_bytes", "9223372036854771712\n")
    write(folder / "memory.usage_in_bytes", "4096\n")
    assert available_mb(root) == 4096


def test_a_group_over_its_limit_leaves_nothing_and_not_less(root):
    write(root / "proc/self/cgroup", "0::/\n")
    limit_second(root / "sys/fs/cgroup", limit=100 * 2**20, used=200)
    assert available_mb(root) == 0
