"""Record a model file of the current format, with rows and what it answers for them.

Files of earlier formats are kept as they are: ``python tests/inference/golden/record.py``.
"""

import json
import warnings
from pathlib import Path

from fairautoml import FairAutoML, load_predictor
from fairautoml.data import load
from fairautoml.runtime import FORMAT

HERE = Path(__file__).parent


def main() -> None:
    """Fit, export and write."""
    warnings.simplefilter("ignore")
    table = load("lending").frame.head(700)
    X, y = table.drop(columns="repaid"), table["repaid"]
    model = FairAutoML(
        "demographic_parity_difference <= 0.05",
        n_trials=6, cv=2, ensemble=3, random_state=1, n_jobs=1,
        learners=["lightgbm", "logistic_regression", "xgboost"],
        mitigators=["randomized_thresholds"],
    )  # fmt: skip
    model.fit(X, y, "sex")
    served = load_predictor(model.export(HERE / f"version_{FORMAT}.fair"))
    rows = json.loads(X.sample(20, random_state=0).to_json(orient="records"))
    rows[0]["age"], rows[1]["occupation"] = None, "unseen"
    content = {
        "names": list(X.columns),
        "rows": rows,
        "predictions": served.predict(rows).tolist(),
        "base_proba": served.base_proba(rows).tolist(),
    }
    (HERE / "rows.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
