// better-auth with its oauth-provider, in memory: secrets, keys, DPoP without nonces, refresh tokens that rotate, metadata.
import { oauthProvider } from '@better-auth/oauth-provider';
import { betterAuth } from 'better-auth';
import { memoryAdapter } from 'better-auth/adapters/memory';
import { toNodeHandler } from 'better-auth/node';
import { createHash, randomBytes } from 'node:crypto';
import { options, serve } from './serve.mjs';

const hash = (text) => createHash('sha256').update(text).digest('base64url');
const MODELS = ['user', 'session', 'account', 'verification', 'oauthClient', 'oauthAccessToken', 'oauthRefreshToken',
  'oauthConsent', 'oauthClientAssertion', 'oauthResource', 'oauthClientResource'];

await serve(async (url) => {
  const tables = Object.fromEntries(MODELS.map((name) => [name, []]));
  const auth = betterAuth({
    baseURL: url,
    basePath: '/auth',
    database: memoryAdapter(tables),
    logger: { disabled: true },
    plugins: [oauthProvider({
      consentPage: '/consent', disableJwtPlugin: true, loginPage: '/login', scopes: ['read', 'offline_access'],
      silenceWarnings: { oauthAuthServerConfig: true, openidConfig: true },
      storeClientSecret: { encrypt: async (text) => text, decrypt: async (text) => text },
    })],
    rateLimit: { enabled: false },
    secret: randomBytes(32).toString('hex'),
    telemetry: { enabled: false },
  });
  const { adapter } = await auth.$context;
  const create = (model, data) => adapter.create({ model, data });
  const client = (clientId, tokenEndpointAuthMethod, more = {}) => create('oauthClient', {
    clientId, tokenEndpointAuthMethod, clientSecret: options.secret, redirectUris: [],
    clientCredentialsScopes: ['read'], grantTypes: ['client_credentials'], ...more,
  });
  await client('basic', 'client_secret_basic');
  await client('post', 'client_secret_post');
  await client('key', 'private_key_jwt', { jwks: JSON.stringify({ keys: options.keys }) });
  await client('bound', 'client_secret_basic', { dpopBoundAccessTokens: true });
  await client('user', 'client_secret_basic', { grantTypes: ['refresh_token'] });
  const user = await create('user', { name: 'ada', email: 'ada@example.com' });
  /** A refresh token, as after a login. */
  const login = async () => {
    const token = randomBytes(32).toString('hex');
    await create('oauthRefreshToken', {
      clientId: 'user', userId: user.id, token: hash(token), scopes: ['read', 'offline_access'],
      expiresAt: new Date(Date.now() + 3600_000),
    });
    return token;
  };
  return {
    handler: toNodeHandler(auth),
    find: (token) => {
      const found = tables.oauthAccessToken.find((row) => row.token === hash(token));
      return found && { jkt: found.confirmation && JSON.parse(found.confirmation).jkt };
    },
    control: { revoke: () => { tables.oauthAccessToken.length = 0; }, user: login },
    tokenPath: '/auth/oauth2/token', issuer: `${url}/auth`,
  };
});
