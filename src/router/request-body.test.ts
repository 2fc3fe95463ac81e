import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { EditRules } from './body-edit.ts'
import { RouterError } from './errors.ts'
import { DEFAULT_LIMITS } from './limits.ts'
import { type RequestBody, readBody } from './request-body.ts'
import type { BodyWatcher } from './streamed-body.ts'

const limits = {
  ...DEFAULT_LIMITS,
  gatheredBytesMax: 50,
  replayBytesMax: 100,
  bodyBytesMax: 200,
}
const rules: EditRules = {
  model: 'replace',
  modelId: 'new',
  version: null,
  needsStream: false,
  removed: [],
  added: '',
}
const deaf: BodyWatcher = { waiting() {}, sending() {}, failed() {} }

/** A source that tells how many of its chunks were read. */
function source(chunks: readonly (string | Error)[]): {
  readonly body: AsyncIterable<Uint8Array>
  readonly read: () => number
} {
  let count = 0
  async function* body(): AsyncGenerator<Uint8Array> {
    for (const chunk of chunks) {
      count += 1
      if (chunk instanceof Error) throw chunk
      yield Buffer.from(chunk)
    }
  }
  return { body: body(), read: () => count }
}

async function text(body: RequestBody, watcher = deaf): Promise<string> {
  let all = ''
  for await (const piece of body.open(watcher)) all += Buffer.from(piece).toString()
  return all
}

/** A document of exactly `bytes` bytes; what `rest` holds comes last. */
function documentOf(bytes: number, rest = ''): string {
  const frame = `{"a":""${rest}}`
  return `{"a":"${'x'.repeat(bytes - frame.length)}"${rest}}`
}

const isRefused =
  (code: string) =>
  (error: unknown): boolean =>
    error instanceof RouterError && error.code === code

test('a small body is read whole, its length is known, and it can be sent twice', async () => {
  for (const contentLength of [null, 50]) {
    const chunks = [documentOf(50).slice(0, 20), documentOf(50).slice(20)]
    const options = { rules, limits, isWhole: false, contentLength }
    const body = await readBody(source(chunks).body, options)
    const sent = await text(body)
    assert.equal(sent.indexOf('{"model":"new","a":'), 0)
    assert.deepEqual([body.isKept, body.contentLength, await text(body)], [true, sent.length, sent])
  }
})

/** What the edit puts before the first member of a document without a model. */
const ADDED = '"model":"new",'

test('a larger body leaves before its end, its length is known, and it can be sent twice', async () => {
  const document = documentOf(80)
  const fed = source([document.slice(0, 20), document.slice(20, 60), document.slice(60)])
  const body = await readBody(fed.body, { rules, limits, isWhole: false, contentLength: 80 })
  assert.equal(fed.read(), 1)
  const sent = await text(body)
  assert.equal(sent, `{${ADDED}${document.slice(1)}`)
  assert.deepEqual([body.contentLength, body.isKept, await text(body)], [sent.length, true, sent])
})

test('a body that is given up on its way is sent again from its beginning, and read only once', async () => {
  const document = documentOf(80)
  const gate = Promise.withResolvers<void>()
  async function* slow(): AsyncGenerator<Uint8Array> {
    yield Buffer.from(document.slice(0, 20))
    await gate.promise
    yield Buffer.from(document.slice(20, 60))
    yield Buffer.from(document.slice(60))
  }
  const body = await readBody(slow(), { rules, limits, isWhole: false, contentLength: 80 })
  const first = body.open(deaf)[Symbol.asyncIterator]()
  let given = await first.next()
  while (given.done !== true && !Buffer.from(given.value).includes('x')) given = await first.next()
  const pending = first.next()
  const again = text(body)
  gate.resolve()
  await pending
  assert.equal(await again, `{${ADDED}${document.slice(1)}`)
})

test('a body larger than what is kept is let go as it is sent', async () => {
  for (const contentLength of [180, null]) {
    const document = documentOf(180)
    const chunks = [0, 60, 120].map(at => document.slice(at, at + 60))
    const options = { rules, limits, isWhole: false, contentLength }
    const body = await readBody(source(chunks).body, options)
    assert.equal(body.isKept, contentLength === null)
    assert.equal(await text(body), `{${ADDED}${document.slice(1)}`)
    assert.equal(body.isKept, false)
    assert.equal(body.contentLength, contentLength === null ? null : 180 + ADDED.length)
  }
})

test('a larger body streams through at once when its head does not depend on it', async () => {
  const fed = source([`{"a":"${'x'.repeat(95)}`, 'y', '"}'])
  const body = await readBody(fed.body, { rules, limits, isWhole: false, contentLength: null })
  assert.equal(fed.read(), 1)
  assert.deepEqual([body.isKept, body.contentLength], [false, null])
  assert.equal(await text(body), `{"model":"new","a":"${'x'.repeat(95)}y"}`)
})

test('a larger body whose head depends on it is read until that is known', async () => {
  const long = 'x'.repeat(100)
  const fed = source([`{"a":"${long}"`, ',"stream":', 'true,', '"b":1', '}'])
  const body = await readBody(fed.body, {
    rules: { ...rules, needsStream: true },
    limits,
    isWhole: false,
    contentLength: null,
  })
  assert.deepEqual([fed.read(), body.isStream, body.isKept], [3, true, false])
  assert.equal(await text(body), `{"model":"new","a":"${long}","stream":true,"b":1}`)
})

test('a body that must be seen whole may be as large as the limit, and no larger', async () => {
  const whole = { rules: { ...rules, version: 'v' }, limits, isWhole: false, contentLength: null }
  const fits = await readBody(source([documentOf(150), ' '.repeat(50)]).body, whole)
  assert.equal(fits.isKept, false)
  assert.equal((await text(fits)).length, fits.contentLength)
  await assert.rejects(
    readBody(source([documentOf(150), ' '.repeat(51)]).body, whole),
    isRefused('body_too_large'),
  )
  const early = documentOf(150, ',"anthropic_version":"own"')
  const decided = await readBody(source([early, ' '.repeat(51)]).body, whole)
  assert.equal(decided.contentLength, null)
})

test('what is wrong with a body is told before it is sent when it is whole', async () => {
  await assert.rejects(
    readBody(source(['[]']).body, { rules, limits, isWhole: false, contentLength: null }),
    isRefused('bad_request'),
  )
  await assert.rejects(
    readBody(source([]).body, { rules, limits, isWhole: false, contentLength: null }),
    isRefused('bad_request'),
  )
  const broken = source(['{', new Error('reset')]).body
  await assert.rejects(
    readBody(broken, { rules, limits, isWhole: false, contentLength: null }),
    isRefused('bad_request'),
  )
})

test('what is wrong with a streaming body ends it broken and is told to the watcher', async () => {
  const head = `{"a":"${'x'.repeat(100)}"`
  const TAILS = [
    ['} {'],
    ['}', 'x'],
    [''],
    [',"stream":true,"stream":false}'],
    [new Error('reset')],
  ]
  for (const tail of TAILS) {
    const heard: unknown[] = []
    const body = await readBody(source([head, ...tail]).body, {
      rules,
      limits,
      isWhole: false,
      contentLength: null,
    })
    await assert.rejects(
      text(body, { ...deaf, failed: error => heard.push(error) }),
      isRefused('bad_request'),
    )
    assert.equal(heard.length, 1)
  }
})

test('a transport that stops pulling leaves the agent its connection', async () => {
  let isEnded = false
  async function* endless(): AsyncGenerator<Uint8Array> {
    try {
      yield Buffer.from(`{"a":"${'x'.repeat(101)}`)
      for (;;) yield Buffer.from('x')
    } finally {
      isEnded = true
    }
  }
  const body = await readBody(endless(), { rules, limits, isWhole: false, contentLength: null })
  for await (const _ of body.open(deaf)) break
  assert.equal(isEnded, false)
})

test('a body that must be whole is read to its end, up to the larger limit', async () => {
  const options = { rules, limits, isWhole: true, contentLength: null }
  const body = await readBody(source([documentOf(150), ' '.repeat(50)]).body, options)
  const first = await text(body)
  assert.equal(first.length, body.contentLength)
  assert.equal(await text(body), first, 'it can be hashed and then sent')
  await assert.rejects(
    readBody(source([documentOf(150), ' '.repeat(51)]).body, options),
    isRefused('body_too_large'),
  )
})
