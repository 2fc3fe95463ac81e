// Goal: nothing ambiguous is taken for a message, and no cut of the bytes changes what is read. Method:
// both parsers beside an independent reading by regular expressions, over a kept corpus, cut at every
// byte, and over messages that chance puts together and spoils.
import assert from 'node:assert/strict'
import { globSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'
import fc from 'fast-check'
import { parseRequests, parseResponses } from '../../../test/support/http1-parsed.ts'
import { type Reading, readRequests, readResponses } from '../../../test/support/http1-reference.ts'
import { seed } from '../../../test/support/seeded-random.ts'

const corpus = path.join(import.meta.dirname, '../../../test/http1-corpus')
/** Beyond this many bytes only the cuts near both ends are tried. */
const CUTS_MAX = 700

const KINDS = {
  request: {
    parse: parseRequests,
    read: readRequests,
  },
  response: {
    parse: (chunks: readonly Buffer[]) =>
      parseResponses(chunks, ['POST', 'HEAD'].slice(0, 1), true),
    read: (text: string) => readResponses(text, ['POST'], true),
  },
} as const

function cutsOf(length: number): readonly number[] {
  const all = Array.from({ length: length - 1 }, (_, index) => index + 1)
  return length <= CUTS_MAX ? all : [...all.slice(0, CUTS_MAX / 2), ...all.slice(-CUTS_MAX / 2)]
}

function bytewise(bytes: Buffer): readonly Buffer[] {
  return Array.from(bytes, (_, at) => bytes.subarray(at, at + 1))
}

for (const kind of ['request', 'response'] as const) {
  const { parse, read } = KINDS[kind]
  const files = globSync(`${kind}/*/*.bin`, { cwd: corpus }).sort()

  test(`there is a corpus of ${kind}s`, () => assert.ok(files.length > 40))

  for (const file of files) {
    const name = path.basename(file, '.bin')
    const isRefused = path.basename(path.dirname(file)) === 'refused'
    test(`${kind} ${name} is ${isRefused ? 'refused' : 'accepted'}, however it is cut`, () => {
      const bytes = readFileSync(path.join(corpus, file))
      const expected = read(bytes.toString('latin1'))
      assert.equal(expected.status !== 0, isRefused)
      assert.deepEqual(parse([bytes]), expected)
      for (const cut of cutsOf(bytes.length)) {
        assert.deepEqual(
          parse([bytes.subarray(0, cut), bytes.subarray(cut)]),
          expected,
          `cut ${cut}`,
        )
      }
      assert.deepEqual(parse(bytewise(bytes)), expected)
    })
  }
}

const SPOILERS = [
  ...['\r', '\n', '\r\n', ' ', '\t', '\0', ':', ';', ',', '0', '5', 'a', 'G', '\x7f', '\xe9', '/'],
  ...['Content-Length: 5\r\n', 'Transfer-Encoding: chunked\r\n', 'HTTP/1.1', '\r\n\r\n', 'f\r\n'],
]

const start = {
  request: fc.constantFrom(
    ...['GET / HTTP/1.1', 'POST /v1/m?a=b HTTP/1.1', 'POST / HTTP/1.0', 'HEAD / HTTP/1.1'],
    'CONNECT a:443 HTTP/1.1',
  ),
  response: fc.constantFrom(
    ...['HTTP/1.1 200 OK', 'HTTP/1.1 204', 'HTTP/1.0 200 ', 'HTTP/1.1 100 Continue'],
    ...['HTTP/1.1 304 Not Modified', 'HTTP/1.1 500 Oh'],
  ),
}

const field = fc.constantFrom(
  ...['Host: a', 'X-A:', 'X-B: \t b c ', 'Connection: close', 'connection: keep-alive, x'],
  ...['Expect: 100-continue', 'Connection: upgrade', 'Upgrade: websocket'],
)

const chunk = fc.tuple(
  fc.string({ minLength: 1, maxLength: 20, unit: 'binary-ascii' }),
  fc.constantFrom('', '', ';a', ';a="b"'),
)

const framed = fc.oneof(
  fc.constant({ fields: [''], body: '' }),
  fc
    .string({ maxLength: 40, unit: 'binary-ascii' })
    .map(body => ({ fields: [`Content-Length: ${body.length}`], body })),
  fc
    .tuple(fc.array(chunk, { maxLength: 4 }), fc.array(field, { maxLength: 2 }))
    .map(([chunks, trailers]) => ({
      fields: ['Transfer-Encoding: chunked'],
      body: [
        ...chunks.map(([text, extension]) => `${text.length.toString(16)}${extension}\r\n${text}`),
        ['0', ...trailers, '', ''].join('\r\n'),
      ].join('\r\n'),
    })),
)

function messages(kind: 'request' | 'response'): fc.Arbitrary<string> {
  const message = fc
    .tuple(
      start[kind],
      fc.array(field, { maxLength: 4 }),
      framed,
      fc.array(field, { maxLength: 2 }),
    )
    .map(([line, before, { fields, body }, behind]) => {
      const head = [line, ...before, ...fields, ...behind].filter(text => text !== '')
      return `${head.join('\r\n')}\r\n\r\n${body}`
    })
  return fc.array(message, { minLength: 1, maxLength: 3 }).map(all => all.join(''))
}

/** Where something is put in, how much it replaces, and what it is. */
const spoiling = fc.tuple(
  fc.nat({ max: 400 }),
  fc.nat({ max: 3 }),
  fc.constantFrom(...SPOILERS, ''),
)

function spoilt(text: string, changes: readonly (readonly [number, number, string])[]): string {
  return changes.reduce((now, [place, count, put]) => {
    const at = place % (now.length + 1)
    return now.slice(0, at) + put + now.slice(at + count)
  }, text)
}

function chunked(bytes: Buffer, cuts: readonly number[]): readonly Buffer[] {
  const places = [...new Set(cuts.map(cut => cut % (bytes.length + 1)))].sort((a, b) => a - b)
  return [...places, bytes.length].map((end, index) => bytes.subarray(places[index - 1] ?? 0, end))
}

for (const kind of ['request', 'response'] as const) {
  test(`${kind}s put together and spoilt by chance are read as the reference reads them`, () => {
    const { parse, read } = KINDS[kind]
    const seen = new Map<number, number>()
    const property = fc.property(
      messages(kind),
      fc.array(spoiling, { maxLength: 3 }),
      fc.array(fc.nat({ max: 600 }), { maxLength: 4 }),
      (text, changes, cuts) => {
        const bytes = Buffer.from(spoilt(text, changes), 'latin1')
        const expected: Reading = read(bytes.toString('latin1'))
        seen.set(expected.status, (seen.get(expected.status) ?? 0) + 1)
        assert.deepEqual(parse(chunked(bytes, cuts)), expected)
        assert.deepEqual(parse(bytewise(bytes)), expected)
      },
    )
    fc.assert(property, { seed, numRuns: Number(process.env.FUZZ_RUNS ?? 3_000) })
    // Neither side of the grammar was left out.
    assert.ok((seen.get(0) ?? 0) > 100 && (seen.get(400) ?? 0) > 100)
  })
}
