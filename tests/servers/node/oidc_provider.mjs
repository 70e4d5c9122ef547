// oidc-provider: keys, certificates, DPoP with nonces, token exchange, refresh tokens that rotate, metadata.
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:https';
import Provider, { errors } from 'oidc-provider';
import { options, serve } from './serve.mjs';

const EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange';
const client = (client_id, token_endpoint_auth_method, more = {}) => ({
  client_id, token_endpoint_auth_method, redirect_uris: [], response_types: [],
  grant_types: ['client_credentials', EXCHANGE],
  ...(/secret/.test(token_endpoint_auth_method) ? { client_secret: options.secret } : {}), ...more,
});
const refreshing = { grant_types: ['refresh_token', 'authorization_code'], redirect_uris: ['https://example.com'],
  response_types: ['code'] };
const jwks = { keys: options.keys };

await serve(async (url) => {
  const tls = createServer({
    cert: readFileSync(options.server.certificate), key: readFileSync(options.server.key),
    ca: readFileSync(options.client.certificate), requestCert: true, rejectUnauthorized: false,
  });
  await new Promise((resolve) => tls.listen(0, '127.0.0.1', resolve));
  const tlsUrl = `https://127.0.0.1:${tls.address().port}`;
  const provider = new Provider(url, {
    clients: [
      client('basic', 'client_secret_basic'), client('post', 'client_secret_post'),
      client('secret-jwt', 'client_secret_jwt'), client('key', 'private_key_jwt', { jwks }),
      client('bound', 'client_secret_basic', { dpop_bound_access_tokens: true }),
      client('bound-key', 'private_key_jwt', { jwks, dpop_bound_access_tokens: true }),
      client('certificate', 'tls_client_auth', { tls_client_auth_subject_dn: 'CN=client.example.com' }),
      client('self-signed', 'self_signed_tls_client_auth', { jwks: { keys: [options.client.jwk] } }),
      client('user', 'client_secret_basic', refreshing),
      client('bound-user', 'none', { ...refreshing, dpop_bound_access_tokens: true }),
    ],
    clientAuthMethods: ['client_secret_basic', 'client_secret_post', 'client_secret_jwt', 'private_key_jwt',
      'tls_client_auth', 'self_signed_tls_client_auth', 'none'],
    cookies: { keys: ['cookies'] },
    discovery: { mtls_endpoint_aliases: {
      token_endpoint: `${tlsUrl}/token`, revocation_endpoint: `${tlsUrl}/token/revocation`,
    } },
    features: {
      clientCredentials: { enabled: true },
      devInteractions: { enabled: false },
      dPoP: { enabled: true, nonceSecret: randomBytes(32), requireNonce: () => true },
      mTLS: {
        enabled: true, tlsClientAuth: true, selfSignedTlsClientAuth: true,
        getCertificate: (ctx) => ctx.socket.getPeerX509Certificate?.(),
        certificateAuthorized: (ctx) => ctx.socket.authorized,
        certificateSubjectMatches: (ctx, _, expected) => ctx.socket.getPeerX509Certificate().subject === expected,
      },
      revocation: { enabled: true },
    },
    findAccount: (_, accountId) => ({ accountId, claims: () => ({ sub: accountId }) }),
    rotateRefreshToken: true,
    ttl: { AccessToken: 3600, ClientCredentials: 3600, Grant: 3600, RefreshToken: 3600 },
  });
  const { AccessToken, ClientCredentials, Grant, RefreshToken } = provider;
  const find = async (token) => await ClientCredentials.find(token) ?? AccessToken.find(token);
  provider.registerGrantType(EXCHANGE, async (ctx) => {
    const subject = await find(ctx.oidc.params.subject_token);
    if (!subject) throw new errors.InvalidGrant('the subject token is not valid');
    const token = new ClientCredentials({ client: ctx.oidc.client, scope: `for:${subject.clientId}` });
    ctx.body = {
      access_token: await token.save(), expires_in: token.expiration, token_type: token.tokenType,
      issued_token_type: 'urn:ietf:params:oauth:token-type:access_token',
    };
  }, ['subject_token', 'subject_token_type']);
  let issued = [];
  for (const kind of ['access_token', 'client_credentials']) provider.on(`${kind}.saved`, (token) => issued.push(token));
  /** A refresh token, as after a login. */
  const login = async (clientId) => {
    const of = { clientId, accountId: 'ada' };
    const grant = new Grant(of);
    grant.addOIDCScope('openid offline_access');
    const token = new RefreshToken({
      client: await provider.Client.find(clientId), accountId: 'ada', grantId: await grant.save(),
      gty: 'authorization_code', scope: 'openid offline_access',
    });
    return token.save();
  };
  return {
    handler: provider.callback(), find, tokenPath: '/token',
    control: {
      revoke: async () => { await Promise.all(issued.map((token) => token.destroy())); issued = []; },
      user: () => login('user'), 'bound-user': () => login('bound-user'),
    },
    userinfo_url: `${url}/me`, tls_url: `${tlsUrl}/token`, issuer: url, more: (handler) => tls.on('request', handler),
  };
});
