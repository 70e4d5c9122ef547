"""What a user's type checker sees of the bridges; nothing runs it."""

from __future__ import annotations

import imaplib
import smtplib

from auth_plugins import TokenSource
from auth_plugins.bridges import (
    AsyncAzureCredential,
    AsyncAzureReplayPolicy,
    AzureCredential,
    AzureReplayPolicy,
    OAuth2Middleware,
    kafka_oauth_cb,
    mail_login,
)

source = TokenSource.from_env("ACME")
text_and_end: tuple[str, float] = kafka_oauth_cb(source)("")
mail_login(imaplib.IMAP4_SSL("imap.example.com"), "me", source)
mail_login(smtplib.SMTP("smtp.example.com"), "me", source)
OAuth2Middleware(source, allowed_hosts=["orders.example.com"])
credentials: list[AzureCredential | AsyncAzureCredential] = [AzureCredential(source), AsyncAzureCredential(source)]
policies: list[AzureReplayPolicy] = [AzureReplayPolicy(source), AsyncAzureReplayPolicy(source)]
