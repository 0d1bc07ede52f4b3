"""The whole OpenAPI document tried by schemathesis, as each role and as nobody.

python -m tests.acceptance.api_fuzz --cases 10000 [--seed 1]

Found is: an answer 5xx, a status or media type that is not documented, a body that is not of its schema, and an answer
2xx to somebody whose role may not. Half of the requests name a scan that exists.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import hypothesis
import schemathesis
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from storage.database import upgrade
from storage.vocabulary import AccountStatus, Role
from tests.integration.test_web_server import served
from tests.unit.web.conftest import Node, make_node
from tests.unit.web.test_web_matrix import ADMIN, ANYBODY, API, CLINICAL
from web.login_limits import LoginLimits

WHO: tuple[Role | None, ...] = (None, Role.TECHNICIAN, Role.DOCTOR, Role.ADMIN)
_CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
_LET_IN: dict[str, tuple[Role | None, ...]] = {ANYBODY: WHO, CLINICAL: (Role.DOCTOR, Role.ADMIN), ADMIN: (Role.ADMIN,)}


@dataclass
class Found:
    """What a round found. answers: how many of each status."""

    cases: int = 0
    answers: Counter[int] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)


class Round:
    """One node and its document."""

    def __init__(self, node: Node, app: Any, base: str, seed: int) -> None:
        self._node = node
        self._context = app.state.context
        self._base = base
        self._seed = seed
        self._scan = node.finished(uid="1.2.840.1").id
        self._flip = itertools.cycle((True, False))
        self.found = Found()
        self.operations = self._operations(app.openapi())

    def _operations(self, document: dict[str, Any]) -> list[Any]:
        schema = schemathesis.openapi.from_dict(document)
        found = [result.ok() for result in schema.get_all_operations()]
        # schemathesis cannot write multipart/related; tests of the DICOMweb inbox attack that.
        return [one for one in found if not one.path.startswith("/dicom-web/")]

    def headers(self, who: Role | None) -> dict[str, str]:
        """A bearer token that holds whatever the requests before did to the account."""
        if who is None:
            return {}
        user = self._node.user(who)
        if user.status is not AccountStatus.ACTIVE or user.role is not who:
            self._node.users.set_role(user.id, who)
            user = self._node.users.set_status(user.id, AccountStatus.ACTIVE)
        return {"Authorization": f"Bearer {self._context.tokens.issue(user.id, user.token_version)}"}

    def run(self, operation: Any, who: Role | None, cases: int) -> None:
        """Try one operation as one role."""
        strategy = operation.as_strategy()
        if list(operation.iter_parameters()) or operation.body:
            wrong = operation.as_strategy(generation_mode=schemathesis.GenerationMode.NEGATIVE)
            strategy = hypothesis.strategies.one_of(strategy, wrong)

        @hypothesis.seed(self._seed)
        @hypothesis.settings(
            max_examples=cases,
            database=None,
            deadline=None,
            phases=[hypothesis.Phase.generate],
            suppress_health_check=list(hypothesis.HealthCheck),
        )
        @hypothesis.given(strategy)
        def attempt(case: Any) -> None:
            self._attempt(operation, who, case)

        attempt()

    def _attempt(self, operation: Any, who: Role | None, case: Any) -> None:
        if "scan_id" in (case.path_parameters or {}) and next(self._flip):
            case.path_parameters["scan_id"] = self._scan
        if operation.path.endswith("/events"):
            case.query = {**(case.query or {}), "seconds": "0"}
        where = f"{operation.method.upper()} {operation.path} as {who.value if who else 'nobody'}"
        # Waiting out the limits on sign-ins is not what is tried here.
        object.__setattr__(self._context, "limits", LoginLimits())
        response = case.call(base_url=self._base, headers={**(case.headers or {}), **self.headers(who)})
        self.found.cases += 1
        self.found.answers[response.status_code] += 1
        may = _LET_IN.get(API[operation.method.upper(), operation.path][0], WHO[1:])
        if who not in may and response.status_code < 300:
            self.found.faults.append(f"{where}: let in with {response.status_code}")
        try:
            case.validate_response(response, checks=_CHECKS)
        except (Exception, BaseExceptionGroup) as error:
            whys = error.exceptions if isinstance(error, BaseExceptionGroup) else (error,)
            said = " ".join(" ".join(str(why) for why in whys).split())
            self.found.faults.append(f"{where}: {response.status_code}: {said[:600]}")


def campaign(folder: Path, *, cases: int, seed: int) -> Found:
    """About `cases` requests over every operation and role, at least one each."""
    empty = folder / "empty.sqlite"
    upgrade(f"sqlite:///{empty}")
    with make_node(folder, empty) as node:
        app = node.app()
        with served(app) as base:
            one = Round(node, app, base, seed)
            pairs = list(itertools.product(one.operations, WHO))
            for operation, who in pairs:
                one.run(operation, who, max(1, round(cases / len(pairs))))
            return one.found


def lines(found: Found) -> Iterator[str]:
    """What to print of it."""
    yield f"{found.cases} requests: " + ", ".join(f"{status} {n}x" for status, n in sorted(found.answers.items()))
    kinds = Counter(fault.partition("\n")[0][:200] for fault in found.faults)
    for fault, count in kinds.most_common():
        yield f"{count}x {fault}"
    yield f"{len(found.faults)} faults"


def main() -> None:
    """Exit with 1 where something was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        found = campaign(Path(folder), cases=chosen.cases, seed=chosen.seed)
    print("\n".join(lines(found)))
    sys.exit(1 if found.faults else 0)


if __name__ == "__main__":
    main()
