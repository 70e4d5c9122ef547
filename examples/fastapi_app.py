"""A FastAPI service that calls an API with a token: one client for each worker, one token for all workers.

$ export ORDERS_TOKEN_URL=https://id.example.com/token ORDERS_CLIENT_ID=orders ORDERS_CLIENT_SECRET=s3cr3t-of-orders
$ export ORDERS_CACHE=file
$ uvicorn fastapi_app:app --workers 2
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
from fastapi import FastAPI, HTTPException, Request

from auth_plugins import AuthError
from auth_plugins.httpx import OAuth2Auth


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Open the client before the first request, and close it after the last one."""
    # Each worker runs this once. ORDERS_CACHE=file lets the workers share the token.
    async with httpx.AsyncClient(auth=OAuth2Auth.from_env("ORDERS")) as client:
        app.state.client = client
        yield


app = FastAPI(lifespan=lifespan)


@app.get("/")
async def orders(request: Request) -> Any:
    """Return what the other API answers."""
    try:
        response = await request.app.state.client.get("https://orders.example.com/orders")
    except AuthError as error:  # no token: the text names the cause, and no secret
        raise HTTPException(502, str(error)) from error
    return response.json()
