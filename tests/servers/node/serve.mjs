// What the servers share: a free loopback port, the protected API, and what the tests ask for at /control.
import { createHash, randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import { EmbeddedJWK, calculateJwkThumbprint, jwtVerify } from 'jose';

/** What the tests set: secrets, keys and certificates. */
export const options = JSON.parse(process.argv[2]);
process.stdin.resume().on('end', () => process.exit()); // the tests ended
const statuses = []; // of token requests
let nonce = randomUUID(); // of the API

/** The answer of the API: *find* returns what is known of a token that is valid, with the key it is bound to. */
async function api(request, url, find) {
  const [scheme, token] = (request.headers.authorization ?? '').split(' ');
  const found = token && await find(token);
  const expected = found?.jkt ? 'DPoP' : 'Bearer';
  const challenge = (error) => [401, { 'www-authenticate': `${expected} error="${error}"`, 'dpop-nonce': nonce }];
  if (!found || scheme !== expected) return challenge('invalid_token');
  if (!found.jkt) return [200, {}];
  const { payload, protectedHeader } = await jwtVerify(request.headers.dpop, EmbeddedJWK, { typ: 'dpop+jwt' });
  const ath = createHash('sha256').update(token).digest('base64url');
  if (payload.nonce !== nonce) return challenge('use_dpop_nonce');
  const good = payload.ath === ath && payload.htm === request.method && payload.htu === `${url}/api`
    && await calculateJwkThumbprint(protectedHeader.jwk) === found.jkt;
  return good ? [200, {}] : challenge('invalid_dpop_proof');
}

/** Serve what *make(url)* returns: handler, find, revoke, tokenPath, and facts for the tests. */
export async function serve(make) {
  const server = createServer();
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${server.address().port}`;
  const { handler, find, control, tokenPath, ...facts } = await make(url);
  const controls = { ...control, statuses: () => statuses.splice(0), nonce: () => { nonce = randomUUID(); } };
  const count = (request, response) => {
    if (request.url === tokenPath) response.on('finish', () => statuses.push(response.statusCode));
    return handler(request, response);
  };
  server.on('request', async (request, response) => {
    const [, place, name] = request.url.split('/');
    if (place === 'api') {
      const [status, headers] = await api(request, url, find);
      response.writeHead(status, headers).end();
    } else if (place === 'control') {
      response.end(JSON.stringify(await controls[name]() ?? null));
    } else {
      count(request, response);
    }
  });
  facts.more?.(count);
  console.log(JSON.stringify({ url, api_url: `${url}/api`, token_url: url + tokenPath, ...facts }));
}
