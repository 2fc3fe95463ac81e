// How fast a request body is scanned and edited, in MB/s: `npm run bench -- scan`
import { BodyEdit } from '../src/router/body-edit.ts'
import { publish } from './harness/report.ts'

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

const rows = bodies.map(([name, value]) => {
  const body = Buffer.from(JSON.stringify(value))
  const chunks: Buffer[] = []
  for (let at = 0; at < body.length; at += 65_536) chunks.push(body.subarray(at, at + 65_536))
  return { name, megabytes: body.length / 1e6, whole: rate(body, [body]), cut: rate(body, chunks) }
})
const inChunks = (start: string) => rows.find(({ name }) => name.startsWith(start))?.cut ?? null
publish({
  bench: 'scan',
  ...{ isQuick: false, rounds: 1, notes: [] },
  tables: [
    {
      title: 'Scanning and editing a body',
      columns: ['body', 'MB', 'MB/s whole', 'MB/s in chunks of 64 KiB'],
      rows: rows.map(one => [one.name, one.megabytes, one.whole, one.cut]),
    },
  ],
  budgets: [
    {
      ...{ what: 'chat-shaped, in chunks', unit: 'MB/s', bound: 'at least', limit: 5_000 },
      value: inChunks('chat, long strings'),
    },
    {
      ...{ what: 'dense, in chunks', unit: 'MB/s', bound: 'at least', limit: 500 },
      value: inChunks('dense'),
    },
  ],
})

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
    added: '',
  })
  for (const chunk of chunks) body.push(chunk)
  body.finish()
  body.take()
}
