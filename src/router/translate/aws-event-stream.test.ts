// Goal: binary frames are read however they are cut, and nothing that was damaged passes.
// Method: messages framed by the test, cut at random places, with single bits turned.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { awsMessage } from '../../../test/support/aws-event-stream.ts'
import { seed } from '../../../test/support/seeded-random.ts'
import { UpstreamError } from '../exchange.ts'
import { readAwsEvents } from './aws-event-stream.ts'

interface Read {
  readonly headers: Readonly<Record<string, string>>
  readonly payload: string
}

async function read(chunks: readonly Uint8Array[]): Promise<readonly Read[]> {
  async function* body(): AsyncGenerator<Uint8Array> {
    yield* chunks
  }
  const events: Read[] = []
  for await (const { headers, payload } of readAwsEvents(body())) {
    events.push({ headers: Object.fromEntries(headers), payload: Buffer.from(payload).toString() })
  }
  return events
}

/** Cuts bytes at the given places. */
function cut(bytes: Buffer, places: readonly number[]): readonly Buffer[] {
  const ends = [...places.map(place => place % (bytes.length + 1)), bytes.length].sort(
    (a, b) => a - b,
  )
  return ends.map((end, index) => bytes.subarray(ends[index - 1] ?? 0, end))
}

const messages = fc.array(
  fc.record({
    headers: fc.dictionary(fc.stringMatching(/^:[a-z-]{1,20}$/), fc.stringMatching(/^\w{0,40}$/)),
    payload: fc.string({ unit: 'grapheme' }),
  }),
  { maxLength: 6 },
)

test('messages are read whole and in order, wherever the bytes are cut', async () => {
  await fc.assert(
    fc.asyncProperty(messages, fc.array(fc.nat(), { maxLength: 20 }), async (sent, places) => {
      const plain = sent.map(({ headers, payload }) => ({ headers: { ...headers }, payload }))
      const bytes = Buffer.concat(plain.map(one => awsMessage(one.headers, one.payload)))
      assert.deepEqual(await read(cut(bytes, places)), plain)
      assert.deepEqual(await read([...bytes].map(byte => Buffer.from([byte]))), plain)
    }),
    { seed, numRuns: 60 },
  )
})

test('a turned bit anywhere breaks the stream', async () => {
  const whole = awsMessage({ ':event-type': 'chunk' }, '{"bytes":"e30="}')
  for (let bit = 0; bit < whole.length * 8; bit += 1) {
    const bytes = Buffer.from(whole)
    bytes[bit >> 3] = (bytes[bit >> 3] ?? 0) ^ (1 << (bit & 7))
    await assert.rejects(
      read([bytes]),
      (error: unknown) => error instanceof UpstreamError && error.kind === 'broken',
      `bit ${bit}`,
    )
  }
})

test('an end within a message breaks the stream, after the whole messages', async () => {
  const whole = awsMessage({ a: 'b' }, 'x')
  for (let length = 1; length < whole.length; length += 1) {
    const events: unknown[] = []
    async function* body(): AsyncGenerator<Uint8Array> {
      yield Buffer.concat([whole, whole.subarray(0, length)])
    }
    await assert.rejects(async () => {
      for await (const event of readAwsEvents(body())) events.push(event)
    }, UpstreamError)
    assert.equal(events.length, 1)
  }
})
