// An independent reading of the edit's specification: slow, on characters, over the whole document.
import assert from 'node:assert/strict'
import fc from 'fast-check'
import type { EditRules } from '../../src/router/body-edit.ts'

interface Member {
  readonly keyAt: number
  readonly name: string
  readonly valueAt: number
  readonly valueEnd: number
  /** The comma behind the member, or -1. */
  commaAt: number
}

/** Reads a document with one regular expression per token, on characters instead of bytes. */
export function membersOf(text: string): {
  readonly open: number
  readonly close: number
  readonly members: Member[]
} {
  const token = /"(?:[^"\\]|\\.)*"|[{}[\],:]|[^\s{}[\],:"]+/gsy
  const tokens: { at: number; text: string }[] = []
  const blank = /[\s\ufeff]*/y
  for (let at = 0; ; ) {
    blank.lastIndex = at
    blank.exec(text)
    token.lastIndex = blank.lastIndex
    const match = token.exec(text)
    if (match === null) break
    tokens.push({ at: match.index, text: match[0] })
    at = token.lastIndex
  }
  const members: Member[] = []
  let index = 1
  const skipValue = (): number => {
    let depth = 0
    for (;;) {
      const one = tokens[index]
      assert.ok(one !== undefined)
      index += 1
      if (one.text === '{' || one.text === '[') depth += 1
      if (one.text === '}' || one.text === ']') depth -= 1
      if (depth === 0) return one.at + one.text.length
    }
  }
  while (tokens[index]?.text !== '}') {
    const key = tokens[index]
    assert.ok(key !== undefined)
    index += 2
    const valueAt = tokens[index]?.at ?? 0
    const valueEnd = skipValue()
    const comma = tokens[index]
    const hasComma = comma !== undefined && comma.text === ','
    if (hasComma) index += 1
    const name = String(JSON.parse(key.text))
    members.push({ keyAt: key.at, name, valueAt, valueEnd, commaAt: hasComma ? comma.at : -1 })
  }
  return { open: tokens[0]?.at ?? 0, close: tokens[index]?.at ?? 0, members }
}

/** What a document becomes under the rules, by cutting its text. */
export function reference(text: string, rest: EditRules): string {
  const { open, close, members } = membersOf(text)
  const isGone = ({ name }: Member): boolean =>
    rest.removed.includes(name) || (rest.model === 'remove' && name === 'model')
  const kept = members.filter(member => !isGone(member))
  const added = rest.added === '' ? [] : [rest.added]
  if (rest.version !== null && !members.some(one => one.name === 'anthropic_version'))
    added.push(`"anthropic_version":${JSON.stringify(rest.version)}`)
  if (rest.model === 'replace' && !members.some(one => one.name === 'model'))
    added.push(`"model":${JSON.stringify(rest.modelId)}`)
  const cuts: { from: number; to: number; text: string }[] = []
  const lastKept = kept.at(-1)
  for (const member of members) {
    if (rest.model === 'replace' && member.name === 'model')
      cuts.push({ from: member.valueAt, to: member.valueEnd, text: JSON.stringify(rest.modelId) })
    if (isGone(member) && member.commaAt !== -1)
      cuts.push({ from: member.keyAt, to: member.commaAt + 1, text: '' })
    if (isGone(member) && member.commaAt === -1) {
      // The last: from the comma of the last member kept, if any, to the brace.
      if (lastKept !== undefined)
        cuts.length = cuts.findLastIndex(cut => cut.from < lastKept.commaAt) + 1
      cuts.push({ from: lastKept?.commaAt ?? member.keyAt, to: close, text: '' })
    }
  }
  if (added.length > 0)
    cuts.unshift({
      from: open + 1,
      to: open + 1,
      text: added.join(',') + (kept.length > 0 ? ',' : ''),
    })
  let out = ''
  let at = 0
  for (const cut of cuts) {
    out += text.slice(at, cut.from) + cut.text
    at = cut.to
  }
  return out + text.slice(at)
}

const space = fc.oneof(
  { weight: 5, arbitrary: fc.constant('') },
  fc.string({ unit: fc.constantFrom(' ', '\t', '\n', '\r'), maxLength: 4 }),
)

/** JSON text of a string, some characters as escapes that need not be. */
function stringText(text: string, escapeAt: readonly boolean[]): string {
  return `"${[...text]
    .map((char, index) => {
      const plain = JSON.stringify(char).slice(1, -1)
      const isBasic = char.length === 1
      return escapeAt[index] === true && isBasic
        ? `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`
        : plain
    })
    .join('')}"`
}

const anyString = fc
  .tuple(
    fc.oneof(
      fc.string({ unit: 'grapheme', maxLength: 30 }),
      fc.string({
        unit: fc.constantFrom('"', '\\', '{', '}', '[', ',', ':', 'm', '\n'),
        maxLength: 12,
      }),
      fc.string({ unit: fc.constantFrom('a', 'b', 'c', 'd', '"', '\\'), maxLength: 80 }),
    ),
    fc.array(fc.boolean(), { maxLength: 12 }),
  )
  .map(([text, escapeAt]) => stringText(text, escapeAt))

const keyText = fc.oneof(
  fc
    .tuple(
      fc.constantFrom('model', 'model', 'anthropic_version', 'stream', 'modelx', 'mode', ''),
      fc.array(fc.boolean(), { maxLength: 17 }),
    )
    .map(([name, escapeAt]) => stringText(name, escapeAt)),
  anyString,
)

const scalarText = fc.oneof(
  anyString,
  fc.bigInt({ min: -(2n ** 90n), max: 2n ** 90n }).map(String),
  fc.double({ noNaN: true, noDefaultInfinity: true }).map(value => JSON.stringify(value)),
  fc.constantFrom('true', 'false', 'null', '1.0', '-0', '1E400', '1e-7'),
)

function objectText(value: fc.Arbitrary<string>): fc.Arbitrary<string> {
  const member = fc
    .tuple(space, keyText, space, space, value, space)
    .map(([a, key, b, c, text, d]) => `${a}${key}${b}:${c}${text}${d}`)
  return fc
    .tuple(fc.array(member, { maxLength: 6 }), space)
    .map(([members, blank]) => `{${members.length === 0 ? blank : members.join(',')}}`)
}

const { value: valueText } = fc.letrec<{ value: string }>(tie => ({
  value: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    scalarText,
    objectText(tie('value')),
    fc
      .array(fc.tuple(space, tie('value'), space), { maxLength: 4 })
      .map(items => `[${items.map(item => item.join('')).join(',')}]`),
  ),
}))

/** JSON objects with duplicate, escaped and nested keys, big numbers and odd white space. */
export const documentText = fc
  .tuple(fc.constantFrom('', '\ufeff'), space, objectText(valueText), space)
  .map(parts => parts.join(''))

/** Any rules for an edit. */
export const anyRules: fc.Arbitrary<EditRules> = fc.record({
  model: fc.constantFrom('replace', 'remove', 'keep'),
  modelId: fc.constantFrom('new', 'a"\\b', 'publishers/x@1'),
  version: fc.constantFrom(null, 'v-1'),
  needsStream: fc.boolean(),
  removed: fc.constantFrom([], ['modelx'], ['mode', 'modelx']),
  added: fc.constantFrom('', '"more":["x"]'),
})
