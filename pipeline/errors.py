"""The pipeline's errors. Each names the thing that is wrong and says what to do; none names a patient."""

from __future__ import annotations


class PipelineError(Exception):
    """Base of every error raised by `pipeline`. `code` is a stable word for scripts and tables."""

    code: str = "pipeline-error"


class InvalidVolume(PipelineError):
    """A volume that is empty, constant, not finite or has an unusable affine."""

    code = "invalid-volume"


class NothingToAnalyse(PipelineError):
    """No volume with a role was given."""

    code = "nothing-to-analyse"


class RegistrationFailed(PipelineError):
    """Two series could not be brought to one position (too little overlap, or the optimiser diverged)."""

    code = "registration-failed"


class ModelUnusable(PipelineError):
    """A model file that is missing, has another hash, another shape, another class order, or does not load.

    `model` is the manifest's name of the model.
    """

    code = "model-unusable"

    def __init__(self, model: str, reason: str, remedy: str) -> None:
        super().__init__(f"model '{model}': {reason}. {remedy}")
        self.model = model
        self.reason = reason
        self.remedy = remedy


class ConversionFailed(PipelineError):
    """A model that could not be brought to a faster runtime faithfully; its reference path still serves.

    `model` is the manifest's name of the model.
    """

    code = "conversion-failed"

    def __init__(self, model: str, reason: str) -> None:
        super().__init__(f"model '{model}': {reason}")
        self.model = model
        self.reason = reason
