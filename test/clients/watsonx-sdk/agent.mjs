// The agent of run.mjs: IBM's own SDK with a token, a model and a project that mean nothing.
import assert from 'node:assert/strict'
import { WatsonXAI } from '@ibm-cloud/watsonx-ai'
import { BearerTokenAuthenticator } from 'ibm-cloud-sdk-core'
import { converse, WEATHER } from '../scenarios.mjs'

const watsonx = WatsonXAI.newInstance({
  version: '2025-02-11',
  serviceUrl: 'https://inference.local',
  authenticator: new BearerTokenAuthenticator({ bearerToken: 'openshell-placeholder' }),
})
watsonx.disableRetries()
const theirs = { modelId: 'any/model', projectId: 'any-project' }
const question = text => ({
  ...theirs,
  messages: [{ role: 'user', content: [{ type: 'text', text }] }],
})
const { name, description, schema } = WEATHER
// watsonx takes no such member, and no client takes it away.
const { additionalProperties: _, ...parameters } = schema
const tools = [{ type: 'function', function: { name, description, parameters } }]
const called = ({ name, arguments: given }) => ({ name, input: JSON.parse(given) })

await converse({
  async whole(prompt) {
    const { result } = await watsonx.textChat(question(prompt))
    return result.choices[0].message.content
  },
  async *stream(prompt, signal) {
    const asked = { ...question(prompt), returnObject: true, signal }
    for await (const { data } of await watsonx.textChatStream(asked)) {
      yield data.choices[0]?.delta.content ?? ''
    }
  },
  async tool(prompt) {
    const { result } = await watsonx.textChat({ ...question(prompt), tools })
    return called(result.choices[0].message.tool_calls[0].function)
  },
  async streamedTool(prompt) {
    const asked = { ...question(prompt), tools, returnObject: true }
    const events = await Array.fromAsync(await watsonx.textChatStream(asked))
    const parts = events.flatMap(({ data }) => data.choices[0]?.delta.tool_calls ?? [])
    const text = parts.map(part => part.function.arguments ?? '').join('')
    return called({ name: parts[0].function.name, arguments: text })
  },
})

const { result } = await watsonx.embedText({ ...theirs, inputs: ['one', 'two'] })
assert.equal(result.results.length, 2)
assert.ok(result.results.every(({ embedding }) => embedding.length > 0))

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
