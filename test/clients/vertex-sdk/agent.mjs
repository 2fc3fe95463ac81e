// The agent: Anthropic's client for Vertex AI, as one would set it up for Google, but for the address
// and a sign-in that is a placeholder.
import assert from 'node:assert/strict'
import { AnthropicVertex } from '@anthropic-ai/vertex-sdk'
import { converse, WEATHER } from '../scenarios.mjs'

const client = new AnthropicVertex({
  baseURL: 'https://inference.local/v1',
  projectId: 'any-project',
  region: 'us-east5',
  maxRetries: 0,
  authClient: {
    getRequestHeaders: async () => new Headers({ authorization: 'Bearer placeholder' }),
  },
})
const model = 'claude-opus-4@20250514'
const { name, description, schema } = WEATHER
const tools = [{ name, description, input_schema: schema }]
const question = content => ({ model, max_tokens: 1_024, messages: [{ role: 'user', content }] })
const toolUse = ({ content }) => {
  const { name, input } = content.find(({ type }) => type === 'tool_use')
  return { name, input }
}

const { messages } = question('hi')
const { input_tokens } = await client.messages.countTokens({ model, messages })
assert.ok(input_tokens > 0)
await converse({
  async whole(prompt) {
    const { content } = await client.messages.create(question(prompt))
    return content.map(({ text }) => text).join('')
  },
  async *stream(prompt, signal) {
    for await (const event of client.messages.stream(question(prompt), { signal })) {
      if (event.type === 'content_block_delta') yield event.delta.text
    }
  },
  async tool(prompt) {
    return toolUse(await client.messages.create({ ...question(prompt), tools }))
  },
  async streamedTool(prompt) {
    return toolUse(await client.messages.stream({ ...question(prompt), tools }).finalMessage())
  },
})
