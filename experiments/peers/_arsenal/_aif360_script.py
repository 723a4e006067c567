"""Run by a Python that has AIF360 and not this library: labels and groups in, weights out."""

import json
import sys
import time

import numpy as np
import pandas as pd


def main(request: str, answer: str) -> None:
    """Write the weights of Reweighing, and print the CPU seconds that it took."""
    from aif360.algorithms.preprocessing import Reweighing
    from aif360.datasets import BinaryLabelDataset

    with np.load(request) as given:
        frame = pd.DataFrame(
            {"y": given["y"].astype(float), "group": given["group"].astype(float)}
        )
    start = time.process_time()
    rows = BinaryLabelDataset(df=frame, label_names=["y"], protected_attribute_names=["group"])
    method = Reweighing(unprivileged_groups=[{"group": 0.0}], privileged_groups=[{"group": 1.0}])
    weight = method.fit_transform(rows).instance_weights
    seconds = time.process_time() - start
    np.savez(answer, weight=weight)
    sys.stdout.write(json.dumps({"cpu_seconds": seconds}) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
