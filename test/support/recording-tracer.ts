import type { SpanAttributes, SpanOptions, Tracer } from '../../src/system/trace.ts'

/** A span that has ended, with its attributes from both ends. */
export interface Recorded {
  readonly name: string
  readonly kind: SpanOptions['kind']
  readonly traceId: string
  readonly spanId: string
  /** '' for the first of a trace. */
  readonly parentId: string
  readonly isSampled: boolean
  readonly error: string
  readonly attributes: SpanAttributes
}

/** A tracer that keeps what has ended, in the order of the ends. */
export function recordingTracer(): Tracer & { readonly ended: readonly Recorded[] } {
  const ended: Recorded[] = []
  let count = 0
  return {
    ended,
    counts: () => ({ exported: ended.length, dropped: 0 }),
    start(name, { kind, parent, attributes }) {
      count += 1
      const spanId = count.toString(16).padStart(16, '0')
      const traceId = parent?.traceId ?? count.toString(16).padStart(32, '0')
      const isSampled = parent?.isSampled ?? true
      return {
        context: { traceId, spanId, isSampled },
        end(error, more = {}) {
          if (ended.some(one => one.spanId === spanId)) return
          const all = { ...attributes, ...more }
          const parentId = parent?.spanId ?? ''
          ended.push({ name, kind, traceId, spanId, parentId, isSampled, error, attributes: all })
        },
      }
    },
  }
}
