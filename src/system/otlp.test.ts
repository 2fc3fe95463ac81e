// Goal: spans reach a collector as OTLP says, and a collector that is away costs nothing but spans.
// Method: a pretend collector behind the fetch that is handed in, and a clock that the test moves.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { FakeClock } from '../../test/support/fake-clock.ts'
import { seededRandom } from '../../test/support/seeded-random.ts'
import { Secret } from '../core/secret.ts'
import type { FetchRequest } from './fetch.ts'
import { type OtlpConfig, startTracing } from './otlp.ts'
import type { Span, SpanOptions, Tracer } from './trace.ts'

const CONFIG: OtlpConfig = {
  url: 'http://collector.test:4318/v1/traces',
  headers: new Map([['x-key', new Secret('hush')]]),
  serviceName: 'openshell-test',
}

const OPTIONS: SpanOptions = { kind: 'internal', parent: null, attributes: {} }

interface Heard extends FetchRequest {
  readonly spans: readonly Readonly<Record<string, unknown>>[]
}

/** A collector that answers as the test says; null never answers. */
function createWorld() {
  const clock = new FakeClock()
  const heard: Heard[] = []
  const lines: string[] = []
  const collector: { status: number | null | 'away' } = { status: 200 }
  const note = (event: string) => lines.push(event)
  const tracing = startTracing(
    {
      ...{
        clock,
        random: seededRandom(),
        log: { debug: note, info: note, warn: note, error: note },
      },
      async fetch(request) {
        const { resourceSpans } = JSON.parse(Buffer.from(request.body ?? []).toString())
        heard.push({ ...request, spans: resourceSpans[0].scopeSpans[0].spans })
        if (collector.status === 'away') throw new Error('connect ECONNREFUSED')
        if (collector.status !== null) return answerOf(collector.status)
        const { promise, reject } = Promise.withResolvers<never>()
        request.signal.addEventListener('abort', () => reject(new Error('aborted')))
        return promise
      },
    },
    CONFIG,
  )
  const { tracer } = tracing
  assert.ok(tracer !== null)
  const spanOf = (name: string): Span => tracer.start(name, OPTIONS)
  return { clock, heard, lines, collector, tracing, tracer, spanOf }
}

function answerOf(status: number) {
  async function* body(): AsyncGenerator<Uint8Array> {
    yield Buffer.from('{}')
  }
  return { status, headers: new Map<string, string>(), body: body() }
}

function end(tracer: Tracer, count: number): void {
  for (let index = 0; index < count; index += 1) tracer.start(`s${index}`, OPTIONS).end('')
}

test('a batch is what OTLP asks for: ids in hexadecimal, nanoseconds as text, typed attributes', async () => {
  const { clock, heard, tracer, tracing } = createWorld()
  const startMs = clock.nowMs()
  const root = tracer.start('agent request', { ...OPTIONS, kind: 'server' })
  const child = tracer.start('upstream attempt', {
    ...{ kind: 'client', parent: root.context },
    attributes: { 'server.address': 'api.test', count: 3, share: 0.5 },
  })
  await clock.advance(1_500)
  child.end('upstream_broken', { is_replayed: true })
  child.end('')
  root.end('')
  await clock.advance(5_000)
  assert.equal(heard.length, 1)
  const { url, method, headers, body } = heard[0] ?? assert.fail()
  assert.deepEqual([url, method], ['http://collector.test:4318/v1/traces', 'POST'])
  assert.deepEqual(Object.fromEntries(headers), {
    ...{ 'content-type': 'application/json', 'x-key': 'hush' },
  })
  const { traceId, spanId } = root.context
  assert.match(traceId, /^[0-9a-f]{32}$/)
  assert.match(spanId, /^[0-9a-f]{16}$/)
  const startTimeUnixNano = `${startMs}000000`
  const endTimeUnixNano = `${startMs + 1_500}000000`
  assert.deepEqual(JSON.parse(Buffer.from(body ?? []).toString()), {
    resourceSpans: [
      {
        resource: {
          attributes: [{ key: 'service.name', value: { stringValue: 'openshell-test' } }],
        },
        scopeSpans: [
          {
            scope: { name: 'openshell' },
            spans: [
              {
                ...{ traceId, spanId: child.context.spanId, parentSpanId: spanId, kind: 3 },
                ...{ name: 'upstream attempt', startTimeUnixNano, endTimeUnixNano },
                attributes: [
                  { key: 'server.address', value: { stringValue: 'api.test' } },
                  { key: 'count', value: { intValue: '3' } },
                  { key: 'share', value: { doubleValue: 0.5 } },
                  { key: 'is_replayed', value: { boolValue: true } },
                ],
                status: { code: 2, message: 'upstream_broken' },
              },
              {
                ...{ traceId, spanId, kind: 2, name: 'agent request' },
                ...{ startTimeUnixNano, endTimeUnixNano, attributes: [], status: {} },
              },
            ],
          },
        ],
      },
    ],
  })
  assert.deepEqual(tracer.counts(), { exported: 2, dropped: 0 })
  await tracing.stop()
})

test('a span that began before it was known, and one of a trace that nobody records', async () => {
  const { clock, heard, tracer, tracing } = createWorld()
  const startedMs = clock.monotonicMs()
  const startMs = clock.nowMs()
  await clock.advance(400)
  tracer.start('claim', { ...OPTIONS, startedMs }).end('')
  const unsampled = { traceId: 'a'.repeat(32), spanId: 'b'.repeat(16), isSampled: false }
  const silent = tracer.start('agent request', { ...OPTIONS, parent: unsampled })
  assert.deepEqual([silent.context.traceId, silent.context.isSampled], [unsampled.traceId, false])
  silent.end('')
  // The wall clock is stepped while a span is open: its length is what went by.
  const stepped = tracer.start('stepped', OPTIONS)
  clock.stepWall(-3_600_000)
  stepped.end('')
  await tracing.stop()
  assert.deepEqual(
    heard.flatMap(({ spans }) =>
      spans.map(({ name, startTimeUnixNano, endTimeUnixNano }) => [
        name,
        Number(startTimeUnixNano) / 1e6 - startMs,
        Number(endTimeUnixNano) / 1e6 - startMs,
      ]),
    ),
    [
      ['claim', 0, 400],
      ['stepped', 400, 400],
    ],
  )
})

test('a full batch goes at once, a small one after five seconds, nothing when there is nothing', async () => {
  const { clock, heard, tracer, tracing } = createWorld()
  await clock.advance(60_000)
  assert.equal(heard.length, 0)
  end(tracer, 511)
  await clock.advance(1)
  assert.equal(heard.length, 0)
  end(tracer, 2)
  await clock.advance(1)
  assert.deepEqual(
    heard.map(({ spans }) => spans.length),
    [512],
  )
  await clock.advance(5_000)
  assert.deepEqual(
    heard.map(({ spans }) => spans.length),
    [512, 1],
  )
  await tracing.stop()
})

test('while the collector is away spans are dropped and counted, and the log says so once', async () => {
  const { clock, lines, collector, tracer, tracing } = createWorld()
  for (const status of ['away', 503, 400] as const) {
    collector.status = status
    end(tracer, 10)
    await clock.advance(5_000)
  }
  assert.deepEqual(tracer.counts(), { exported: 0, dropped: 30 })
  collector.status = 200
  end(tracer, 1)
  await clock.advance(5_000)
  assert.deepEqual(tracer.counts(), { exported: 1, dropped: 30 })
  assert.deepEqual(lines, ['traces.lost', 'traces.found'])
  await tracing.stop()
})

test('a collector that never answers holds up nobody, and the queue has an end', async () => {
  const { clock, collector, tracer, tracing } = createWorld()
  collector.status = null
  end(tracer, 512)
  await clock.advance(1)
  end(tracer, 3_000)
  assert.deepEqual(tracer.counts(), { exported: 0, dropped: 3_000 - 2_048 })
  const stopped = tracing.stop()
  await clock.advance(2_000)
  await stopped
  assert.deepEqual(tracer.counts(), { exported: 0, dropped: 3_512 })
})

test('what is left at the end is sent', async () => {
  const { heard, tracer, tracing } = createWorld()
  end(tracer, 700)
  await tracing.stop()
  assert.equal(heard.flatMap(({ spans }) => spans).length, 700)
  assert.deepEqual(tracer.counts(), { exported: 700, dropped: 0 })
})

test('without a collector nothing is traced', async () => {
  const outside = { clock: new FakeClock(), random: seededRandom(), fetch: () => assert.fail() }
  const log = { debug() {}, info() {}, warn() {}, error() {} }
  const { tracer, stop } = startTracing({ ...outside, log }, null)
  assert.equal(tracer, null)
  await stop()
})
