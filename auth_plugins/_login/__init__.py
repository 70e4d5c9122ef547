"""How a person is asked to sign in: a browser is opened, and a page on loopback receives the answer."""
