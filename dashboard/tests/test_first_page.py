"""What a browser gets first, and what Streamlit's page must be for that."""

import unittest

from starlette.applications import Starlette
from starlette.requests import Request

from vigie_dashboard.first_page import first_page, routes
from vigie_dashboard.views import NAMES


def answered(address: str, language: str, base_path: str = "") -> str | None:
    """The page at an address for a reader of a language; None if it is nobody's."""
    path, _, query = address.partition("?")
    scope = {
        "type": "http", "method": "GET", "path": path, "query_string": query.encode(),
        "headers": [(b"accept-language", language.encode())],
    }  # fmt: skip
    for route in Starlette(routes=routes(NAMES, base_path)).routes:
        if route.matches(scope)[0].value == 2:
            return route.endpoint(Request(scope)).body.decode()
    return None


class FirstPage(unittest.TestCase):
    def test_it_tells_where_the_server_is_before_streamlit_asks(self):
        page = first_page("fr", "Vigie")
        self.assertLess(page.index("BACKEND_BASE_URL"), page.index("<script type"))
        for wanted in ('<html lang="fr"', "<title>Vigie</title>", 'rel="shortcut icon" href="data:image/png;base64,'):
            self.assertEqual(page.count(wanted), 1, wanted)
        self.assertNotIn("<title>Streamlit", page)

    def test_every_view_has_it(self):
        for address in ("/", *(f"/{name}" for name in NAMES)):
            self.assertIn("BACKEND_BASE_URL", answered(address, "en") or "", address)
        self.assertIsNone(answered("/favicon.png", "en"))

    def test_below_a_proxys_path(self):
        self.assertIsNotNone(answered("/air/trend", "en", "air/"))
        self.assertIsNotNone(answered("/air/", "en", "/air"))
        self.assertIsNone(answered("/trend", "en", "air"))

    def test_its_language_is_that_of_the_address_then_the_browsers(self):
        self.assertIn('lang="fr"', answered("/trend", "fr-BE,fr;q=0.9,en;q=0.5"))
        self.assertIn('lang="en"', answered("/trend?lang=en", "fr-BE,fr;q=0.9"))
        self.assertIn('lang="en"', answered("/", "de"))


if __name__ == "__main__":
    unittest.main()
