// Goal: exactly the members on the paths go or come, and every other byte stays as it was.
// Method: rows of bytes, and random documents against a slow reading of the parsed value.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { seed } from '../../test/support/seeded-random.ts'
import { editMembers } from './member-edit.ts'

function cut(text: string, ...paths: string[]): string {
  return Buffer.concat([...editMembers(Buffer.from(text), { cut: paths, fill: [] })]).toString()
}

test('a member goes with one comma, wherever it stands among the others', () => {
  const ROWS = [
    ['{"a":{"x":1}}', '{"a":{}}'],
    ['{"a":{ "x" : "1" , "b":2}}', '{"a":{  "b":2}}'],
    ['{"a":{"b":2, "x":{"y":[1,"}"]} }}', '{"a":{"b":2 }}'],
    ['{"a":{"b":2,"x":1,"c":3}}', '{"a":{"b":2,"c":3}}'],
    ['{"a":{"x":1,"x":2}}', '{"a":{}}'],
    ['{"a":{"x":1,"x":2,"b":3,"x":4,"x":5}}', '{"a":{"b":3}}'],
    ['{"a":{"\\u0078":1}}', '{"a":{}}'],
    ['{"b":{"x":1},"x":1,"a":[{"x":1}]}', '{"b":{"x":1},"x":1,"a":[{"x":1}]}'],
    ['{"a":"{\\"x\\":1}\\\\"}', '{"a":"{\\"x\\":1}\\\\"}'],
    ['\ufeff{"a":{"x":1}}', '\ufeff{"a":{}}'],
    [' {"n":1e400,"a":{"x":null}}\n', ' {"n":1e400,"a":{}}\n'],
  ] as const
  for (const [text, expected] of ROWS) assert.equal(cut(text, 'a.x'), expected, text)
})

test('a path leads through lists, and several share their way', () => {
  const text =
    '{"s":[{"c":{"x":1,"y":2}},"t",[],{"c":5}],"m":[{"n":[{"c":{"x":1}},{"i":{"c":{"x":1}}}]}]}'
  assert.equal(
    cut(text, 's[].c.x', 'm[].n[].c.x', 'none[].c'),
    '{"s":[{"c":{"y":2}},"t",[],{"c":5}],"m":[{"n":[{"c":{}},{"i":{"c":{"x":1}}}]}]}',
  )
})

test('what an object on the way lacks is added behind its brace', () => {
  const fill = [
    { path: 'c[].role', json: '"user"' },
    { path: 'c[].p.n', json: '[1]' },
  ]
  const filled = (text: string, ...paths: string[]) =>
    Buffer.concat([...editMembers(Buffer.from(text), { cut: paths, fill })]).toString()
  const ROWS = [
    [
      '{"c":[{"a":1},{ },{"role":null},7]}',
      '{"c":[{"role":"user","a":1},{"role":"user" },{"role":null},7]}',
    ],
    ['{"c":[{"r\\u006fle":"x"}]}', '{"c":[{"r\\u006fle":"x"}]}'],
    ['{"c":[{"p":{},"role":"m"}]}', '{"c":[{"p":{"n":[1]},"role":"m"}]}'],
    ['{"c":{"a":1}}', '{"c":{"a":1}}'],
    ['{"d":[{"a":1}]}', '{"d":[{"a":1}]}'],
  ] as const
  for (const [text, expected] of ROWS) assert.equal(filled(text), expected, text)
  assert.equal(
    filled('{"c":[{"x":1,"p":{"x":1},"y":2},{"x":1}]}', 'c[].x', 'c[].p.x'),
    '{"c":[{"role":"user","p":{"n":[1]},"y":2},{"role":"user"}]}',
  )
})

test('what is no JSON on the way is refused', () => {
  for (const text of [
    ...[
      '{"a":{"x":1',
      '{"a":{"x"}}',
      '{"a":{x:1}}',
      '{"a":}',
      '{"a":{"x":1 "y":2}}',
      '{"a":[1 2]}',
    ],
    ...['{"a":{"x', '{"b":[{', '{"a":{"\\q":1}}', ''],
  ]) {
    assert.throws(() => cut(text, 'a.x'), { code: 'bad_request' }, text)
  }
})

test('it means what taking the members out of the parsed document means', () => {
  const key = fc.constantFrom('a', 'b', 'x', 'c"d', '')
  const { document } = fc.letrec<{ document: unknown }>(tie => ({
    document: fc.oneof(
      { maxDepth: 5 },
      fc.oneof(fc.string(), fc.integer(), fc.boolean(), fc.constant(null)),
      fc.array(tie('document'), { maxLength: 3 }),
      fc.dictionary(key, tie('document'), { maxKeys: 4 }),
    ),
  }))
  const space = fc.constantFrom('', ' ', '\n\t')
  fc.assert(
    fc.property(document, space, (value, indent) => {
      const text = JSON.stringify(value, null, indent)
      const left = cut(text, 'x', 'a[].x', 'a.b.x')
      assert.deepEqual(JSON.parse(left), without(JSON.parse(text)))
    }),
    { seed, numRuns: 500 },
  )
})

/** The same, on values. */
function without(value: unknown): unknown {
  const all = dropped(value, 'x')
  return mapped(all, 'a', one =>
    Array.isArray(one)
      ? one.map(element => dropped(element, 'x'))
      : mapped(one, 'b', below => dropped(below, 'x')),
  )
}

function mapped(value: unknown, name: string, change: (below: unknown) => unknown): unknown {
  if (!isPlain(value) || !Object.hasOwn(value, name)) return value
  return { ...value, [name]: change(value[name]) }
}

function dropped(value: unknown, name: string): unknown {
  if (!isPlain(value)) return value
  return Object.fromEntries(Object.entries(value).filter(([key]) => key !== name))
}

function isPlain(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
