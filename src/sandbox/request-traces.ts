import type { AgentRequest, UpstreamRequest } from '../router/exchange.ts'
import type { ForwardDeps, Outcome } from '../router/forward.ts'
import { headerValue } from '../router/rewrite.ts'
import { formatTraceparent, parseTraceparent, type Span, type Tracer } from '../system/trace.ts'

/** How requests are recorded. */
export interface RequestTracing {
  readonly tracer: Tracer
  /** Whether upstreams get a `traceparent`: it tells a vendor which requests belong together. */
  readonly isPassedUpstream: boolean
}

/** One request, recorded. */
export interface RequestTrace {
  /** What the request is to be served with. */
  readonly deps: ForwardDeps
  ended(outcome: Outcome): void
}

/**
 * Records a request: a span from its head to the last byte of the answer, as part of the agent's trace if
 * it brings a `traceparent`, with one for each try at the upstream until its head is there, and one for
 * each wait for a newer token.
 */
export function traceRequest(
  { tracer, isPassedUpstream }: RequestTracing,
  deps: ForwardDeps,
  request: AgentRequest,
): RequestTrace {
  const root = tracer.start('agent request', {
    ...{ kind: 'server', attributes: { 'http.request.method': request.method } },
    parent: parseTraceparent(headerValue(request.headers, 'traceparent')),
  })
  const parent = root.context
  return {
    deps: {
      ...deps,
      table: {
        ...deps.table,
        async waitUntil(isSo, signal) {
          const span = tracer.start('token wait', { kind: 'internal', parent, attributes: {} })
          await deps.table.waitUntil(isSo, signal)
          span.end('', { is_in_vain: signal.aborted })
        },
      },
      async upstream(upstreamRequest) {
        const attributes = { 'server.address': new URL(upstreamRequest.origin).host }
        const span = tracer.start('upstream attempt', { kind: 'client', parent, attributes })
        let isAnswered = false
        try {
          const answer = await deps.upstream(
            isPassedUpstream ? withTraceparent(upstreamRequest, span) : upstreamRequest,
          )
          isAnswered = true
          span.end('', { 'http.response.status_code': answer.status })
          return answer
        } finally {
          if (!isAnswered) span.end('upstream_unreachable')
        }
      },
    },
    ended({ kind, status, code, protocol, providerName, isReplayed }) {
      const isFault = kind === 'broken' || status >= 500
      root.end(isFault ? code || kind : '', {
        ...{ outcome: kind, 'http.response.status_code': status, provider: providerName },
        ...{ protocol: protocol ?? 'none', is_replayed: isReplayed },
      })
    },
  }
}

function withTraceparent(request: UpstreamRequest, span: Span): UpstreamRequest {
  const headers = [...request.headers, 'traceparent', formatTraceparent(span.context)]
  return { ...request, headers }
}
