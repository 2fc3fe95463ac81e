import assert from 'node:assert/strict'
import { generateKeyPairSync } from 'node:crypto'
import { test } from 'node:test'
import { rulesOf } from '../../test/support/outside.ts'
import { keyFile, privateKeyPem } from '../../test/support/service-account.ts'
import { AppError } from '../core/errors.ts'
import { Secret } from '../core/secret.ts'
import { parseServiceAccountKey, serviceAccountGrant } from './google-service-account.ts'

const TOKEN_URL = 'https://oauth2.googleapis.com/token'

function parse(text: string, allowList: readonly string[] = []) {
  return parseServiceAccountKey(new Secret(text), rulesOf(allowList))
}

test('a key file is read, whatever surrounds it', () => {
  const text = keyFile()
  for (const one of [
    text,
    `\uFEFF${text}`,
    `\n  ${text}\r\n`,
    JSON.stringify(JSON.parse(text), null, 2),
  ]) {
    const { privateKey, ...rest } = parse(one)
    assert.equal(privateKey.reveal(), privateKeyPem)
    assert.deepEqual(rest, {
      clientEmail: 'robot@test-project.iam.gserviceaccount.com',
      privateKeyId: 'key-1',
      projectId: 'test-project',
      tokenUrl: new URL(TOKEN_URL),
    })
  }
})

test('what may be missing has its default', () => {
  const bare = parse(
    keyFile({ token_uri: undefined, universe_domain: undefined, project_id: undefined }),
  )
  assert.equal(bare.tokenUrl.href, TOKEN_URL)
  assert.equal(bare.projectId, '')
})

test('of duplicate members the last counts, for the check and for the use', () => {
  const twice = keyFile().replace('{', '{"token_uri":"https://evil.example/token",')
  assert.equal(parse(twice).tokenUrl.href, TOKEN_URL)
  const evil = keyFile().replace(/\}$/, ',"token_uri":"https://evil.example/token"}')
  assert.throws(() => parse(evil), { code: 'endpoint_forbidden' })
})

test('the token endpoint is Google’s, or one that the operator allowed', () => {
  const refused = [
    'https://evil.example/token',
    'https://oauth2.googleapis.com.evil.example/token',
    'https://oauth2.googleapis.com:8443/token',
    'http://oauth2.googleapis.com/token',
    'http://169.254.169.254/',
    'http://metadata.google.internal/token',
    'http://127.0.0.1:9/token',
    'https://10.0.0.1/token',
    'file:///etc/passwd',
    'https://oauth2.googleapis.com@evil.example/token',
    '//evil.example/token',
    'not a url',
    '',
    42,
    null,
  ]
  for (const token_uri of refused) {
    assert.throws(
      () => parse(keyFile({ token_uri })),
      (error: unknown) =>
        error instanceof AppError &&
        ['endpoint_forbidden', 'invalid_config', 'invalid_credential'].includes(error.code),
      String(token_uri),
    )
  }
  const lab = 'http://127.0.0.1:8080/token'
  assert.equal(parse(keyFile({ token_uri: lab }), ['127.0.0.1:8080']).tokenUrl.href, lab)
  assert.throws(() => parse(keyFile({ token_uri: lab }), ['127.0.0.1:8081']))
  const inside = 'https://idp.internal.example/token'
  assert.equal(
    parse(keyFile({ token_uri: inside }), ['idp.internal.example']).tokenUrl.href,
    inside,
  )
})

test('a file that could never bring a token is refused in words that hold nothing of the key', () => {
  const ec = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey
  const cases: readonly (readonly [text: string, message: RegExp])[] = [
    ['', /not a JSON object/],
    ['not json', /not a JSON object/],
    ['[]', /not a JSON object/],
    ['null', /not a JSON object/],
    ['"text"', /not a JSON object/],
    [keyFile().slice(0, -1), /not a JSON object/],
    [privateKeyPem, /not a JSON object/],
    [keyFile().padEnd(70_000, ' ').replace(/ $/, '.'), /larger than 64 KiB/],
    [keyFile({ type: undefined }), /"type" is not "service_account"/],
    [keyFile({ type: 'authorized_user' }), /"type" is not "service_account"/],
    [keyFile({ universe_domain: 's3nsapis.fr' }), /"universe_domain"/],
    [keyFile({ client_email: undefined }), /"client_email" is missing/],
    [keyFile({ client_email: 7 }), /"client_email" is missing/],
    [keyFile({ client_email: 'robot' }), /not an e-mail address/],
    [keyFile({ client_email: 'robot@x\r\ny' }), /not an e-mail address/],
    [keyFile({ private_key_id: undefined }), /"private_key_id" is missing/],
    [keyFile({ private_key: undefined }), /"private_key" is missing/],
    [keyFile({ private_key: '' }), /"private_key" is missing/],
    [keyFile({ private_key: 'not a key' }), /not a readable PEM/],
    [keyFile({ private_key: ec.export({ type: 'pkcs8', format: 'pem' }) }), /type "ec"/],
    ['{"__proto__":{"type":"service_account"}}', /"type" is not/],
  ]
  for (const [text, message] of cases) {
    assert.throws(
      () => parse(text),
      (error: unknown) => {
        assert.ok(error instanceof AppError, text.slice(0, 40))
        assert.equal(error.code, 'invalid_credential')
        assert.match(error.message, message)
        assert.ok(!`${error.message} ${error.stack}`.includes(privateKeyPem.slice(28, 60)))
        assert.equal(error.cause, undefined)
        return true
      },
    )
  }
})

test('the grant is the JWT bearer form with an assertion for one hour', () => {
  const key = parse(keyFile())
  const request = serviceAccountGrant(key, 1_800_000_000_999)
  assert.equal(request.url.href, TOKEN_URL)
  assert.equal(request.leadMs(3_600_000), 300_000)
  assert.equal(request.body.kind, 'form')
  assert.deepEqual(request.body.kind === 'form' ? [...request.body.fields] : [], [
    ['grant_type', 'urn:ietf:params:oauth:grant-type:jwt-bearer'],
    [
      'assertion',
      {
        kind: 'assertion',
        algorithm: 'RS256',
        privateKey: key.privateKey,
        header: { kid: 'key-1' },
        claims: {
          iss: 'robot@test-project.iam.gserviceaccount.com',
          scope: 'https://www.googleapis.com/auth/cloud-platform',
          aud: TOKEN_URL,
          iat: 1_800_000_000,
          exp: 1_800_003_600,
        },
        hasJti: false,
      },
    ],
  ])
})
