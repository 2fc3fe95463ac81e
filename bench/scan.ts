// How fast a request body is scanned and edited, in MB/s: node bench/scan.ts
import { BodyEdit } from '../src/router/body-edit.ts'

const MIN_SPAN_MS = 500

const sentence =
  'The router beside each agent injects the current token, and nothing else changes. '

const bodies: readonly (readonly [string, unknown])[] = [
  [
    'chat, long strings',
    {
      model: 'placeholder',
      stream: true,
      messages: Array.from({ length: 40 }, (_, turn) => ({
        role: turn % 2 === 0 ? 'user' : 'assistant',
        content: sentence.repeat(300),
      })),
    },
  ],
  [
    'chat, code with escapes',
    {
      model: 'placeholder',
      messages: Array.from({ length: 40 }, () => ({
        role: 'user',
        content: 'const text = "a";\n\tcall(text)\n'.repeat(700),
      })),
    },
  ],
  [
    'dense, short strings and numbers',
    {
      model: 'placeholder',
      input: Array.from({ length: 20_000 }, (_, at) => ({
        id: at,
        x: at / 7,
        tag: `t${at}`,
        ok: true,
      })),
    },
  ],
]

for (const [name, value] of bodies) {
  const body = Buffer.from(JSON.stringify(value))
  const whole = rate(body, [body])
  const chunks: Buffer[] = []
  for (let at = 0; at < body.length; at += 65_536) chunks.push(body.subarray(at, at + 65_536))
  console.log(
    `${name.padEnd(34)} ${(body.length / 1e6).toFixed(2)} MB: ${whole} MB/s whole, ${rate(body, chunks)} MB/s in chunks of 64 KiB`,
  )
}

function rate(body: Uint8Array, chunks: readonly Uint8Array[]): number {
  for (let turn = 0; turn < 20; turn += 1) edit(chunks)
  const begunMs = performance.now()
  let turns = 0
  while (performance.now() - begunMs < MIN_SPAN_MS) {
    edit(chunks)
    turns += 1
  }
  return Math.round((body.length * turns) / 1e3 / (performance.now() - begunMs))
}

function edit(chunks: readonly Uint8Array[]): void {
  const body = new BodyEdit({
    model: 'replace',
    modelId: 'm',
    version: null,
    needsStream: true,
    removed: [],
  })
  for (const chunk of chunks) body.push(chunk)
  body.finish()
  body.take()
}
