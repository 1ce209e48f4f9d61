"""Model cards, and the image that each needs."""

from __future__ import annotations

from pathlib import Path

import pytest

from errors import InvalidCard
from releasing import model_card

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("card", "target"), [('{"portable": {"sha256": "…"}}', "runtime"), ('{"portable": null}', "runtime-full")]
)
def test_scikit_learn_is_in_the_image_when_the_model_is_not_portable(card: str, target: str) -> None:
    assert model_card.image_target(card) == target
    assert f" AS {target}\n" in (ROOT / "Dockerfile").read_text()


@pytest.mark.parametrize("card", ["", "[]", "{}", "null"])
def test_a_card_that_does_not_say_is_refused(card: str) -> None:
    with pytest.raises(InvalidCard, match="doesn't say whether the model is portable"):
        model_card.image_target(card)
