"""One client for each worker of FastAPI, one token for all of them.

$ export ORDERS_API_TOKEN_URL=https://id.example.com/token
$ export ORDERS_API_CLIENT_ID=orders
$ export ORDERS_API_CLIENT_SECRET=s3cr3t-of-orders
$ export ORDERS_API_CACHE=file
$ uvicorn fastapi_app:app --workers 2
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
from fastapi import FastAPI, HTTPException, Request

from auth_plugins import AuthError
from auth_plugins.httpx import OAuth2Auth

ORDERS = "https://orders.example.com/orders"


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Open the client at the start, and close it at the end."""
    # Runs once in each worker; by ORDERS_API_CACHE they share a token.
    auth = OAuth2Auth.from_env("ORDERS_API")
    async with httpx.AsyncClient(auth=auth) as client:
        app.state.client = client
        yield


app = FastAPI(lifespan=lifespan)


@app.get("/")
async def orders(request: Request) -> Any:
    """Return what the other API answers."""
    try:
        response = await request.app.state.client.get(ORDERS)
    except AuthError as error:  # no token; the text shows no secret
        raise HTTPException(502, str(error)) from error
    return response.json()
