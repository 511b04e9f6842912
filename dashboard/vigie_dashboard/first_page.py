"""What a browser gets first, before the application runs: Streamlit's page, made fit for its address and its reader."""

import base64
import importlib.resources
import pathlib
import re
from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import HTMLResponse
from starlette.routing import Route

from vigie_dashboard.language import language_of

ICON = pathlib.Path(__file__).with_name("icon.png")

# Streamlit's program takes the last part of an address for a folder that it may have been put into, asks there first,
# and finds nothing: two errors in the console whenever /trend is opened by its address. Where its server is, a host may
# tell it. Browsers are also told that the page can be dark, so that it does not begin with a white flash.
HEAD = """
    <meta name="color-scheme" content="light dark" />
    <script>
      window.__streamlit = { BACKEND_BASE_URL: new URL(".", location.href).href }
    </script>
"""


def routes(views: Sequence[str], base_path: str) -> list[Route]:
    """For the address of each view, and that of none, below the path at which a proxy has put the dashboard."""
    base = "/" + base_path.strip("/")
    paths = [base.rstrip("/") + "/", *(f"{base.rstrip('/')}/{view}" for view in views)]
    return [Route(path, _answer) for path in paths]


def _answer(request: Request) -> HTMLResponse:
    accepted = request.headers.get("accept-language", "").split(",")[0].split(";")[0].strip()
    language = language_of(request.query_params.get("lang"), accepted)
    return HTMLResponse(
        first_page(language.code, language.text("application.title")), headers={"Cache-Control": "no-cache"}
    )


def first_page(code: str, title: str) -> str:
    """Streamlit's page in a language, which tells a screen reader how to speak."""
    page = (importlib.resources.files("streamlit") / "static" / "index.html").read_text()
    icon = f"data:image/png;base64,{base64.b64encode(ICON.read_bytes()).decode()}"
    page = re.sub(r'<html lang="[^"]*"', f'<html lang="{code}"', page, count=1)
    page = re.sub(r"<title>[^<]*</title>", f"<title>{title}</title>", page, count=1)
    page = re.sub(r'(<link rel="shortcut icon" href=")[^"]*', rf"\g<1>{icon}", page, count=1)
    return page.replace("<head>", f"<head>{HEAD}", 1)
