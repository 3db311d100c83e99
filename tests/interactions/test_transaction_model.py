"""All or nothing: random transactions against a model that knows nothing of how they are done."""

from __future__ import annotations

from itertools import count
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conftest import Caller
from tests.interactions.test_transaction_rules import by, device, done, entry, found, json_patch, link, sent

_RUNS = (f"m{number}" for number in count())
NAMES = ("a", "b", "c")
ACTS = st.lists(
    st.tuples(
        st.sampled_from(["POST", "POST if", "PUT", "PUT by", "PATCH", "DELETE", "DELETE by"]), st.sampled_from(NAMES)
    ),
    min_size=1,
    max_size=5,
)


class Model:
    """Devices by id: their name, how often each was written."""

    def __init__(self) -> None:
        self.rows: dict[str, list[Any]] = {}

    def named(self, name: str) -> list[str]:
        """The ids of that name."""
        return [id_ for id_, (known, _) in self.rows.items() if known == name]

    def targets(self, acts: list[tuple[str, str]]) -> list[str | None] | None:
        """The id each act is about, None for a new one; None when R4 has the whole fail."""
        gone: set[str] = set()
        about: dict[int, str | None] = {}
        changed: list[str] = []
        asked: dict[str, str] = {}
        order = sorted(range(len(acts)), key=lambda n: not acts[n][0].startswith("DELETE"))
        for n in order:
            act, name = acts[n]
            here = self.named(name)
            if act == "POST":
                about[n] = None
                continue
            if act == "POST if":
                here = [id_ for id_ in here if id_ not in gone]
            if act in ("POST if", "PUT by", "DELETE by") and len(here) > 1:
                return None
            if act in ("PUT", "PATCH", "DELETE") and not here:
                return None
            if act in ("POST if", "PUT by") and not here:
                if name in asked and (asked[name], act) != ("POST if", "POST if"):
                    return None
                asked[name], about[n] = act, None
                continue
            target = min(here) if here else None
            about[n] = target
            if target and act != "POST if":
                if target in changed:
                    return None
                changed.append(target)
                if act.startswith("DELETE"):
                    gone.add(target)
        return [about[n] for n in range(len(acts))]


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(before=st.lists(st.sampled_from(NAMES), max_size=4), acts=ACTS)
def test_a_transaction_does_all_that_a_model_does_or_nothing(
    open_server: Caller, before: list[str], acts: list[tuple[str, str]]
) -> None:
    """What is there afterwards, and in which version, is what the model says; refused, it is what it was."""
    run = next(_RUNS)
    model = Model()
    for name in before:
        id_ = open_server.post("Device", device(f"{run}{name}")).json()["id"]
        model.rows[id_] = [name, 1]
    targets = model.targets(acts)
    entries = [_act(act, run, name, model) for act, name in acts]
    answer = sent(open_server, *entries)
    if targets is None:
        assert answer.status_code in (400, 404, 412), answer.text
    else:
        responses = done(answer)
        for (act, name), target, response in zip(acts, targets, responses, strict=True):
            if act.startswith("DELETE"):
                if target:
                    del model.rows[target]
            elif target and act != "POST if":
                model.rows[target][1] += 1
            elif not target:
                model.rows.setdefault(link(response).partition("/")[2], [name, 1])
    there = {
        each["id"]: [name, int(each["meta"]["versionId"])]
        for name in NAMES
        for each in found(open_server, f"{run}{name}")
    }
    assert there == model.rows


def _act(act: str, run: str, name: str, model: Model) -> dict[str, Any]:
    value = f"{run}{name}"
    id_ = min(model.named(name), default="never")
    match act:
        case "POST":
            return entry("POST", "Device", device(value))
        case "POST if":
            return entry("POST", "Device", device(value), ifNoneExist=by(value))
        case "PUT":
            # The open server would make it: what the model knows as missing is asked for with a version.
            return entry("PUT", f"Device/{id_}", device(value, id=id_), ifMatch="*")
        case "PUT by":
            return entry("PUT", f"Device?{by(value)}", device(value))
        case "PATCH":
            return entry("PATCH", f"Device/{id_}", json_patch({"op": "add", "path": "/status", "value": "active"}))
        case "DELETE":
            return entry("DELETE", f"Device/{id_}")
    return entry("DELETE", f"Device?{by(value)}")
