import type { AgentRequest, AgentResponse } from '../router/exchange.ts'
import { type ForwardDeps, forward } from '../router/forward.ts'
import { answerWhole } from '../router/relay.ts'
import { asksForMetrics, type RouterMetrics } from './metrics.ts'
import { type RequestTracing, traceRequest } from './request-traces.ts'

/** Answers a request of an agent: with the router's numbers, or by the data path, which is told of. */
export function agentService(options: {
  readonly forwardDeps: ForwardDeps
  readonly metrics: RouterMetrics
  /** Null records nothing, and nothing stands in between. */
  readonly tracing: RequestTracing | null
}): (request: AgentRequest, response: AgentResponse) => Promise<void> {
  const { metrics, tracing } = options
  const forwardDeps = { ...options.forwardDeps, table: metrics.table }
  return async (request, response) => {
    if (asksForMetrics(request)) {
      await answerWhole(metrics.answer(), response, { isHead: request.method === 'HEAD' })
      return
    }
    const trace = tracing === null ? null : traceRequest(tracing, forwardDeps, request)
    const outcome = await forward(trace?.deps ?? forwardDeps, request, response)
    trace?.ended(outcome)
    metrics.served(outcome)
  }
}
