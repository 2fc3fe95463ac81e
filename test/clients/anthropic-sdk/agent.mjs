// The agent: Anthropic's SDK as its own page sets it up; address and key come from the environment.
import Anthropic from '@anthropic-ai/sdk'
import { converse, WEATHER } from '../scenarios.mjs'

const anthropic = new Anthropic({ maxRetries: 0 })
const { name, description, schema } = WEATHER
const tools = [{ name, description, input_schema: schema }]
const question = content => ({
  ...{ model: 'claude-any', max_tokens: 1_024 },
  messages: [{ role: 'user', content }],
})
const toolUse = ({ content }) => {
  const { name, input } = content.find(({ type }) => type === 'tool_use')
  return { name, input }
}

await converse({
  async whole(prompt) {
    const { content } = await anthropic.messages.create(question(prompt))
    return content.map(({ text }) => text).join('')
  },
  async *stream(prompt, signal) {
    for await (const event of anthropic.messages.stream(question(prompt), { signal })) {
      if (event.type === 'content_block_delta') yield event.delta.text
    }
  },
  async tool(prompt) {
    return toolUse(await anthropic.messages.create({ ...question(prompt), tools }))
  },
  async streamedTool(prompt) {
    return toolUse(await anthropic.messages.stream({ ...question(prompt), tools }).finalMessage())
  },
})
