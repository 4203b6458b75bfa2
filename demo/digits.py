"""The model: handwritten digits, learned with scikit-learn from its own data and exported to ONNX."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import onnxruntime  # type: ignore[import-untyped]
from skl2onnx import to_onnx  # type: ignore[import-untyped]
from sklearn.datasets import load_digits  # type: ignore[import-untyped]
from sklearn.linear_model import LogisticRegression  # type: ignore[import-untyped]
from sklearn.model_selection import train_test_split  # type: ignore[import-untyped]
from sklearn.pipeline import make_pipeline  # type: ignore[import-untyped]
from sklearn.preprocessing import StandardScaler  # type: ignore[import-untyped]

__all__ = ["Prediction", "Task", "learn", "predict_here"]

_SEED = 0
_OPSET = 17

Images: TypeAlias = "npt.NDArray[np.float32]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A trained classifier as ONNX, and digits it has never seen: ``images`` is (n, 64), ``digits`` (n,)."""

    model: bytes
    images: Images
    digits: npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """For each image the digit (n,), and the probability of each digit (n, 10)."""

    digits: npt.NDArray[np.int64]
    probabilities: npt.NDArray[np.float32]

    def accuracy(self, task: Task) -> float:
        """Return the share of digits that are right."""
        return float(np.mean(self.digits == task.digits))

    def difference(self, other: Prediction) -> float:
        """Return the largest difference of a probability; infinite if a digit differs."""
        if not np.array_equal(self.digits, other.digits):
            return float("inf")
        return float(np.max(np.abs(self.probabilities - other.probabilities)))


def learn() -> Task:
    """Return a classifier trained on three quarters of the data, and the last quarter."""
    data, target = load_digits(return_X_y=True)
    images = data.astype(np.float32)
    seen, held_out, seen_digits, digits = train_test_split(
        images, target, test_size=0.25, random_state=_SEED, stratify=target
    )
    classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    classifier.fit(seen, seen_digits)
    with warnings.catch_warnings():
        # Deprecations between scikit-learn and its exporter are not for whoever watches.
        warnings.simplefilter("ignore")
        exported = to_onnx(classifier, seen[:1], options={"zipmap": False}, target_opset=_OPSET)
    return Task(model=exported.SerializeToString(), images=held_out, digits=digits.astype(np.int64))


def predict_here(task: Task) -> Prediction:
    """Return what onnxruntime says in this very process."""
    session = onnxruntime.InferenceSession(task.model, providers=["CPUExecutionProvider"])
    digits, probabilities = session.run(None, {session.get_inputs()[0].name: task.images})
    return Prediction(digits=digits, probabilities=probabilities)
