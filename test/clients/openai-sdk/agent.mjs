// The agent: OpenAI's SDK as its own page sets it up; address and key come from the environment. Both of
// its APIs are asked, Chat Completions and Responses.
import OpenAI from 'openai'
import { converse, WEATHER } from '../scenarios.mjs'

const openai = new OpenAI({ maxRetries: 0 })
const model = 'gpt-any'
const { name, description, schema: parameters } = WEATHER
const called = ({ name, arguments: given }) => ({ name, input: JSON.parse(given) })

const chat = content => ({ model, messages: [{ role: 'user', content }] })
const tools = [{ type: 'function', function: { name, description, parameters, strict: true } }]
await converse({
  async whole(prompt) {
    const { choices } = await openai.chat.completions.create(chat(prompt))
    return choices[0].message.content
  },
  async *stream(prompt, signal) {
    const question = { ...chat(prompt), stream: true }
    for await (const chunk of await openai.chat.completions.create(question, { signal })) {
      yield chunk.choices[0]?.delta.content ?? ''
    }
  },
  async tool(prompt) {
    const { choices } = await openai.chat.completions.create({ ...chat(prompt), tools })
    return called(choices[0].message.tool_calls[0].function)
  },
  async streamedTool(prompt) {
    const stream = openai.chat.completions.stream({ ...chat(prompt), tools })
    const { choices } = await stream.finalChatCompletion()
    return called(choices[0].message.tool_calls[0].function)
  },
})

const ask = input => ({ model, input })
const functions = [{ type: 'function', name, description, parameters, strict: true }]
const functionCall = ({ output }) => called(output.find(({ type }) => type === 'function_call'))
await converse({
  whole: async prompt => (await openai.responses.create(ask(prompt))).output_text,
  async *stream(prompt, signal) {
    for await (const event of openai.responses.stream(ask(prompt), { signal })) {
      if (event.type === 'response.output_text.delta') yield event.delta
    }
  },
  async tool(prompt) {
    return functionCall(await openai.responses.create({ ...ask(prompt), tools: functions }))
  },
  async streamedTool(prompt) {
    const stream = openai.responses.stream({ ...ask(prompt), tools: functions })
    return functionCall(await stream.finalResponse())
  },
})
