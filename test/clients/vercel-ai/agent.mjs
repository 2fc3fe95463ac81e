// The agent: Vercel's AI SDK with its provider for Anthropic, as its own page sets it up, but for the
// address, which that provider reads from no variable.
import { createAnthropic } from '@ai-sdk/anthropic'
import { generateText, jsonSchema, streamText, tool } from 'ai'
import { converse, WEATHER } from '../scenarios.mjs'

const anthropic = createAnthropic({
  baseURL: 'https://inference.local/v1',
  apiKey: process.env.ANTHROPIC_API_KEY,
})
const question = prompt => ({
  model: anthropic('claude-any'),
  ...{ prompt, maxRetries: 0, maxOutputTokens: 1_024 },
})
const { name, description, schema } = WEATHER
const tools = { [name]: tool({ description, inputSchema: jsonSchema(schema) }) }
const toolCall = ([{ toolName, input }]) => ({ name: toolName, input })

await converse({
  whole: async prompt => (await generateText(question(prompt))).text,
  async *stream(prompt, abortSignal) {
    yield* streamText({ ...question(prompt), abortSignal, onError: () => undefined }).textStream
  },
  async tool(prompt) {
    return toolCall((await generateText({ ...question(prompt), tools })).toolCalls)
  },
  async streamedTool(prompt) {
    return toolCall(await streamText({ ...question(prompt), tools }).toolCalls)
  },
})
