"""Which models a gateway knows, before, while and after workers serve them."""

from types import SimpleNamespace
from typing import Any

import pytest

from services.common.errors import InvalidField, MeshError, ModelNotFound, NoWorkers, RouterUnavailable
from services.gateway.models.served import Models


def models(
    own_name: str = "", *, served: tuple[str, ...] = (), known: tuple[str, ...] = (), **fields: Any
) -> Models:
    session = SimpleNamespace(
        is_attached=True,
        model_lens=dict.fromkeys(served, 100),
        known_models={*served, *known},
        adapters={},
        embedding_models={},
        limit_thinking=frozenset(),
    )
    vars(session).update(fields)
    kit: Any = SimpleNamespace(renderer=None, parsing=None)
    return Models(session, kit, own_name)


@pytest.mark.parametrize(
    ("site", "name", "error"),
    [
        (models("mine"), "mine", NoWorkers),  # its workers load
        (models("mine", known=("mine",)), "mine", NoWorkers),
        (models("mine", served=("other",)), "mine", NoWorkers),
        (models("mine", served=("other",)), "other", ModelNotFound),
        (models("mine"), "absent", ModelNotFound),
        (models(), "any", NoWorkers),  # nothing has been served yet: it may be what loads
        (models(known=("a",)), "a", NoWorkers),
        (models(served=("a",)), "b", ModelNotFound),
        (models(known=("a",)), "b", ModelNotFound),
        (models(is_attached=False), "a", RouterUnavailable),
    ],
)
def test_a_model_that_is_on_its_way_is_worth_waiting_for(
    site: Models, name: str, error: type[MeshError]
) -> None:
    with pytest.raises(error) as caught:
        site.find(name)
    assert error is ModelNotFound or caught.value.retry_after_ms


def test_the_only_model_need_not_be_named() -> None:
    assert models(served=("a",)).only_name() == "a"
    assert models("a", served=("a", "b")).only_name() == "a"
    with pytest.raises(NoWorkers):
        models().only_name()
    with pytest.raises(InvalidField, match="several"):
        models(served=("a", "b")).only_name()
