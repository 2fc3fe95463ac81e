import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Sent, send, startTestLab, type TestLab } from '../../test/support/lab.ts'

const V1 = '/azure/openai/v1'
const CLASSIC = '/azure/openai/deployments/gpt-4o/chat/completions'
const CLAUDE = '/azure/anthropic/v1'
const DATED = '?api-version=2024-10-21'
const JSON_TYPE = ['content-type', 'application/json'] as const
const VERSION = ['anthropic-version', '2023-06-01'] as const
const MESSAGES = [{ role: 'user', content: 'hello' }]

type Pair = readonly [string, string]

async function tokenFor({ lab }: TestLab, audience: string): Promise<string> {
  const target = `/metadata/identity/oauth2/token?api-version=2018-02-01&resource=https://${audience}`
  const { text } = await send(`${lab.origin}${target}`, { headers: [['metadata', 'true']] })
  return JSON.parse(text).access_token
}

function ask({ lab }: TestLab, target: string, headers: readonly Pair[], body: object = {}) {
  const sent: Sent = {
    headers: [JSON_TYPE, ...headers],
    body: { model: 'gpt-4o', messages: MESSAGES, ...body },
  }
  return send(`${lab.origin}${target}`, sent)
}

test('each API takes tokens for its own audience, and the key in its own header', async () => {
  await using testLab = await startTestLab()
  const bearer = async (audience: string): Promise<Pair> => [
    ...(['authorization', `Bearer ${await tokenFor(testLab, audience)}`] as const),
  ]
  const ai = await bearer('ai.azure.com')
  const cognitive = await bearer('cognitiveservices.azure.com')
  const key = testLab.lab.azure.apiKey.reveal()
  const claude = { model: 'claude-sonnet-5-5', max_tokens: 9 }
  const cases: readonly (readonly [
    status: number,
    target: string,
    readonly Pair[],
    body?: object,
  ])[] = [
    [200, `${V1}/chat/completions`, [ai]],
    [200, `${V1}/chat/completions?api-version=preview`, [cognitive]],
    [200, `${V1}/chat/completions`, [['api-key', key]]],
    [200, `${CLASSIC}${DATED}`, [cognitive]],
    [200, `${CLASSIC}${DATED}`, [['api-key', key]]],
    [200, `${CLAUDE}/messages`, [ai, VERSION], claude],
    [200, `${CLAUDE}/messages?beta=true`, [['x-api-key', key], VERSION], claude],
    [401, `${CLASSIC}${DATED}`, [ai]],
    [401, `${CLAUDE}/messages`, [cognitive, VERSION], claude],
    [401, `${V1}/chat/completions`, []],
    [401, `${V1}/chat/completions`, [['authorization', 'Bearer x']]],
    [401, `${V1}/chat/completions`, [['api-key', 'x']]],
    [400, `${V1}/chat/completions`, [ai, ['api-key', key]]],
    [400, `${V1}/chat/completions`, [ai, ['x-api-key', key]]],
    [400, `${CLAUDE}/messages`, [ai, ['api-key', key], VERSION], claude],
    [400, `${CLAUDE}/messages`, [ai], claude],
    [400, `${CLASSIC}`, [cognitive]],
    [400, `${V1}/chat/completions${DATED}`, [ai]],
    [404, `${V1}/chat/completions`, [ai], { model: 'unknown' }],
    [404, `${CLASSIC.replace('gpt-4o', 'unknown')}${DATED}`, [cognitive]],
    [404, `${CLAUDE}/models`, [ai, VERSION], claude],
    [404, `${CLAUDE}/messages`, [ai, VERSION], { ...claude, model: 'gpt-4o' }],
    [404, '/azure/other', [ai]],
  ]
  for (const [status, target, headers, body] of cases) {
    const { status: got, text } = await ask(testLab, target, headers, body)
    assert.equal(got, status, `${target} ${text}`)
  }
})

test('a dead token, a wrong key, and a missing role are told apart in Azure’s words', async () => {
  await using testLab = await startTestLab()
  const token = await tokenFor(testLab, 'ai.azure.com')
  const target = `${V1}/chat/completions`
  const call = (name: string, value: string) => ask(testLab, target, [[name, value]])
  testLab.lab.azure.assignRole(false)
  const denied = await call('authorization', `Bearer ${token}`)
  assert.equal(denied.status, 401)
  assert.equal(JSON.parse(denied.text).error.code, 'PermissionDenied')
  testLab.lab.azure.assignRole(true)
  assert.equal((await call('authorization', `Bearer ${token}`)).status, 200)
  testLab.lab.revokeTokens()
  const dead = await call('authorization', `Bearer ${token}`)
  assert.match(JSON.parse(dead.text).message, /^Unauthorized\. Access token is missing/)
  assert.match((await call('api-key', 'x')).text, /invalid subscription key/)
})

test('the role is taken away and given back over the control API', async () => {
  await using testLab = await startTestLab()
  const url = `${testLab.lab.origin}/lab/azure-role`
  await send(`${url}?assigned=false`, { method: 'POST' })
  assert.equal(testLab.lab.azure.hasRole(), false)
  await send(url, { method: 'POST' })
  assert.equal(testLab.lab.azure.hasRole(), true)
})
