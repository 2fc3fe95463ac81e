// Goal: Gemini on Vertex AI takes what Google documents for Vertex, and nothing else of the Gemini API.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import {
  mintToken,
  type Received,
  send,
  startTestLab,
  type TestLab,
} from '../../test/support/lab.ts'

const MODEL = '/v1/projects/demo-project/locations/us-east1/publishers/google/models/gemini-2.5-pro'
const CONTENTS = [{ role: 'user', parts: [{ text: 'hi' }] }]

let testLab: TestLab
let token: string
before(async () => {
  testLab = await startTestLab()
  token = await mintToken(testLab)
})
after(() => testLab.lab.close())

function ask(target: string, body: unknown, headers: Readonly<Record<string, string>> = {}) {
  const all = { 'content-type': 'application/json', authorization: `Bearer ${token}`, ...headers }
  return send(`${testLab.lab.origin}${target}`, { headers: Object.entries(all), body })
}

function refused({ status, text }: Received): string {
  const { error } = JSON.parse(text)
  assert.equal(error.code, status)
  return `${status} ${error.status} ${error.message}`
}

test('a good call is answered as Gemini answers, in both versions of the path', async () => {
  for (const path of [MODEL, MODEL.replace('/v1/', '/v1beta1/')]) {
    const { status, text } = await ask(`${path}:generateContent`, {
      contents: [...CONTENTS, { role: 'model', parts: [{ text: 'ho' }] }, ...CONTENTS],
      system_instruction: { parts: [{ text: 'be brief' }] },
      generationConfig: { temperature: 1, thinkingConfig: { thinkingBudget: 0 } },
      safetySettings: [],
    })
    assert.equal(status, 200)
    const { candidates, usageMetadata, modelVersion } = JSON.parse(text)
    assert.match(candidates[0].content.parts[0].text, /You said: hi$/)
    assert.deepEqual(
      [candidates[0].content.role, candidates[0].finishReason, modelVersion],
      ['model', 'STOP', 'gemini-2.5-pro'],
    )
    assert.ok(usageMetadata.totalTokenCount > usageMetadata.promptTokenCount)
  }
})

test('who wants JSON gets what the schema requires', async () => {
  const schema = { type: 'OBJECT', properties: { n: { type: 'NUMBER' } }, required: ['n'] }
  const { text } = await ask(`${MODEL}:generateContent`, {
    contents: CONTENTS,
    generationConfig: { responseMimeType: 'application/json', responseSchema: schema },
  })
  assert.equal(JSON.parse(text).candidates[0].content.parts[0].text, '{"n":1}')
})

test('a count counts', async () => {
  const { status, text } = await ask(`${MODEL}:countTokens`, { contents: CONTENTS })
  assert.deepEqual([status, JSON.parse(text).totalTokens > 0], [200, true])
})

test('what Vertex AI does not know is refused by its name', async () => {
  const unknown = (name: string, at = '') =>
    `400 INVALID_ARGUMENT Invalid JSON payload received. Unknown name "${name}"${at}: Cannot find field.`
  const part = (one: object) => ({ contents: [{ role: 'user', parts: [one] }] })
  const ROWS: readonly (readonly [body: object, words: string])[] = [
    [{ contents: CONTENTS, store: true }, unknown('store')],
    [{ contents: CONTENTS, model: 'models/x' }, unknown('model')],
    [part({ text: 'x', partMetadata: {} }), unknown('partMetadata', " at 'contents[0].parts[0]'")],
    [{ contents: CONTENTS, tools: [{ fileSearch: {} }] }, unknown('fileSearch', " at 'tools[0]'")],
    [
      { contents: CONTENTS, toolConfig: { includeServerSideToolInvocations: true } },
      unknown('includeServerSideToolInvocations', " at 'tool_config'"),
    ],
    [
      { contents: CONTENTS, generationConfig: { enableEnhancedCivicAnswers: true } },
      unknown('enableEnhancedCivicAnswers', " at 'generation_config'"),
    ],
    [{}, '400 INVALID_ARGUMENT contents is not specified'],
    [
      { contents: [{ parts: [{ text: 'x' }] }] },
      '400 INVALID_ARGUMENT Please use a valid role: user, model.',
    ],
    [
      part({ thought: true }),
      "400 INVALID_ARGUMENT required oneof field 'data' must have one initialized field",
    ],
  ]
  for (const [body, words] of ROWS) {
    assert.equal(refused(await ask(`${MODEL}:generateContent`, body)), words)
  }
  assert.equal(
    refused(await ask(`${MODEL}:countTokens`, { contents: CONTENTS, generateContentRequest: {} })),
    unknown('generateContentRequest'),
  )
})

test('path, method, query, key and token are held to what Vertex AI has', async () => {
  const body = { contents: CONTENTS }
  const ROWS: readonly (readonly [target: string, status: number, headers?: object])[] = [
    [`${MODEL}:generateContent?key=x`, 400],
    [`${MODEL}:generateContent?alt=proto`, 400],
    [`${MODEL}:streamGenerateContent?alt=sse&x=1`, 400],
    [`${MODEL.replace('gemini-2.5-pro', 'claude-x')}:generateContent`, 404],
    [`${MODEL}:embedContent`, 404],
    [`${MODEL.replace('/v1/', '/v1beta/')}:generateContent`, 404],
    [`${MODEL}:generateContent`, 400, { 'x-goog-api-key': 'k' }],
    [`${MODEL}:generateContent`, 401, { authorization: 'Bearer other' }],
  ]
  for (const [target, status, headers] of ROWS) {
    const answer = await ask(target, body, { ...headers })
    assert.equal(answer.status, status, target)
  }
  const got = await send(`${testLab.lab.origin}${MODEL}:generateContent`, {
    method: 'GET',
    headers: [['authorization', `Bearer ${token}`]],
  })
  assert.equal(got.status, 404)
})
