// Claude's Messages API through a program that takes a request's body on its standard input and writes
// the answer's, as it comes, to its standard output.
import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { WEATHER } from './scenarios.mjs'

const { name, description, schema } = WEATHER
const tools = [{ name, description, input_schema: schema }]

/** The client of the scenarios over such a program, for example `['curl', …]`. */
export function messagesByCommand([program, ...args]) {
  const start = (prompt, fields, signal) => {
    const messages = [{ role: 'user', content: prompt }]
    const stdio = ['pipe', 'pipe', 'inherit']
    const child = spawn(program, args, { stdio, signal })
    child.on('error', () => undefined)
    child.stdin.on('error', () => undefined)
    child.stdin.end(JSON.stringify({ model: 'any', max_tokens: 1_024, messages, ...fields }))
    const closed = new Promise(resolve => child.on('close', resolve))
    return { answer: child.stdout, closed }
  }
  const ask = async (prompt, fields) => {
    const { answer, closed } = start(prompt, fields)
    let text = ''
    for await (const piece of answer.setEncoding('utf8')) text += piece
    const code = await closed
    if (code !== 0) throw new Error(`${program} ended with ${code}: ${text}`)
    return JSON.parse(text).content
  }
  async function* events(prompt, fields, signal) {
    const { answer, closed } = start(prompt, { ...fields, stream: true }, signal)
    for await (const line of createInterface({ input: answer })) {
      if (line.startsWith('data: ')) yield JSON.parse(line.slice('data: '.length))
    }
    const code = await closed
    if (code !== 0) throw new Error(`${program} ended with ${code}`)
  }
  return {
    whole: async prompt => (await ask(prompt, {})).map(({ text }) => text).join(''),
    async *stream(prompt, signal) {
      for await (const { type, delta } of events(prompt, {}, signal)) {
        if (type === 'content_block_delta') yield delta.text
      }
    },
    async tool(prompt) {
      const called = (await ask(prompt, { tools })).find(({ type }) => type === 'tool_use')
      return { name: called.name, input: called.input }
    },
    async streamedTool(prompt) {
      let called = ''
      let json = ''
      for await (const { content_block: block, delta } of events(prompt, { tools })) {
        called ||= block?.name ?? ''
        json += delta?.partial_json ?? ''
      }
      return { name: called, input: JSON.parse(json) }
    },
  }
}
