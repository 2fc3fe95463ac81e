// The agent of run.mjs: IBM's own SDK with a token, a model and a project that mean nothing.
import assert from 'node:assert/strict'
import { WatsonXAI } from '@ibm-cloud/watsonx-ai'
import { BearerTokenAuthenticator } from 'ibm-cloud-sdk-core'

const watsonx = WatsonXAI.newInstance({
  version: '2025-02-11',
  serviceUrl: 'https://inference.local',
  authenticator: new BearerTokenAuthenticator({ bearerToken: 'openshell-placeholder' }),
})
watsonx.disableRetries()
const theirs = { modelId: 'any/model', projectId: 'any-project' }
const messages = [{ role: 'user', content: [{ type: 'text', text: 'hello' }] }]
const SAID = /You said: hello/

/** Each question by name; it fails where the answer is not the expected one. */
const questions = {
  async textChat() {
    const { result } = await watsonx.textChat({ ...theirs, messages })
    assert.match(result.choices[0].message.content, SAID)
  },
  async textChatStream() {
    const stream = await watsonx.textChatStream({ ...theirs, messages, returnObject: true })
    const events = await Array.fromAsync(stream)
    const pieces = events.map(({ data }) => data.choices[0]?.delta.content ?? '')
    assert.ok(pieces.length > 2)
    assert.match(pieces.join(''), SAID)
    assert.ok(events.at(-1).data.usage.total_tokens > 0)
  },
  async embedText() {
    const { result } = await watsonx.embedText({ ...theirs, inputs: ['one', 'two'] })
    assert.equal(result.results.length, 2)
    assert.ok(result.results.every(({ embedding }) => embedding.length > 0))
  },
}

for (const [name, ask] of Object.entries(questions)) {
  await ask()
  process.stdout.write(`${name} answered\n`)
}
// A refusal must reach the client in words: the API's, and the router's own.
await assert.rejects(watsonx.textChat({ ...theirs, messages: [] }), {
  status: 400,
  message: /messages should not be empty/,
})
await assert.rejects(
  watsonx.generateText({ modelId: 'any/model', projectId: 'any', input: 'hi' }),
  {
    status: 404,
    message: /inference\.local serves/,
  },
)
process.stdout.write('refusals are told\n')
