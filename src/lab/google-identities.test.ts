// Goal: the pretend Google is as strict with federated, impersonated and signed-in identities as with
// keys. Method: good requests by hand, and each of them bent in one place.
import assert from 'node:assert/strict'
import { createHash, createHmac } from 'node:crypto'
import { test } from 'node:test'
import {
  CLAUDE_PATH,
  claudeCall,
  mintToken,
  type Received,
  type Sent,
  send,
  signAssertion,
  startTestLab,
  type TestLab,
} from '../../test/support/lab.ts'

type Texts = Readonly<Record<string, string>>

const ROBOT = 'robot@demo-project.iam.gserviceaccount.com'
const EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange'
const JWT_TYPE = 'urn:ietf:params:oauth:token-type:jwt'
const AWS_TYPE = 'urn:ietf:params:aws:token-type:aws4_request'
const SCOPE = 'https://www.googleapis.com/auth/cloud-platform'

function fileOf({ lab }: TestLab, kind: string, parameters: Texts = {}) {
  return JSON.parse(lab.googleCredentials(kind, parameters) ?? 'null')
}

function form(
  fields: Readonly<Record<string, string | undefined>>,
  more: Sent['headers'] = [],
): Sent {
  const given = Object.entries(fields).flatMap(([name, value]): [string, string][] =>
    value === undefined ? [] : [[name, value]],
  )
  const headers: Sent['headers'] = [['content-type', 'application/x-www-form-urlencoded'], ...more]
  return { headers, body: new URLSearchParams(given).toString() }
}

/** `200`, or the status with the error and its description. */
function verdictOf({ status, text }: Received): string {
  if (status === 200) return '200'
  const { error, error_description: description = '' } = JSON.parse(text)
  return typeof error === 'string'
    ? `${status} ${error} ${description}`
    : `${status} ${error.status}`
}

test('the lab hands out a file of every kind, and knows no other', async () => {
  await using world = await startTestLab()
  for (const kind of [
    'authorized_user',
    'external_account_authorized_user',
    'impersonated_service_account',
  ])
    assert.equal(fileOf(world, kind).type, kind)
  for (const kind of ['url', 'aws', 'file', 'executable'])
    assert.equal(fileOf(world, `external_account_${kind}`).type, 'external_account')
  for (const kind of ['', 'external_account', '__proto__'])
    assert.equal(world.lab.googleCredentials(kind), null)
  const { origin } = world.lab
  const { text } = await send(
    `${origin}/lab/google-credentials.json?kind=external_account_file&file=/t`,
  )
  assert.equal(JSON.parse(text).credential_source.file, '/t')
  assert.equal((await send(`${origin}/lab/google-credentials.json?kind=x`)).status, 404)
})

test('a sign-in is refreshed by its own client and token alone', async () => {
  await using world = await startTestLab()
  const { client_id, client_secret, refresh_token } = fileOf(world, 'authorized_user')
  const good = { grant_type: 'refresh_token', refresh_token, client_id, client_secret }
  const ask = (
    change: Readonly<Record<string, string | undefined>>,
    headers: Sent['headers'] = [],
  ) => send(`${world.lab.origin}/token`, form({ ...good, ...change }, headers)).then(verdictOf)
  assert.equal(await ask({}), '200')
  assert.equal(await ask({}), '200', 'the refresh token stays the same')
  assert.match(
    await ask({ refresh_token: 'x' }),
    /^400 invalid_grant Token has been expired or revoked/,
  )
  assert.match(await ask({ client_secret: 'x' }), /^401 invalid_client/)
  assert.match(await ask({ client_id: 'x' }), /^401 invalid_client/)
  assert.match(await ask({ client_secret: undefined }), /^400 invalid_request Missing/)
  assert.match(await ask({ assertion: 'x' }), /^400 invalid_request Unknown/)
  assert.match(await ask({}, [['authorization', 'Basic eA==']]), /^400 invalid_request/)
})

test('a workforce sign-in rotates, and an old refresh token is dead', async () => {
  await using world = await startTestLab()
  const { client_id, client_secret, refresh_token } = fileOf(
    world,
    'external_account_authorized_user',
  )
  const basic = `Basic ${Buffer.from(`${client_id}:${client_secret}`).toString('base64')}`
  const ask = (token: string, authorization = basic) =>
    send(
      `${world.lab.origin}/v1/oauthtoken`,
      form({ grant_type: 'refresh_token', refresh_token: token }, [
        ['authorization', authorization],
      ]),
    )
  const first = await ask(refresh_token)
  const next = JSON.parse(first.text).refresh_token
  assert.notEqual(next, refresh_token)
  assert.match(verdictOf(await ask(refresh_token)), /^400 invalid_grant/)
  assert.equal(verdictOf(await ask(next)), '200')
  assert.match(verdictOf(await ask(next, 'Basic eDp5')), /^401 invalid_client/)
})

test('a subject token is exchanged only for its own pool, and while it is fresh', async () => {
  await using world = await startTestLab()
  const { lab } = world
  const { audience } = fileOf(world, 'external_account_url')
  const subject = lab.identityToken({ audience }).reveal()
  const good = {
    ...{ grant_type: EXCHANGE, audience, scope: SCOPE, subject_token: subject },
    requested_token_type: 'urn:ietf:params:oauth:token-type:access_token',
    subject_token_type: JWT_TYPE,
  }
  const ask = (change: Readonly<Record<string, string | undefined>>) =>
    send(`${lab.origin}/v1/token`, form({ ...good, ...change })).then(verdictOf)
  const token = (options: { audience: string; lifetimeMs?: number }) =>
    lab.identityToken(options).reveal()
  assert.equal(await ask({}), '200')
  assert.match(await ask({ audience: `${audience}x` }), /^400 invalid_target/)
  assert.match(await ask({ scope: 'openid' }), /^400 invalid_scope/)
  assert.match(await ask({ subject_token: 'x.y.z' }), /^400 invalid_grant Error connecting/)
  const elsewhere = token({ audience: 'other' })
  assert.match(await ask({ subject_token: elsewhere }), /^400 invalid_grant The audience/)
  const past = token({ audience, lifetimeMs: -1_000 })
  assert.match(await ask({ subject_token: past }), /^400 invalid_grant ID Token issued at .* stale/)
  assert.match(await ask({ subject_token_type: 'jwt' }), /^400 invalid_request/)
  assert.match(await ask({ requested_token_type: 'jwt' }), /^400 invalid_request/)
  assert.match(await ask({ subject_token: undefined }), /^400 invalid_request Missing/)
  assert.match(await ask({ grant_type: 'refresh_token' }), /^400 unsupported_grant_type/)
})

/** Signs a GetCallerIdentity by the letter of AWS's documentation. */
function callerIdentity(
  keys: { readonly AccessKeyId: string; readonly SecretAccessKey: string; readonly Token: string },
  change: { readonly nowMs: number; readonly audience: string; readonly host?: string },
): string {
  const host = change.host ?? 'sts.eu-central-1.amazonaws.com'
  const date = new Date(change.nowMs).toISOString().replace(/[:-]|\.\d{3}/g, '')
  const headers: Texts = {
    host,
    'x-amz-date': date,
    'x-amz-security-token': keys.Token,
    'x-goog-cloud-target-resource': change.audience,
  }
  const query = 'Action=GetCallerIdentity&Version=2011-06-15'
  const names = Object.keys(headers).join(';')
  const lines = Object.entries(headers).map(([name, value]) => `${name}:${value}`)
  const hash = (text: string) => createHash('sha256').update(text).digest('hex')
  const canonical = ['POST', '/', query, ...lines, '', names, hash('')].join('\n')
  const scope = `${date.slice(0, 8)}/eu-central-1/sts/aws4_request`
  let key: Uint8Array = Buffer.from(`AWS4${keys.SecretAccessKey}`)
  for (const part of scope.split('/')) key = createHmac('sha256', key).update(part).digest()
  const text = ['AWS4-HMAC-SHA256', date, scope, hash(canonical)].join('\n')
  const signature = createHmac('sha256', key).update(text).digest('hex')
  const authorization = `AWS4-HMAC-SHA256 Credential=${keys.AccessKeyId}/${scope}, SignedHeaders=${names}, Signature=${signature}`
  const list = Object.entries({ ...headers, authorization }).map(([key, value]) => ({ key, value }))
  const url = `https://${host}/?${query}`
  return encodeURIComponent(JSON.stringify({ url, method: 'POST', headers: list, body: '' }))
}

test('an AWS machine proves itself by a signed GetCallerIdentity, made now and for this pool', async () => {
  await using world = await startTestLab()
  const { lab, clock } = world
  const { audience, credential_source: source } = fileOf(world, 'external_account_aws')
  assert.equal((await send(source.url)).status, 401, 'no session')
  const session = await send(source.imdsv2_session_token_url, {
    ...{ method: 'PUT', headers: [['x-aws-ec2-metadata-token-ttl-seconds', '300']] },
  })
  const headers: Sent['headers'] = [['x-aws-ec2-metadata-token', session.text]]
  assert.equal((await send(source.region_url, { headers })).text, 'eu-central-1b')
  const role = (await send(source.url, { headers })).text
  const keys = JSON.parse((await send(`${source.url}/${role}`, { headers })).text)
  const ask = (subject_token: string) =>
    send(
      `${lab.origin}/v1/token`,
      form({
        ...{ grant_type: EXCHANGE, audience, scope: SCOPE, subject_token },
        requested_token_type: 'urn:ietf:params:oauth:token-type:access_token',
        subject_token_type: AWS_TYPE,
      }),
    ).then(verdictOf)
  const nowMs = clock.nowMs()
  const good = { nowMs, audience }
  assert.equal(await ask(callerIdentity(keys, good)), '200')
  const bent: readonly (readonly [token: string, words: RegExp])[] = [
    [callerIdentity({ ...keys, SecretAccessKey: 'x' }, good), /SignatureDoesNotMatch/],
    [callerIdentity({ ...keys, AccessKeyId: 'ASIAX' }, good), /SignatureDoesNotMatch/],
    [callerIdentity({ ...keys, Token: 'x' }, good), /InvalidClientTokenId/],
    [callerIdentity(keys, { ...good, nowMs: nowMs - 901_000 }), /expired/],
    [callerIdentity(keys, { ...good, audience: 'other' }), /x-goog-cloud-target-resource/],
    [callerIdentity(keys, { ...good, host: 'sts.evil.example' }), /no serialized AWS request/],
    ['plain', /no serialized AWS request/],
  ]
  for (const [token, words] of bent) assert.match(await ask(token), words)
})

test('a service account is impersonated with a live token and an exact request', async () => {
  await using world = await startTestLab()
  const { lab } = world
  const url = fileOf(world, 'impersonated_service_account').service_account_impersonation_url
  const token = await mintToken(world)
  const ask = (change: { url?: string; token?: string; body?: object }) =>
    send(change.url ?? url, {
      headers: [
        ['content-type', 'application/json'],
        ['authorization', `Bearer ${change.token ?? token}`],
      ],
      body: { scope: [SCOPE], lifetime: '3600s', ...change.body },
    })
  const good = await ask({})
  const { accessToken, expireTime } = JSON.parse(good.text)
  assert.match(expireTime, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/)
  const claude = await send(
    `${lab.origin}${CLAUDE_PATH}/claude-x:rawPredict`,
    claudeCall(accessToken),
  )
  assert.equal(claude.status, 200)
  const cases: readonly (readonly [change: Parameters<typeof ask>[0], verdict: string])[] = [
    [{ token: 'x' }, '401 UNAUTHENTICATED'],
    [{ url: url.replace('robot', 'nobody') }, '404 NOT_FOUND'],
    [{ url: `${url}?x=1` }, '404 NOT_FOUND'],
    [{ body: { lifetime: '3601s' } }, '400 INVALID_ARGUMENT'],
    [{ body: { lifetime: 3600 } }, '400 INVALID_ARGUMENT'],
    [{ body: { scope: SCOPE } }, '400 INVALID_ARGUMENT'],
    [{ body: { extra: 1 } }, '400 INVALID_ARGUMENT'],
  ]
  for (const [change, verdict] of cases) assert.equal(verdictOf(await ask(change)), verdict)
  lab.disableServiceAccount(ROBOT)
  assert.equal(verdictOf(await ask({})), '403 PERMISSION_DENIED')
})

test('the metadata server answers those who say its word, and says it itself', async () => {
  await using world = await startTestLab()
  const base = `${world.lab.origin}/computeMetadata/v1/instance/service-accounts/default/token`
  const flavor: readonly [string, string] = ['Metadata-Flavor', 'Google']
  const good = await send(base, { headers: [flavor] })
  assert.equal(good.status, 200)
  assert.equal(good.headers['metadata-flavor'], 'Google')
  const cases: readonly (readonly [url: string, headers: Sent['headers'], status: number])[] = [
    [base, [], 403],
    [base, [flavor, ['X-Forwarded-For', '10.0.0.1']], 403],
    [`${base}?scopes=openid`, [flavor], 403],
    [`${base}s`, [flavor], 404],
    [base, [flavor, ['authorization', 'Bearer x']], 400],
  ]
  for (const [url, headers = [], status] of cases)
    assert.equal((await send(url, { headers })).status, status)
})

test('Vertex takes a JWT that an account signed for it, by audience or by scope', async () => {
  await using world = await startTestLab()
  const { lab, clock } = world
  const key = lab.serviceAccountKey()
  const { client_email: sub } = JSON.parse(key)
  const ask = (claims: Readonly<Record<string, unknown>>) => {
    const jwt = signAssertion(key, clock.nowMs(), { claims: { sub, ...claims } })
    return send(`${lab.origin}${CLAUDE_PATH}/claude-x:rawPredict`, claudeCall(jwt))
  }
  const audience = { aud: 'https://aiplatform.googleapis.com/', scope: undefined }
  const scope = { aud: undefined }
  assert.equal((await ask(audience)).status, 200)
  assert.equal((await ask(scope)).status, 200)
  const seconds = Math.floor(clock.nowMs() / 1_000)
  for (const wrong of [
    {},
    { ...audience, aud: 'https://aiplatform.googleapis.com' },
    { ...scope, sub: 'someone@else.example' },
    { ...scope, exp: seconds + 3_599 },
    { ...scope, iat: seconds - 3_601, exp: seconds - 1 },
    { ...scope, jti: 'x' },
  ]) {
    assert.equal((await ask(wrong)).status, 401, JSON.stringify(wrong))
  }
})

test('Mistral wants its model in path and body, and a deployed model wants none', async () => {
  await using world = await startTestLab()
  const token = await mintToken(world)
  const place = `${world.lab.origin}/v1/projects/demo-project/locations/us-east1`
  const ask = (path: string, body: object) =>
    send(`${place}/${path}`, {
      headers: [
        ['content-type', 'application/json'],
        ['authorization', `Bearer ${token}`],
      ],
      body: { messages: [{ role: 'user', content: 'hi' }], ...body },
    })
  const models = 'publishers/mistralai/models'
  const cases: readonly (readonly [path: string, body: object, status: number])[] = [
    [`${models}/mistral-medium-3:rawPredict`, { model: 'mistral-medium-3' }, 200],
    [`${models}/codestral@2405:rawPredict`, { model: 'codestral' }, 200],
    [
      `${models}/mistral-medium-3:streamRawPredict`,
      { model: 'mistral-medium-3', stream: true },
      200,
    ],
    [`${models}/mistral-medium-3:streamRawPredict`, { model: 'mistral-medium-3' }, 400],
    [`${models}/mistral-medium-3:rawPredict`, { model: 'mistral-medium-3', stream: true }, 400],
    [`${models}/mistral-medium-3:rawPredict`, { model: 'other' }, 400],
    [`${models}/mistral-medium-3:rawPredict`, {}, 400],
    [
      `${models}/mistral-medium-3:rawPredict`,
      { model: 'mistral-medium-3', stream_options: {} },
      400,
    ],
    ['endpoints/123/chat/completions', { model: 'anything' }, 200],
    ['endpoints/abc/chat/completions', { model: 'anything' }, 404],
  ]
  for (const [path, body, status] of cases)
    assert.equal((await ask(path, body)).status, status, `${path} ${JSON.stringify(body)}`)
})
