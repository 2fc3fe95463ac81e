// Goal: the pretend IBM takes what IBM documents, word for word, and nothing else.
// Method: raw requests; each row spoils one thing of a good one.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import {
  type Received,
  type Sent,
  send,
  startTestLab,
  type TestLab,
} from '../../test/support/lab.ts'

const LIFETIME_MS = 600_000
const GRANT = 'urn:ibm:params:oauth:grant-type'

let testLab: TestLab
let origin: string

before(async () => {
  testLab = await startTestLab({ tokenLifetimeMs: LIFETIME_MS })
  origin = testLab.lab.origin
})
after(() => testLab.lab.close())

type Words = Readonly<Record<string, string>>

function askIam(form: Words, rest: Partial<Sent> = {}): Promise<Received> {
  const headers = [['content-type', 'application/x-www-form-urlencoded']] as const
  const body = new URLSearchParams({ ...form }).toString()
  return send(`${origin}/identity/token`, { headers, body, ...rest })
}

function apiKeyForm(changes: Words = {}): Words {
  const apikey = testLab.lab.ibm.apiKey.reveal()
  return { grant_type: `${GRANT}:apikey`, apikey, ...changes }
}

async function mintToken(): Promise<string> {
  return JSON.parse((await askIam(apiKeyForm())).text).access_token
}

function sendJson(path: string, body: unknown, headers: Sent['headers'] = []): Promise<Received> {
  const all = [['content-type', 'application/json'] as const, ...headers]
  return send(`${origin}${path}`, { headers: all, body })
}

test('an API key brings a JWT that tells its life, and a refresh token that is none', async () => {
  const { status, text } = await askIam(apiKeyForm({ response_type: 'cloud_iam' }))
  const answer = JSON.parse(text)
  assert.equal(status, 200)
  assert.equal(answer.expires_in, LIFETIME_MS / 1_000)
  assert.equal(answer.refresh_token, 'not_supported')
  assert.equal(answer.expiration, testLab.clock.nowMs() / 1_000 + LIFETIME_MS / 1_000)
  const [, payload = ''] = answer.access_token.split('.')
  const { iat, exp } = JSON.parse(Buffer.from(payload, 'base64url').toString())
  assert.equal(exp - iat, LIFETIME_MS / 1_000)
})

test('IAM refuses in its own words', async () => {
  const { lab } = testLab
  const old = lab.identityToken({ audience: 'iam', lifetimeMs: -1 }).reveal()
  const fresh = lab.identityToken({ audience: 'iam' }).reveal()
  const profile = { grant_type: `${GRANT}:cr-token`, profile_id: lab.ibm.profileId }
  const rows: readonly (readonly [Words, string])[] = [
    [apiKeyForm({ apikey: 'another' }), 'BXNIM0415E'],
    [apiKeyForm({ apikey: '' }), 'BXNIM0109E'],
    [apiKeyForm({ grant_type: 'password' }), 'BXNIM0106E'],
    [apiKeyForm({ surprise: '1' }), 'BXNIM0106E'],
    [{ ...profile, cr_token: '' }, 'BXNIM0109E'],
    [{ ...profile, cr_token: 'x' }, 'BXNIM0437E'],
    [{ ...profile, cr_token: old }, 'BXNIM0438E'],
    [{ ...profile, cr_token: fresh, profile_id: 'other' }, 'BXNIM0513E'],
    [{ grant_type: `${GRANT}:cr-token`, cr_token: fresh }, 'BXNIM0109E'],
  ]
  for (const [form, code] of rows) {
    const { status, text } = await askIam(form)
    assert.deepEqual([status, JSON.parse(text).errorCode], [400, code])
  }
  assert.equal((await askIam({ ...profile, cr_token: fresh })).status, 200)
  const headers: Sent['headers'] = [['content-type', 'text/plain']]
  assert.equal((await askIam(apiKeyForm(), { headers })).status, 400)
  const twice = `${new URLSearchParams({ ...apiKeyForm() })}&apikey=x`
  assert.equal((await askIam({}, { body: twice })).status, 400)
})

test('the metadata service takes two steps', async () => {
  const flavor = ['metadata-flavor', 'ibm'] as const
  const token = '/instance_identity/v1/token?version=2022-03-01'
  const iamToken = '/instance_identity/v1/iam_token?version=2022-03-01'
  const put = (path: string, body: unknown, headers: Sent['headers'] = [flavor]) =>
    send(`${origin}${path}`, {
      method: 'PUT',
      headers: [['content-type', 'application/json'], ...headers],
      body,
    })
  const first = JSON.parse((await put(token, { expires_in: 300 })).text)
  assert.equal(first.expires_in, 300)
  const bearer = ['authorization', `Bearer ${first.access_token}`] as const
  const profile = { trusted_profile: { name: testLab.lab.ibm.profileName } }
  const second = await sendJson(iamToken, profile, [flavor, bearer])
  assert.equal(second.status, 200)
  assert.match(JSON.parse(second.text).expires_at, /Z$/)
  const rows: readonly (readonly [number, Promise<Received>])[] = [
    [400, put(token, { expires_in: 300 }, [])],
    [400, put(token, { expires_in: 4 })],
    [400, put(token, { expires_in: 3_601 })],
    [400, put('/instance_identity/v1/token', { expires_in: 300 })],
    [405, sendJson(token, {}, [flavor])],
    [401, sendJson(iamToken, {}, [flavor])],
    [403, sendJson(iamToken, { trusted_profile: { id: 'other' } }, [flavor, bearer])],
    [400, sendJson(iamToken, { surprise: 1 }, [flavor, bearer])],
  ]
  for (const [status, answer] of rows) assert.equal((await answer).status, status)
})

test('Software Hub and the console sign in who may', async () => {
  const { username, password, userApiKey, apiKey } = testLab.lab.ibm
  const path = '/icp4d-api/v1/authorize'
  const byPassword = await sendJson(path, { username, password: password.reveal() })
  assert.equal(JSON.parse(byPassword.text)._messageCode_, '200')
  assert.equal((await sendJson(path, { username, api_key: userApiKey.reveal() })).status, 200)
  for (const [body, status] of [
    [{ username, password: 'wrong' }, 401],
    [{ username: 'other', password: password.reveal() }, 401],
    [{ username }, 400],
    [{ username, password: 'x', api_key: 'y' }, 400],
    [{ username, password: 'x', surprise: 1 }, 400],
  ] as const) {
    const answer = await sendJson(path, body)
    assert.deepEqual([answer.status, JSON.parse(answer.text)._messageCode_], [status, `${status}`])
  }
  const consolePath = '/api/2.0/apikeys/token'
  assert.equal((await sendJson(consolePath, { apikey: apiKey.reveal() })).status, 200)
  assert.equal((await sendJson(consolePath, { apikey: 'wrong' })).status, 401)
})

test('watsonx refuses whatever is not exactly its own dialect', async () => {
  const { projectId: project_id, spaceId: space_id } = testLab.lab.ibm
  const token = await mintToken()
  const ask = (path: string, body: unknown, bearer = token): Promise<Received> =>
    sendJson(path, body, [['authorization', `Bearer ${bearer}`]])
  const chat = { model_id: 'm', project_id, messages: [{ role: 'user', content: 'hi' }] }
  const path = '/ml/v1/text/chat?version=2025-02-11'
  assert.equal((await ask(path, chat)).status, 200)
  const tool = (rest: object) => ({
    tools: [{ type: 'function', function: { name: 'f', ...rest } }],
  })
  const rows: readonly (readonly [path: string, body: unknown, status: number, code: string])[] = [
    ['/ml/v1/text/chat', chat, 400, 'missing_version'],
    ['/ml/v1/text/talk?version=2025-02-11', chat, 404, 'not_found'],
    [path, { ...chat, space_id }, 400, 'invalid_request_entity'],
    [path, { ...chat, project_id: undefined }, 400, 'invalid_request_entity'],
    [path, { ...chat, project_id: 'other' }, 400, 'invalid_request_entity'],
    [path, { ...chat, model_id: undefined }, 400, 'invalid_request_entity'],
    [path, { ...chat, model: 'm' }, 400, 'invalid_request_entity'],
    [path, { ...chat, stream: false }, 400, 'invalid_request_entity'],
    [path, { ...chat, messages: [] }, 400, 'invalid_request_entity'],
    [path, { ...chat, messages: [{ role: 'developer' }] }, 400, 'invalid_request_entity'],
    [path, { ...chat, tool_choice: 'auto' }, 400, 'invalid_request_entity'],
    [path, { ...chat, tool_choice_option: 'any' }, 400, 'invalid_request_entity'],
    [path, { ...chat, ...tool({ strict: true }) }, 400, 'invalid_request_entity'],
    [
      path,
      { ...chat, ...tool({ parameters: { items: { additionalProperties: false } } }) },
      ...([400, 'invalid_request_entity'] as const),
    ],
    ['/ml/v1/text/chat_stream?version=2025-02-11', chat, 400, 'invalid_request_entity'],
    ['/ml/v1/text/embeddings?version=2025-02-11', chat, 400, 'invalid_request_entity'],
    ['/ml/v1/deployments/x/text/chat?version=2025-02-11', chat, 404, 'deployment_not_found'],
    ['/ml/gateway/v1/chat/completions', chat, 400, 'invalid_request_entity'],
  ]
  for (const [where, body, status, code] of rows) {
    const { status: seen, text } = await ask(where, body)
    assert.deepEqual([seen, JSON.parse(text).errors[0].code], [status, code], JSON.stringify(body))
  }
})

test('watsonx tells a token that died from one that never was', async () => {
  const token = await mintToken()
  const codeOf = async (bearer: string) => {
    const { status, text } = await sendJson('/ml/v1/text/chat?version=2025-02-11', {}, [
      ['authorization', `Bearer ${bearer}`],
    ])
    return [status, JSON.parse(text).errors[0].code]
  }
  assert.deepEqual(await codeOf('x'), [401, 'authentication_token_not_valid'])
  assert.deepEqual(await codeOf(token), [400, 'invalid_request_entity'])
  await testLab.clock.advance(LIFETIME_MS)
  assert.deepEqual(await codeOf(token), [401, 'authentication_token_expired'])
})
