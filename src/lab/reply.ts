import type { Clock } from '../system/clock.ts'
import { elementsOf, isObject, type JsonObject } from './json.ts'

const EVENTS_MAX = 100_000
const SIZE_MAX = 65_536
const INTERVAL_MS_MAX = 3_600_000
const REPLY_BYTES_MAX = 67_108_864
const QUOTE_CHARACTERS_MAX = 200

/** What a pretend model says, before it is put into a dialect. */
export interface Reply {
  readonly pieces: number
  piece(index: number): string
  /** The pause before each streamed piece but the first. */
  readonly intervalMs: number
  /** A tool call instead of text. */
  readonly tool: { readonly name: string; readonly input: JsonObject } | null
  readonly inputTokens: number
  readonly outputTokens: number
}

/** A tool that the caller offers, whatever the dialect. */
export interface OfferedTool {
  readonly name: string
  /** A JSON schema. */
  readonly schema: unknown
}

/** What a reply is planned from. */
export interface ReplyRequest {
  readonly model: string
  /** The text of the last message. */
  readonly prompt: string
  readonly tools: readonly OfferedTool[]
  readonly bodyBytes: number
}

/** A script in the prompt that cannot be followed, said in one sentence. */
export interface BadScript {
  readonly problem: string
}

/**
 * Plans the answer. The prompt may script it: `lab:events=50,interval=100ms,size=200` streams 50
 * pieces of 200 bytes, 100 ms apart; `lab:tool` calls the first tool that the caller offers.
 * Without a script the reply quotes the prompt.
 */
export function planReply(request: ReplyRequest): Reply | BadScript {
  const script = readScript(request.prompt)
  if ('problem' in script) return script
  const { intervalMs } = script
  const inputTokens = tokenCount(request.bodyBytes)
  const tool = request.tools[0]
  if (script.callsTool && tool !== undefined) {
    const call = { name: tool.name, input: inputFor(tool.schema) }
    const outputTokens = tokenCount(JSON.stringify(call).length)
    return { pieces: 0, piece: () => '', intervalMs, tool: call, inputTokens, outputTokens }
  }
  const pieces =
    script.events === 0 ? wordsOf(greeting(request)) : numberedPieces(script.events, script.size)
  return { ...pieces, intervalMs, tool: null, inputTokens, outputTokens: pieces.pieces }
}

/** All text of a reply at once. */
export function replyText(reply: Reply): string {
  return Array.from({ length: reply.pieces }, (_, index) => reply.piece(index)).join('')
}

/** The pieces as they are streamed, with their pauses; ends early when the caller is gone. */
export async function* streamPieces(
  reply: Reply,
  clock: Clock,
  signal: AbortSignal,
): AsyncGenerator<string> {
  for (let index = 0; index < reply.pieces && !signal.aborted; index += 1) {
    if (index > 0 && reply.intervalMs > 0) await clock.sleep(reply.intervalMs, signal)
    yield reply.piece(index)
  }
}

/** How many tokens so many bytes count for. */
export function tokenCount(bytes: number): number {
  return Math.max(1, Math.ceil(bytes / 4))
}

/** The text of a message's content: a string, or blocks of which some have a `text`. */
export function contentText(content: unknown): string {
  if (typeof content === 'string') return content
  return elementsOf(content)
    .map(block => (isObject(block) && typeof block.text === 'string' ? block.text : ''))
    .join('\n')
}

interface Script {
  /** 0 when the prompt names no number. */
  readonly events: number
  readonly size: number
  readonly intervalMs: number
  readonly callsTool: boolean
}

function readScript(prompt: string): Script | BadScript {
  const [, settings = ''] = /(?:^|\s)lab:([a-z]+(?:=\w+)?(?:,[a-z]+(?:=\w+)?)*)/.exec(prompt) ?? []
  let script: Script = { events: 0, size: 16, intervalMs: 0, callsTool: false }
  for (const setting of settings === '' ? [] : settings.split(',')) {
    const [key = '', value = ''] = setting.split('=')
    const number = /^\d{1,9}$/.test(value) ? Number(value) : Number.NaN
    if (key === 'tool' && value === '') script = { ...script, callsTool: true }
    else if (key === 'events' && number >= 1 && number <= EVENTS_MAX)
      script = { ...script, events: number }
    else if (key === 'size' && number >= 1 && number <= SIZE_MAX)
      script = { ...script, size: number }
    else {
      const intervalMs = key === 'interval' ? intervalOf(value) : null
      if (intervalMs === null) return { problem: `The lab cannot follow "${setting}"` }
      script = { ...script, intervalMs }
    }
  }
  if (script.events * script.size <= REPLY_BYTES_MAX) return script
  return { problem: `The lab answers at most ${REPLY_BYTES_MAX} bytes` }
}

function intervalOf(value: string): number | null {
  const match = /^(\d{1,7})(ms|s)$/.exec(value)
  if (match === null) return null
  const intervalMs = Number(match[1]) * (match[2] === 's' ? 1_000 : 1)
  return intervalMs <= INTERVAL_MS_MAX ? intervalMs : null
}

function greeting({ model, prompt }: ReplyRequest): string {
  const quote = prompt.trim().slice(0, QUOTE_CHARACTERS_MAX).toWellFormed()
  return `Hello from the lab, where ${model} is only pretended. You said: ${quote}`
}

function wordsOf(text: string): Pick<Reply, 'pieces' | 'piece'> {
  const words = text.match(/\s*\S+\s*?/g) ?? []
  return { pieces: words.length, piece: index => words[index] ?? '' }
}

/** Each piece begins with its number, so that a reader sees a gap, a repetition or a mix-up. */
function numberedPieces(count: number, size: number): Pick<Reply, 'pieces' | 'piece'> {
  const piece = (index: number) => `${index} `.slice(0, size).padEnd(size, '.')
  return { pieces: count, piece }
}

/** The plainest object that has all that the schema requires. */
export function inputFor(schema: unknown): JsonObject {
  if (!isObject(schema)) return {}
  const properties = isObject(schema.properties) ? schema.properties : {}
  const required = elementsOf(schema.required).filter(name => typeof name === 'string')
  return Object.fromEntries(required.map(name => [name, plainValue(properties[name])]))
}

function plainValue(schema: unknown): unknown {
  const { type, enum: choices } = isObject(schema) ? schema : {}
  const [choice] = elementsOf(choices)
  if (choice !== undefined) return choice
  if (type === 'number' || type === 'integer') return 1
  if (type === 'boolean') return true
  if (type === 'array') return []
  return type === 'object' ? inputFor(schema) : 'lab'
}
