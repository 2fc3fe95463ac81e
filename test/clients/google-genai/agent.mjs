// The agent: Google's Gen AI SDK as its own page sets it up; address and key come from the environment.
import assert from 'node:assert/strict'
import { GoogleGenAI } from '@google/genai'
import { converse, WEATHER } from '../scenarios.mjs'

const { models } = new GoogleGenAI({})
const model = 'gemini-any'
const { name, description, schema: parametersJsonSchema } = WEATHER
const config = {
  tools: [{ functionDeclarations: [{ name, description, parametersJsonSchema }] }],
}
const called = ({ functionCalls: [call] }) => ({ name: call.name, input: call.args })

const { totalTokens } = await models.countTokens({ model, contents: 'hi' })
assert.ok(totalTokens > 0)
await converse({
  whole: async contents => (await models.generateContent({ model, contents })).text,
  async *stream(contents, abortSignal) {
    const question = { model, contents, config: { abortSignal } }
    for await (const { text } of await models.generateContentStream(question)) yield text ?? ''
  },
  async tool(contents) {
    return called(await models.generateContent({ model, contents, config }))
  },
  async streamedTool(contents) {
    const stream = await models.generateContentStream({ model, contents, config })
    const chunks = await Array.fromAsync(stream)
    return called(chunks.find(({ functionCalls }) => functionCalls?.length > 0))
  },
})
