"""What one control is, and how it reads its JSON."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import orjson
from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from deploy.sandbox import errors

Action = Callable[[Request], Awaitable[Any]]


class Wish(BaseModel):
    """The body of a control; unknown members are refused."""

    model_config = ConfigDict(extra="forbid")


Body = TypeVar("Body", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Control:
    """One method and path under `/_sandbox`; its action's docstring says what it does."""

    method: str
    path: str
    action: Action

    def route(self) -> Route:
        """The route that answers with the action's result as JSON."""

        async def endpoint(request: Request) -> Response:
            answer = await self.action(request)
            if request.method == "POST" and "text/html" in request.headers.get("accept", ""):
                return RedirectResponse("/", status_code=303)  # A button of the page was pressed.
            return Response(orjson.dumps(answer), media_type="application/json")

        return Route(f"/_sandbox{self.path}", endpoint, methods=[self.method])

    def show(self) -> dict[str, str]:
        """For the list of controls."""
        return {
            "method": self.method,
            "path": f"/_sandbox{self.path}".replace(":int", ""),
            "does": self.action.__doc__ or "",
        }


async def read(request: Request, model: type[Body]) -> Body:
    """The request's JSON, an empty body being `{}`; raises InvalidParameter naming every wrong member."""
    try:
        return model.model_validate_json(await request.body() or b"{}")
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
        raise errors.InvalidParameter(problems) from error
