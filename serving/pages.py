"""What the endpoint shows: its page, its OpenAPI description, the models in charge and its metrics."""

from collections.abc import Mapping

from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import TypeAdapter
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from mliot.usecase import UseCase
from serving.counters import Counters
from serving.endpoint import Endpoint
from serving.openapi import document
from serving.schema import ModelState
from warehouse.columns import Entry

_MODELS = TypeAdapter(list[ModelState])

# BentoML's own page loads a tag manager from the web; this one shows the same Swagger UI from the files that BentoML brings.
_PAGE = """<!doctype html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <meta name="viewport" content="width=device-width, initial-scale=1">
  <title>MLIoT prediction endpoint</title>
  <link rel="stylesheet" href="./static_content/swagger-ui.css">
  <link rel="icon" href="data:,">
  <style>
    body { margin: 0; background: #fafafa; }
    .swagger-ui .info { margin: 24px 0; }
    .swagger-ui .scheme-container, .swagger-ui .operation-servers { display: none; }
    .swagger-ui .info table { width: auto; margin: 8px 0 24px; }
    .swagger-ui .info table td, .swagger-ui .info table th { padding: 4px 20px 4px 0 !important; vertical-align: baseline; }
    .swagger-ui .info h3 { margin-bottom: 4px; }
  </style>
</head>
<body>
  <div id="page"></div>
  <script src="./static_content/swagger-ui-bundle.js"></script>
  <script>
    SwaggerUIBundle({
      url: "./docs.json", dom_id: "#page", deepLinking: true, docExpansion: "list", tryItOutEnabled: true,
      defaultModelsExpandDepth: 0, defaultModelExpandDepth: 6, validatorUrl: null
    });
  </script>
</body>
</html>
"""


def pages(
    endpoint: Endpoint, counters: Counters, use_cases: Mapping[str, UseCase], columns: Mapping[str, Mapping[str, Entry]]
) -> Starlette:
    """The pages as an app to be mounted at ``/``; they stand before BentoML's own of the same paths.

    ``columns`` are those of each feature model.
    """

    async def index(_: Request) -> Response:
        return HTMLResponse(_PAGE)

    async def docs(_: Request) -> Response:
        return JSONResponse(document(use_cases, columns, endpoint.typical()))

    async def models(_: Request) -> Response:
        return Response(_MODELS.dump_json(endpoint.models()), media_type="application/json")

    async def health(_: Request) -> Response:
        return Response(endpoint.health().model_dump_json(), media_type="application/json")

    async def metrics(_: Request) -> Response:
        return Response(counters.exposition(), media_type=CONTENT_TYPE_LATEST)

    answers = {"/": index, "/docs.json": docs, "/models": models, "/health": health, "/metrics": metrics}
    return Starlette(routes=[Route(path, answer) for path, answer in answers.items()])
