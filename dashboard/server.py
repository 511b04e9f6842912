"""The dashboard's server, which `dashboard/run` starts: Streamlit's, with a first page of our own."""

import streamlit as st

from vigie_dashboard.first_page import routes
from vigie_dashboard.systemd import lifespan
from vigie_dashboard.views import NAMES

app = st.App("app.py", lifespan=lifespan, routes=routes(NAMES, st.get_option("server.baseUrlPath")))
