"""What a contract needs around it."""

import pytest


@pytest.fixture(scope="session")
def open_dask_client():
    """A cluster inside this process, and the client that an executor finds."""
    from distributed import Client, LocalCluster

    with (
        LocalCluster(
            n_workers=2, threads_per_worker=1, processes=False, dashboard_address="127.0.0.1:0"
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client
