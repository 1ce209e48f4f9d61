"""Model card: which image a trained model needs."""

import json

from errors import InvalidCard

TARGETS = SMALL, FULL = "runtime", "runtime-full"


def image_target(card: str) -> str:
    """Return the Dockerfile's target for a model: with scikit-learn only if the model isn't portable.

    Raises InvalidCard when the card doesn't say.
    """
    try:
        return SMALL if json.loads(card)["portable"] is not None else FULL
    except (ValueError, LookupError, TypeError) as error:
        raise InvalidCard(f"card.json: doesn't say whether the model is portable: {error!r}") from error
