import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseBody } from './json.ts'
import { watsonxNative } from './watsonx-native.ts'

const PROJECT = { model_id: 'ibm/granite', project_id: 'p-1' }

function sent(body: string, address: Readonly<Record<string, string>>): string {
  const options = new Map(Object.entries(address))
  const translated = watsonxNative(parseBody(Buffer.from(body)), { modelId: 'unused', options })
  assert.equal(translated.answer, null)
  assert.equal(translated.isStream, false)
  return JSON.stringify(translated.body)
}

test('model and payer are the route’s, whatever the agent wrote', () => {
  const own = '"model_id":"ibm/granite","project_id":"p-1"'
  for (const [body, expected] of [
    ['{}', `{${own}}`],
    ['{"model_id":"x","project_id":"y"}', `{${own}}`],
    ['{"space_id":"z","n":1}', `{"n":1,${own}}`],
    ['{"project_id":"p","space_id":"s","model_id":{"a":[]}}', `{${own}}`],
    ['{"model_id":"a","model_id":"b","\\u0070roject_id":"c"}', `{${own}}`],
  ] as const) {
    assert.equal(sent(body, PROJECT), expected)
  }
  const space = { model_id: 'ibm/granite', space_id: 's-1' }
  assert.equal(sent('{"project_id":"p"}', space), JSON.stringify(space))
  assert.equal(sent('{"project_id":"p","space_id":"s","model_id":"m","n":1}', {}), '{"n":1}')
})

test('everything else is kept as it was written', () => {
  const rest =
    '"seed":12345678901234567890,"top_p":1e-400,"nested":{"project_id":"kept","model_id":null},"stream":true,"x":"é\\u0000"'
  assert.equal(sent(`{${rest}}`, {}), `{${rest}}`)
})
