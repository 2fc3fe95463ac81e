/** Where a span stands in its trace, as W3C Trace Context tells it: lower-case hexadecimal. */
export interface TraceContext {
  /** 32 digits. */
  readonly traceId: string
  /** 16 digits. */
  readonly spanId: string
  /** Whether the trace is recorded; whoever begins it decides. */
  readonly isSampled: boolean
}

/** What is said of a span. Never a secret, and of a vendor's answer nothing but codes. */
export type SpanAttributes = Readonly<Record<string, string | number | boolean>>

/** A piece of work under way. */
export interface Span {
  readonly context: TraceContext
  /** Ends it; only the first end counts. `error` is a stable code, '' when all went well. */
  end(error: string, attributes?: SpanAttributes): void
}

/** How a new span is related to others. */
export interface SpanOptions {
  /** `server`: answers somebody · `client`: asks somebody · `internal`: neither. */
  readonly kind: 'server' | 'client' | 'internal'
  /** Null begins a trace. */
  readonly parent: TraceContext | null
  readonly attributes: SpanAttributes
  /** When it began, if that was before now, on the monotonic clock. */
  readonly startedMs?: number
}

/** What became of the spans so far. */
interface SpanCounts {
  readonly exported: number
  readonly dropped: number
}

/** Records what happens, handed in. It never waits and never throws. */
export interface Tracer {
  start(name: string, options: SpanOptions): Span
  counts(): SpanCounts
}

const TRACEPARENT = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/

/**
 * Reads the value of a `traceparent` header (W3C Trace Context §3.2); null when it is none. Versions to
 * come may add fields, which are left aside.
 */
export function parseTraceparent(text: string): TraceContext | null {
  const [, version, traceId = '', spanId = '', flags = '', rest] = TRACEPARENT.exec(text) ?? []
  if (version === undefined || version === 'ff') return null
  if (version === '00' && rest !== undefined) return null
  if (/^0+$/.test(traceId) || /^0+$/.test(spanId)) return null
  return { traceId, spanId, isSampled: (Number.parseInt(flags, 16) & 1) === 1 }
}

/** The value of a `traceparent` header. */
export function formatTraceparent({ traceId, spanId, isSampled }: TraceContext): string {
  return `00-${traceId}-${spanId}-${isSampled ? '01' : '00'}`
}
