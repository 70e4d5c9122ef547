// @node-oauth/oauth2-server, with its tokens in memory: secrets, passwords, and refresh tokens that rotate.
import OAuth2Server, { Request, Response } from '@node-oauth/oauth2-server';
import { text } from 'node:stream/consumers';
import { options, serve } from './serve.mjs';

const client = { id: 'client', grants: ['client_credentials', 'password', 'refresh_token'] };
const access = new Map();
const refresh = new Map();

const server = new OAuth2Server({
  model: {
    getClient: (id, secret) => id === 'client' && secret === options.secret && client,
    getUser: (name, password) => name === 'ada' && password === options.secret && { name },
    getUserFromClient: () => ({ name: 'client' }),
    saveToken: (token, of, user) => {
      const all = { ...token, client: of, user };
      access.set(token.accessToken, all);
      if (token.refreshToken) refresh.set(token.refreshToken, all);
      return all;
    },
    getAccessToken: (token) => access.get(token),
    getRefreshToken: (token) => refresh.get(token),
    revokeToken: (token) => refresh.delete(token.refreshToken),
    verifyScope: () => true,
  },
});

await serve((url) => ({
  handler: async (incoming, outgoing) => {
    const body = Object.fromEntries(new URLSearchParams(await text(incoming)));
    const request = new Request({ method: incoming.method, headers: incoming.headers, query: {}, body });
    const response = new Response();
    await server.token(request, response).catch(() => {}); // the answer says it
    outgoing.writeHead(response.status, { ...response.headers, 'content-type': 'application/json' });
    outgoing.end(JSON.stringify(response.body));
  },
  find: (token) => access.get(token),
  tokenPath: '/token',
  control: { revoke: () => access.clear() },
}));
