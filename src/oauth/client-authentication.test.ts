import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Secret } from '../core/secret.ts'
import { type ClientAuthentication, proveClient } from './client-authentication.ts'

const clientSecret = new Secret('a:b +%&=~é')

function headerOf(client: ClientAuthentication): string {
  const value = proveClient(client, 0).headers.get('authorization')
  assert.ok(value instanceof Secret)
  return Buffer.from(value.reveal().replace('Basic ', ''), 'base64').toString()
}

test('Basic form-encodes id and secret, so that a colon in either does no harm', () => {
  const client = { kind: 'basic', clientId: 'my:app é', clientSecret, isRaw: false } as const
  assert.equal(headerOf(client), 'my%3Aapp+%C3%A9:a%3Ab+%2B%25%26%3D%7E%C3%A9')
  assert.equal(headerOf({ ...client, isRaw: true }), 'my:app é:a:b +%&=~é')
})

test('every method proves the client once: in the header, or in the form', () => {
  const jwt = {
    algorithm: 'ES256',
    privateKey: new Secret('pem'),
    keyId: '',
    audience: 'a',
  } as const
  const cases: readonly (readonly [ClientAuthentication, headers: number, fields: string])[] = [
    [{ kind: 'none', clientId: '' }, 0, ''],
    [{ kind: 'none', clientId: 'app' }, 0, 'client_id'],
    [{ kind: 'basic', clientId: 'app', clientSecret, isRaw: false }, 1, ''],
    [{ kind: 'post', clientId: 'app', clientSecret }, 0, 'client_id client_secret'],
    [
      { kind: 'private_key_jwt', clientId: 'app', ...jwt },
      0,
      'client_assertion_type client_assertion',
    ],
  ]
  for (const [client, headers, fields] of cases) {
    const proof = proveClient(client, 0)
    assert.equal(proof.headers.size, headers, client.kind)
    assert.equal(proof.fields.map(([name]) => name).join(' '), fields)
  }
})

test('a client assertion names client and audience, lives five minutes, and has a jti', () => {
  const key = { privateKey: new Secret('pem'), algorithm: 'PS256', keyId: 'k' } as const
  const client = {
    kind: 'private_key_jwt',
    clientId: 'app',
    audience: 'https://idp',
    ...key,
  } as const
  const assertion = new Map(proveClient(client, 1_800_000_000_999).fields).get('client_assertion')
  assert.deepEqual(assertion, {
    kind: 'assertion',
    algorithm: 'PS256',
    privateKey: key.privateKey,
    header: { kid: 'k' },
    claims: {
      iss: 'app',
      sub: 'app',
      aud: 'https://idp',
      iat: 1_800_000_000,
      exp: 1_800_000_300,
    },
    hasJti: true,
  })
})
