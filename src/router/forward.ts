import type { Protocol, ResolvedRoute } from '../core/route.ts'
import { Attempt } from './attempt.ts'
import { judgeBetas, mayRefuseBetas } from './beta-refusal.ts'
import { type Call, type Errand, type Passage, prepare } from './errand.ts'
import { errorAnswer, RouterError, upstreamFailure } from './errors.ts'
import type {
  AgentRequest,
  AgentResponse,
  FlowingResponse,
  Upstream,
  UpstreamRequest,
  UpstreamResponse,
} from './exchange.ts'
import { freshRoute, isReady } from './freshness.ts'
import { dialectOf } from './match.ts'
import { deadTokenRule, judgeRefusal } from './refusal.ts'
import type { RefusedBetas } from './refused-betas.ts'
import { abandon, answerWhole, type RelayEnd, relay } from './relay.ts'
import {
  type RefusedRoute,
  type RenewalDeps,
  rejected,
  rejectedAgain,
  renewedRoute,
} from './renewal.ts'
import type { RequestBody } from './request-body.ts'
import { upstreamHeaders, upstreamTarget } from './rewrite.ts'
import { signedHead } from './sigv4.ts'

/** What the data path needs. */
export interface ForwardDeps extends RenewalDeps {
  readonly upstream: Upstream
  readonly refusedBetas: RefusedBetas
}

/** What became of a request, for logs and metrics. */
export interface Outcome {
  /**
   * `answered`: an answer passed whole, the upstream's or the model list · `refused`: an error of the
   * router's own · `broken`: the upstream broke off in the middle · `abandoned`: the agent is gone.
   */
  readonly kind: 'answered' | 'refused' | 'broken' | 'abandoned'
  /** What the agent was sent; 0 when it was gone. */
  readonly status: number
  /** The router's own error as in `x-openshell-error`, '' when there was none. */
  readonly code: string
  /** null when the request matched nothing. */
  readonly protocol: Protocol | null
  /** '' when no route was reached. */
  readonly providerName: string
  readonly isReplayed: boolean
}

type UpstreamHead = Pick<UpstreamRequest, 'origin' | 'path' | 'method' | 'headers'>

function incomplete(): string {
  return "The provider's API did not complete its answer. Try again"
}

function notBegun(ms: number): string {
  return `The provider's API did not begin to answer within ${ms / 1_000} s. Try again, or allow more with "openshell inference update --timeout"`
}

/** How a try at the upstream ended. */
type TryEnd = RelayEnd | Refusal

type Refusal =
  | ({ readonly kind: 'rejected'; readonly call: Call } & RefusedRoute)
  | {
      /** The vendor refused betas. */
      readonly kind: 'beta_refused'
      readonly route: ResolvedRoute
      /** The same call without them. */
      readonly call: Call
    }

/**
 * Serves one request of an agent, from its head to the last byte of the answer. The agent gets
 * exactly one answer: the upstream's, untouched unless the operation translates, or an error in its
 * own dialect. It never rejects.
 */
export async function forward(
  deps: ForwardDeps,
  request: AgentRequest,
  response: AgentResponse | FlowingResponse,
): Promise<Outcome> {
  const passage: Passage = {
    request,
    response,
    protocol: null,
    providerName: '',
    isReplayed: false,
  }
  let outcome: Outcome
  try {
    const prepared = prepare(deps, passage)
    const errand = prepared instanceof Promise ? await prepared : prepared
    const first = errand.kind === 'errand' ? await tryUpstream(deps, passage, errand) : errand
    const end = isRefusal(first) ? await tryAgain(deps, passage, first) : first
    outcome = outcomeOf(passage, end, end.kind === 'broken' ? end.error : null)
  } catch (thrown) {
    // Whatever throws does so before the head: from there on, `relay` answers for everything.
    outcome = await refused(deps, passage, thrown)
  }
  const isQuiet = outcome.kind === 'answered' || outcome.kind === 'abandoned'
  if (isQuiet) deps.log.debug('request.done', { ...outcome })
  else deps.log.warn('request.done', { ...outcome })
  return outcome
}

/** Answers with an error of the router's own. */
async function refused(deps: ForwardDeps, passage: Passage, thrown: unknown): Promise<Outcome> {
  const { request, response } = passage
  const error = ownError(deps, thrown)
  if (error.cause !== undefined) {
    deps.log.warn('request.failed', { code: error.shownCode, error: error.cause })
  }
  const isHead = request.method === 'HEAD'
  const end = request.signal.aborted
    ? abandon(response)
    : await answerWhole(errorAnswer(dialectOf(request), error), response, { isHead })
  return outcomeOf(passage, end, error)
}

function outcomeOf(passage: Passage, end: RelayEnd, error: RouterError | null): Outcome {
  const { protocol, providerName, isReplayed } = passage
  if (end.kind === 'abandoned') {
    return { kind: 'abandoned', status: 0, code: '', protocol, providerName, isReplayed }
  }
  const kind = end.kind === 'answered' && error !== null ? 'refused' : end.kind
  const code = error === null ? '' : error.shownCode
  return { kind, status: end.status, code, protocol, providerName, isReplayed }
}

function isRefusal(end: TryEnd): end is Refusal {
  return end.kind === 'rejected' || end.kind === 'beta_refused'
}

/** Tries the upstream once more: without what it refused, or with a newer token for a dead one. */
async function tryAgain(deps: ForwardDeps, passage: Passage, first: Refusal): Promise<RelayEnd> {
  if (first.kind === 'beta_refused') {
    const next = await tryUpstream(deps, passage, first)
    return isRefusal(next) ? await tryAgain(deps, passage, next) : next
  }
  const { call } = first
  logRejected(deps, first)
  const newer = await renewedRoute(deps, first, passage.request.signal)
  if (call.body !== null && !call.body.isKept) {
    const message = 'a newer one is there, but the body was too large to be kept. Send it again'
    throw rejected(deps, newer, { message, nextAttemptAtMs: deps.clock.nowMs() + 1 })
  }
  passage.isReplayed = true
  const second = await tryUpstream(deps, passage, { call, route: newer })
  if (second.kind === 'beta_refused') return await tryAgain(deps, passage, second)
  if (second.kind !== 'rejected') return second
  logRejected(deps, second)
  throw await rejectedAgain(deps, second)
}

function logRejected({ log }: ForwardDeps, { route, refusal }: RefusedRoute): void {
  const { providerName, generation } = route
  log.warn('token.rejected', { provider: providerName, generation, ...refusal })
}

async function tryUpstream(
  deps: ForwardDeps,
  passage: Passage,
  options: Pick<Errand, 'call' | 'route'>,
): Promise<TryEnd> {
  const { request, response } = passage
  const { limits } = deps
  // Once more, because reading the body or waiting for a renewal may have outlasted the token.
  const route = isReady(deps, options.route)
    ? options.route
    : await freshRoute(deps, options.route, request.signal)
  const unsigned = upstreamHead(passage, options.call, route)
  const { body } = options.call
  const head =
    route.auth.kind === 'sigv4'
      ? await signedHead(unsigned, { route, body, nowMs: deps.clock.nowMs() })
      : unsigned
  const attempt = new Attempt(deps.clock, request.signal)
  try {
    let answer = await send(deps, { head, body, route, attempt })
    const rule = deadTokenRule(route, answer.status)
    if (rule !== null) {
      attempt.limit(limits.idleMs, incomplete)
      const judged = await judgeRefusal(answer, {
        ...{ rule, credential: route.credential, bytesMax: limits.refusalBytesMax },
      })
      if (judged.isDead) {
        attempt.abort('the token is dead')
        const refusal = { status: answer.status, reason: judged.reason }
        return { kind: 'rejected', call: options.call, route, refusal }
      }
      answer = judged.answer
    }
    if (mayRefuseBetas(answer, options.call)) {
      attempt.limit(limits.idleMs, incomplete)
      const judged = await judgeBetas(deps, answer, { call: options.call, route })
      if (judged.again !== null) {
        passage.isReplayed = true
        attempt.abort('a beta is refused')
        return { kind: 'beta_refused', route, call: judged.again }
      }
      answer = judged.answer
    }
    if (options.call.translateAnswer !== null) {
      attempt.limit(limits.idleMs, incomplete)
      answer = await options.call.translateAnswer(answer)
    }
    const end = relay(answer, response, { attempt, request, limits })
    return end instanceof Promise ? await end : end
  } catch (error) {
    attempt.abort(error)
    throw upstreamFailure(attempt.reasonFor(error))
  } finally {
    attempt.close()
  }
}

/** Everything of the upstream's request but its body. */
function upstreamHead({ request }: Passage, call: Call, route: ResolvedRoute): UpstreamHead {
  const { match, operation, body } = call
  const isStream = body?.isStream ?? false
  const headers = upstreamHeaders(call.headers, route, operation)
  const { origin, path } = upstreamTarget(match, route, { operation, isStream })
  return { origin, path, method: request.method, headers }
}

/** Sends a request. While its body still comes, its time limit counts what the upstream spends alone. */
function send(
  deps: ForwardDeps,
  options: {
    readonly head: UpstreamHead
    readonly body: RequestBody | null
    readonly route: ResolvedRoute
    readonly attempt: Attempt
  },
): Promise<UpstreamResponse> {
  const { head, body, route, attempt } = options
  const { origin, path, method, headers } = head
  const { signal } = attempt
  const limitMs = route.timeoutMs === 0 ? deps.limits.firstByteMs : route.timeoutMs
  attempt.limit(limitMs, notBegun)
  if (body === null) {
    return deps.upstream({ origin, path, method, headers, body, contentLength: null, signal })
  }
  const { whole, contentLength } = body
  if (whole !== null) {
    return deps.upstream({ origin, path, method, headers, body: whole, contentLength, signal })
  }
  let isAnswered = false
  const source = body.open({
    waiting: () => isAnswered || attempt.unlimit(),
    sending: () => isAnswered || attempt.limit(limitMs, notBegun),
    failed: (error: unknown) => attempt.abort(error),
  })
  const sent = deps.upstream({ origin, path, method, headers, body: source, contentLength, signal })
  return sent.then(answer => {
    isAnswered = true
    return answer
  })
}

function ownError(deps: ForwardDeps, thrown: unknown): RouterError {
  if (thrown instanceof RouterError) return thrown
  deps.log.error('request.failed', { error: thrown })
  return new RouterError('internal', 'The router failed on this request. See its log')
}
