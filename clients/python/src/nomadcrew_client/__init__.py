"""A client of NomadCrew's API: `Client` blocks, `AsyncClient` is for asyncio; `models` has the bodies."""

from nomadcrew_client import models
from nomadcrew_client.calls import Part, Refused
from nomadcrew_client.client import AsyncClient, Client
from nomadcrew_client.exchange import Tokens

__all__ = ["AsyncClient", "Client", "Part", "Refused", "Tokens", "models"]
