import type { Attempt } from './attempt.ts'
import { errorEvent, RouterError, upstreamFailure, type WholeAnswer } from './errors.ts'
import {
  type AgentRequest,
  type AgentResponse,
  type FlowingBody,
  type FlowingResponse,
  type UpstreamResponse,
  WholeBody,
} from './exchange.ts'
import type { Limits } from './limits.ts'
import { dialectOf } from './match.ts'
import { agentHeaders, headerValue } from './rewrite.ts'

/** How an answer ended: whole, broken off by the upstream, or with the agent gone. */
export type RelayEnd =
  | { readonly kind: 'answered'; readonly status: number }
  | { readonly kind: 'broken'; readonly status: number; readonly error: RouterError }
  | { readonly kind: 'abandoned' }

/**
 * Passes an upstream's answer to the agent, byte for byte and as fast as the agent takes it. An
 * answer that breaks off ends broken; the reader of a stream is first told why. It never rejects.
 */
export function relay(
  answer: UpstreamResponse,
  response: AgentResponse | FlowingResponse,
  options: RelayOptions,
): RelayEnd | Promise<RelayEnd> {
  const { body } = answer
  if (body instanceof WholeBody) {
    const isFlowing = 'push' in response
    return isFlowing ? relayAtOnce(answer, body, response) : relayWhole(answer, body, response)
  }
  if ('flowInto' in body && 'push' in response) {
    return relayFlowing({ ...answer, body }, response, options)
  }
  return relayPulled(answer, response, options)
}

interface RelayOptions {
  readonly attempt: Attempt
  /** For an error in its dialect. */
  readonly request: AgentRequest
  readonly limits: Limits
}

async function relayPulled(
  answer: UpstreamResponse,
  response: AgentResponse,
  { attempt, request, limits }: RelayOptions,
): Promise<RelayEnd> {
  const chunks = answer.body[Symbol.asyncIterator]()
  try {
    response.start(answer.status, agentHeaders(answer.headers))
    for (;;) {
      attempt.limit(limits.idleMs, silent)
      const next = await nextChunk(chunks, attempt)
      // While the agent takes its time, the upstream's silence is not counted.
      attempt.unlimit()
      if (next.done === true) break
      await response.write(next.value)
    }
    await response.end()
    return { kind: 'answered', status: answer.status }
  } catch (error) {
    return brokenOff(answer, response, { attempt, request, error })
  }
}

/** The same for what is pushed. Its bytes pass within the call that tells of them. */
async function relayFlowing(
  answer: UpstreamResponse & { readonly body: FlowingBody },
  response: FlowingResponse,
  { attempt, request, limits }: RelayOptions,
): Promise<RelayEnd> {
  const { status, body } = answer
  const { promise: ended, resolve, reject } = Promise.withResolvers<void>()
  try {
    response.start(status, agentHeaders(answer.headers))
    attempt.limit(limits.idleMs, silent)
    response.onRoom(() => {
      attempt.limit(limits.idleMs, silent)
      body.resume()
    })
    body.flowInto({
      bytes(bytes) {
        if (response.push(bytes)) {
          attempt.limit(limits.idleMs, silent)
          return
        }
        // While the agent takes its time, the upstream's silence is not counted.
        attempt.unlimit()
        body.pause()
      },
      end: resolve,
      fail: error => reject(upstreamFailure(attempt.reasonFor(error))),
    })
    await ended
    attempt.unlimit()
    await response.end()
    return { kind: 'answered', status }
  } catch (error) {
    return brokenOff(answer, response, { attempt, request, error })
  }
}

function silent(ms: number): string {
  return `The provider's API fell silent for ${ms / 1_000} s in the middle of its answer. Try again`
}

async function brokenOff(
  answer: UpstreamResponse,
  response: AgentResponse,
  options: Omit<RelayOptions, 'limits'> & { readonly error: unknown },
): Promise<RelayEnd> {
  const { attempt, request, error } = options
  attempt.abort(error)
  // Besides the upstream, whose failures are told as errors of the router, only the agent's side can
  // fail.
  if (attempt.isAgentGone || !(error instanceof RouterError)) return abandon(response)
  if (isPlainEventStream(answer)) {
    await tellReader(response, errorEvent(dialectOf(request), error))
  }
  response.destroy()
  return { kind: 'broken', status: answer.status, error }
}

/** The same as {@link relayWhole} within the call, unless the agent must first take what it has. */
function relayAtOnce(
  answer: UpstreamResponse,
  body: WholeBody,
  response: FlowingResponse,
): RelayEnd | Promise<RelayEnd> {
  const { status, headers } = answer
  try {
    const isTaken = response.complete(status, agentHeaders(headers), body.pieces)
    return isTaken ? { kind: 'answered', status } : relayWhole(answer, body, response)
  } catch {
    return abandon(response)
  }
}

/** Passes an answer that is there to its end, so that the upstream can do nothing wrong any more. */
async function relayWhole(
  { status, headers }: UpstreamResponse,
  { pieces }: WholeBody,
  response: AgentResponse,
): Promise<RelayEnd> {
  try {
    response.start(status, agentHeaders(headers))
    for (const piece of pieces) await response.write(piece)
    await response.end()
    return { kind: 'answered', status }
  } catch {
    return abandon(response)
  }
}

/** Sends an answer of the router's own. It never rejects. */
export async function answerWhole(
  answer: WholeAnswer,
  response: AgentResponse,
  options: { readonly isHead: boolean },
): Promise<RelayEnd> {
  try {
    response.start(answer.status, answer.headers)
    if (!options.isHead) await response.write(answer.body)
    await response.end()
    return { kind: 'answered', status: answer.status }
  } catch {
    // Only the agent's side can fail here, and it can no longer be told.
    return abandon(response)
  }
}

/** Gives up on an agent that is gone. */
export function abandon(response: AgentResponse): RelayEnd {
  response.destroy()
  return { kind: 'abandoned' }
}

async function nextChunk(
  chunks: AsyncIterator<Uint8Array>,
  attempt: Attempt,
): Promise<IteratorResult<Uint8Array>> {
  try {
    return await chunks.next()
  } catch (error) {
    throw upstreamFailure(attempt.reasonFor(error))
  }
}

/** Whether an event may be added: not to compressed bytes, and not beyond a promised length. */
function isPlainEventStream({ headers }: UpstreamResponse): boolean {
  return (
    /^text\/event-stream\b/i.test(headerValue(headers, 'content-type')) &&
    /^(identity)?$/i.test(headerValue(headers, 'content-encoding')) &&
    headerValue(headers, 'content-length') === ''
  )
}

async function tellReader(response: AgentResponse, event: Uint8Array): Promise<void> {
  try {
    await response.write(event)
  } catch {
    // The agent is gone as well: there is nobody to tell.
  }
}
