"""The Hub on loopback with what publishing needs beyond it: removing a repository, an account that may only read."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from tests.local_models import local_hub


def publishing_hub(shared: Path, root: Path, **options: Any) -> Any:
    """A `LocalHub` that removes repositories and knows the fault ``stuck``, of a removal that fails.

    Its `role` is what the token may do.

    Args:
        shared: the folder of `tools/local_hub.py`.
        root: what it serves at first.
        options: as `LocalHub` takes them.
    """
    module = local_hub(shared)

    class Handler(module.Handler):  # type: ignore[name-defined, misc]
        def remove(self) -> None:
            asked = json.loads(self.body)
            repo = f"{asked.get('organization') or self.hub.user}/{asked['name']}"
            if not self.may_write(repo):
                return
            if self.hub.take(("stuck",), repo):
                self.refuse(500, None, "Internal Error")
                return
            shutil.rmtree(self.hub.written / repo)
            self.hub.private.discard(repo)
            self.answer(200)

        def whoami(self) -> None:
            if self.hub.role == "write":
                super().whoami()
            else:
                token = {"type": "access_token", "accessToken": {"role": self.hub.role}}
                self.answer(200, {"type": "user", "name": self.hub.user, "orgs": [], "auth": token})

    route = (r"/api/repos/delete", "remove")
    if route not in module.ROUTES:
        module.ROUTES.insert(0, route)
    hub = module.LocalHub(root, **options)
    hub.role = "write"
    hub.server.RequestHandlerClass = type("Handler", (Handler,), {"hub": hub})
    return hub
