"""scikit-learn behind LitServe, in batches of waiting requests; the port comes from the environment."""

import os
from typing import Any

import joblib
import litserve


class Api(litserve.LitAPI):  # type: ignore[misc]
    """The model, which is asked for all rows that came within a millisecond."""

    def setup(self, device: str) -> None:
        """Load the model."""
        self.model = joblib.load(os.path.join(os.environ["MODEL_DIR"], "model.joblib"))

    def decode_request(self, request: dict[str, Any]) -> Any:
        """Return a request's row."""
        return request["features"]

    def batch(self, inputs: list[Any]) -> list[Any]:
        """Return rows together; LitServe would make a NumPy array of each."""
        return inputs

    def predict(self, rows: list[Any]) -> list[float]:
        """Return each row's probability."""
        found: list[float] = self.model.predict_proba(rows)[:, 1].tolist()
        return found

    def unbatch(self, output: list[float]) -> list[float]:
        """Return results one by one."""
        return output

    def encode_response(self, output: float) -> dict[str, Any]:
        """Return a request's answer."""
        return {"prediction": output, "model_version": os.environ["MODEL_VERSION"]}


if __name__ == "__main__":
    api = Api(max_batch_size=64, batch_timeout=0.001)
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=1)
    server.run(host="127.0.0.1", port=int(os.environ["PORT"]), num_api_servers=1, generate_client_file=False)
