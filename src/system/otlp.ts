import type { Secret } from '../core/secret.ts'
import type { Clock } from './clock.ts'
import type { Fetch } from './fetch.ts'
import type { Log } from './log.ts'
import type { Random } from './random.ts'
import type { Span, SpanAttributes, SpanOptions, TraceContext, Tracer } from './trace.ts'

/** Spans that wait for the collector. When it is away, what comes beyond is dropped and counted. */
const QUEUE_MAX = 2_048
const BATCH_MAX = 512
const INTERVAL_MS = 5_000
const EXPORT_MS = 10_000
/** Nobody should wait long for a collector when a program ends. */
const FAREWELL_MS = 2_000
/** Of an answer that nobody reads. */
const ANSWER_BYTES_MAX = 65_536

const KINDS: Readonly<Record<SpanOptions['kind'], number>> = { internal: 1, server: 2, client: 3 }

/** Where spans go, and under which name. */
export interface OtlpConfig {
  /** The collector's address for traces, ending in `/v1/traces`. */
  readonly url: string
  /** Sent with each batch, for example an API key. */
  readonly headers: ReadonlyMap<string, Secret>
  readonly serviceName: string
}

/** Tracing that was configured, or was not. */
interface Tracing {
  /** Null when it was not. */
  readonly tracer: Tracer | null
  /** Sends what is left, within seconds. */
  stop(): Promise<void>
}

/** Begins to trace, if that is configured. */
export function startTracing(deps: OtlpDeps, config: OtlpConfig | null): Tracing {
  if (config === null) return { tracer: null, stop: async () => {} }
  const stopping = new AbortController()
  const tracer = createOtlpTracer(deps, config)
  const running = tracer.run(stopping.signal)
  return {
    tracer,
    async stop() {
      stopping.abort()
      await running
    },
  }
}

/** A tracer that sends its spans to an OpenTelemetry collector (OTLP over HTTP, as JSON). */
interface OtlpTracer extends Tracer {
  /** Sends batches until `signal` aborts, and then what is left if the collector takes it. */
  run(signal: AbortSignal): Promise<void>
}

interface Ended {
  readonly name: string
  readonly options: SpanOptions
  readonly context: TraceContext
  readonly startMs: number
  readonly endMs: number
  readonly error: string
  readonly attributes: SpanAttributes
}

/** What sending spans needs of the outside. */
interface OtlpDeps {
  readonly clock: Clock
  readonly random: Random
  readonly fetch: Fetch
  readonly log: Log
}

/** Builds the tracer. Its spans wait in a bounded queue, so that whoever ends one never waits. */
function createOtlpTracer(deps: OtlpDeps, config: OtlpConfig): OtlpTracer {
  const { clock, random } = deps
  const { host } = new URL(config.url)
  const queue: Ended[] = []
  const counts = { exported: 0, dropped: 0 }
  let sleeper = new AbortController()
  let isLost = false

  const keep = (span: Ended): void => {
    if (!span.context.isSampled) return
    if (queue.length >= QUEUE_MAX) {
      counts.dropped += 1
      return
    }
    queue.push(span)
    if (queue.length === BATCH_MAX) sleeper.abort()
  }

  const flush = async (gone: AbortSignal): Promise<void> => {
    const batch = queue.splice(0, BATCH_MAX)
    if (batch.length === 0) return
    const signal = AbortSignal.any([AbortSignal.timeout(EXPORT_MS), gone])
    const reason = await send(deps, config, { batch, signal })
    counts[reason === null ? 'exported' : 'dropped'] += batch.length
    // One line for each change, however long the collector is away.
    if (reason !== null && !isLost) deps.log.warn('traces.lost', { host, reason })
    if (reason === null && isLost) deps.log.info('traces.found', { host })
    isLost = reason !== null
  }

  return {
    counts: () => ({ ...counts }),
    start(name, options) {
      const { parent } = options
      const context: TraceContext = {
        traceId: parent?.traceId ?? hex(random, 16),
        spanId: hex(random, 8),
        isSampled: parent?.isSampled ?? true,
      }
      const { startedMs = clock.monotonicMs() } = options
      const startMs = clock.nowMs() - (clock.monotonicMs() - startedMs)
      let isOpen = true
      const end: Span['end'] = (error, attributes = {}) => {
        if (!isOpen) return
        isOpen = false
        const endMs = startMs + clock.monotonicMs() - startedMs
        keep({ name, options, context, startMs, endMs, error, attributes })
      }
      return { context, end }
    },
    async run(signal) {
      const gone = new AbortController()
      const ended = new AbortController()
      const bidFarewell = () => void clock.sleep(FAREWELL_MS, ended.signal).then(() => gone.abort())
      signal.addEventListener('abort', bidFarewell, { once: true })
      while (!signal.aborted) {
        sleeper = new AbortController()
        const isFull = queue.length >= BATCH_MAX
        if (!isFull) await clock.sleep(INTERVAL_MS, AbortSignal.any([signal, sleeper.signal]))
        await flush(gone.signal)
      }
      while (queue.length > 0 && !isLost) await flush(gone.signal)
      counts.dropped += queue.splice(0).length
      ended.abort()
    },
  }
}

/** Why the collector did not take a batch; null when it did. A batch is never sent twice. */
async function send(
  deps: Pick<OtlpDeps, 'fetch'>,
  config: OtlpConfig,
  { batch, signal }: { readonly batch: readonly Ended[]; readonly signal: AbortSignal },
): Promise<string | null> {
  try {
    const answer = await deps.fetch({
      method: 'POST',
      url: config.url,
      headers: new Map([
        ...config.headers.entries().map(([name, value]) => [name, value.reveal()] as const),
        ['content-type', 'application/json'],
      ]),
      body: Buffer.from(JSON.stringify(requestOf(config, batch))),
      signal,
    })
    await drain(answer.body)
    return answer.status >= 200 && answer.status < 300 ? null : `status ${answer.status}`
  } catch (error) {
    // The network alone throws here, and a collector that is away is none of our users' business.
    return error instanceof Error ? error.message : String(error)
  }
}

async function drain(body: AsyncIterable<Uint8Array>): Promise<void> {
  let bytes = 0
  for await (const chunk of body) {
    bytes += chunk.byteLength
    if (bytes > ANSWER_BYTES_MAX) return
  }
}

/** An `ExportTraceServiceRequest` in the JSON encoding of OTLP: ids in hexadecimal, integers as text. */
function requestOf({ serviceName }: OtlpConfig, batch: readonly Ended[]): object {
  const resource = { attributes: attributesOf({ 'service.name': serviceName }) }
  const scope = { name: 'openshell' }
  return { resourceSpans: [{ resource, scopeSpans: [{ scope, spans: batch.map(spanOf) }] }] }
}

function spanOf(span: Ended): object {
  const { context, options, error } = span
  return {
    traceId: context.traceId,
    spanId: context.spanId,
    ...(options.parent === null ? {} : { parentSpanId: options.parent.spanId }),
    name: span.name,
    kind: KINDS[options.kind],
    startTimeUnixNano: nanoseconds(span.startMs),
    endTimeUnixNano: nanoseconds(span.endMs),
    attributes: attributesOf({ ...options.attributes, ...span.attributes }),
    status: error === '' ? {} : { code: 2, message: error },
  }
}

function attributesOf(attributes: SpanAttributes): readonly object[] {
  return Object.entries(attributes).map(([key, value]) => ({ key, value: anyValue(value) }))
}

function anyValue(value: string | number | boolean): object {
  if (typeof value === 'string') return { stringValue: value }
  if (typeof value === 'boolean') return { boolValue: value }
  return Number.isInteger(value) ? { intValue: String(value) } : { doubleValue: value }
}

/** Microseconds are what a double of milliseconds holds. */
function nanoseconds(ms: number): string {
  return String(BigInt(Math.round(ms * 1_000)) * 1_000n)
}

function hex(random: Random, bytes: number): string {
  return Buffer.from(random.bytes(bytes)).toString('hex')
}
