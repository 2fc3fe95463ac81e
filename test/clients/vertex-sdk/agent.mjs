// The agent: Anthropic's client for Vertex AI, as one would set it up for Google, but for the address
// and a sign-in that is a placeholder.
import { AnthropicVertex } from '@anthropic-ai/vertex-sdk'

const client = new AnthropicVertex({
  baseURL: 'https://inference.local/v1',
  projectId: 'any-project',
  region: 'us-east5',
  maxRetries: 0,
  authClient: {
    getRequestHeaders: async () => new Headers({ authorization: 'Bearer placeholder' }),
  },
})
const messages = [{ role: 'user', content: 'hi' }]
const ask = { model: 'claude-opus-4@20250514', max_tokens: 16, messages }

const whole = await client.messages.create(ask)
const streamed = await client.messages.stream(ask).finalMessage()
for (const message of [whole, streamed]) {
  if (message.stop_reason !== 'end_turn') throw new Error(`It ended by ${message.stop_reason}`)
  process.stdout.write(`${message.model}: ${message.content.map(({ text }) => text).join('')}\n`)
}
const { input_tokens } = await client.messages.countTokens({ model: ask.model, messages })
if (!(input_tokens > 0)) throw new Error(`${input_tokens} tokens were counted`)
process.stdout.write(`${input_tokens} tokens\n`)
