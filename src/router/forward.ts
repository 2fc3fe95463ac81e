import type { Operation, Protocol, ResolvedRoute, VersionRule } from '../core/route.ts'
import { Attempt } from './attempt.ts'
import type { EditRules } from './body-edit.ts'
import { type Dialect, errorAnswer, RouterError, upstreamFailure } from './errors.ts'
import {
  type AgentRequest,
  type AgentResponse,
  type Upstream,
  type UpstreamRequest,
  type UpstreamResponse,
  WholeBody,
} from './exchange.ts'
import { freshRoute, isReady } from './freshness.ts'
import { dialectOf, type Match, matchRequest } from './match.ts'
import { isModelList, modelAnswer } from './model-list.ts'
import { refuseForeignPage } from './origin.ts'
import { deadTokenRule, judgeRefusal } from './refusal.ts'
import { abandon, answerWhole, type RelayEnd, relay } from './relay.ts'
import {
  type RefusedRoute,
  type RenewalDeps,
  rejected,
  rejectedAgain,
  renewedRoute,
} from './renewal.ts'
import { editWhole, type RequestBody, readBody } from './request-body.ts'
import { headerValue, upstreamHeaders, upstreamTarget } from './rewrite.ts'
import { agentsRoute, servingRoute } from './serving-route.ts'
import { signedHead } from './sigv4.ts'
import { ANSWER_TRANSLATORS } from './translate/translators.ts'
import {
  readTranslatedBody,
  type TranslatedBody,
  translatedHeaders,
  withoutAccept,
} from './translated-body.ts'

/** What the data path needs. */
export interface ForwardDeps extends RenewalDeps {
  readonly upstream: Upstream
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

/** One request and what is learnt about it on its way. */
interface Passage {
  readonly request: AgentRequest
  readonly response: AgentResponse
  readonly dialect: Dialect
  protocol: Protocol | null
  providerName: string
  isReplayed: boolean
}

/** What stays the same over the tries at the upstream. */
interface Call {
  readonly match: Match
  readonly operation: Operation
  readonly body: RequestBody | null
  /** The agent's, with what a translated answer asks for. */
  readonly headers: readonly string[]
  /** Null where the answer passes as it is. */
  readonly translateAnswer: TranslatedBody['translateAnswer']
}

type UpstreamHead = Pick<UpstreamRequest, 'origin' | 'path' | 'method' | 'headers'>

const INCOMPLETE = "The provider's API did not complete its answer. Try again"

/** How a try at the upstream ended. */
type TryEnd = RelayEnd | ({ readonly kind: 'rejected' } & RefusedRoute)

/**
 * Serves one request of an agent, from its head to the last byte of the answer. The agent gets
 * exactly one answer: the upstream's, untouched unless the operation translates, or an error in its
 * own dialect. It never rejects.
 */
export async function forward(
  deps: ForwardDeps,
  request: AgentRequest,
  response: AgentResponse,
): Promise<Outcome> {
  const dialect = dialectOf(request)
  const passage: Passage = {
    request,
    response,
    dialect,
    protocol: null,
    providerName: '',
    isReplayed: false,
  }
  const outcome = await outcomeOf(deps, passage)
  const level = outcome.kind === 'answered' || outcome.kind === 'abandoned' ? 'debug' : 'warn'
  deps.log[level]('request.done', { ...outcome })
  return outcome
}

async function outcomeOf(deps: ForwardDeps, passage: Passage): Promise<Outcome> {
  const { request, response, dialect } = passage
  let end: RelayEnd
  let error: RouterError | null = null
  try {
    end = await serve(deps, passage)
    if (end.kind === 'broken') error = end.error
  } catch (thrown) {
    // Whatever throws does so before the head: from there on, `relay` answers for everything.
    error = ownError(deps, thrown)
    if (error.cause !== undefined) {
      deps.log.warn('request.failed', { code: error.shownCode, error: error.cause })
    }
    const isHead = request.method === 'HEAD'
    end = request.signal.aborted
      ? abandon(response)
      : await answerWhole(errorAnswer(dialect, error), response, { isHead })
  }
  const { protocol, providerName, isReplayed } = passage
  if (end.kind === 'abandoned') {
    return { kind: 'abandoned', status: 0, code: '', protocol, providerName, isReplayed }
  }
  const kind = end.kind === 'answered' && error !== null ? 'refused' : end.kind
  const code = error === null ? '' : error.shownCode
  return { kind, status: end.status, code, protocol, providerName, isReplayed }
}

async function serve(deps: ForwardDeps, passage: Passage): Promise<RelayEnd> {
  const { request, response } = passage
  refuseForeignPage(request)
  const match = matchRequest(request)
  passage.protocol = match.protocol
  const route = agentsRoute(deps.table.current()) ?? (await servingRoute(deps, request.signal))
  passage.providerName = route.providerName
  const operation = route.operations.find(one => one.protocol === match.protocol)
  if (operation === undefined) {
    if (!isModelList(match)) throw unsupported(route, match.protocol)
    return answerWhole(modelAnswer(route, match), response, { isHead: false })
  }
  // Looked at before the body too, so that an agent does not send a body in vain.
  const fresh = isReady(deps, route) ? route : await freshRoute(deps, route, request.signal)
  const call = await readCall(deps, passage, { match, operation, route: fresh })
  return await serveUpstream(deps, passage, { call, route: fresh })
}

/** Reads the body as far as needed, edited or translated. */
async function readCall(
  { limits }: ForwardDeps,
  { request }: Passage,
  options: {
    readonly match: Match
    readonly operation: Operation
    readonly route: ResolvedRoute
  },
): Promise<Call> {
  const { match, operation, route } = options
  const { translation } = operation
  const { headers } = request
  if (match.protocol === 'model_discovery') {
    return { match, operation, headers, body: null, translateAnswer: null }
  }
  demandPlain(request)
  const answerTranslator = ANSWER_TRANSLATORS.get(translation?.name ?? '') ?? null
  if (translation !== null && answerTranslator === null) {
    const translated = await readTranslatedBody(request.body, { translation, route, limits })
    if (translated.translateAnswer === null) return { match, operation, headers, ...translated }
    const { isStream } = translated.body
    return { match, operation, headers: translatedHeaders(headers, { isStream }), ...translated }
  }
  const rules = editRules(request, route, operation)
  const reading = { rules, limits, isWhole: route.auth.kind === 'sigv4' }
  const source = request.body
  const body =
    source instanceof WholeBody ? editWhole(source, reading) : await readBody(source, reading)
  return {
    ...{ match, operation, body, translateAnswer: answerTranslator },
    headers: answerTranslator === null ? headers : withoutAccept(headers),
  }
}

/** Tries the upstream, and once more with a newer token when it refuses the first as dead. */
async function serveUpstream(
  deps: ForwardDeps,
  passage: Passage,
  options: { readonly call: Call; readonly route: ResolvedRoute },
): Promise<RelayEnd> {
  const { call, route } = options
  const first = await tryUpstream(deps, passage, { call, route })
  if (first.kind !== 'rejected') return first
  logRejected(deps, first)
  const newer = await renewedRoute(deps, first, passage.request.signal)
  if (call.body !== null && !call.body.isKept) {
    const message = 'a newer one is there, but the body was too large to be kept. Send it again'
    throw rejected(deps, newer, { message, nextAttemptAtMs: deps.clock.nowMs() + 1 })
  }
  passage.isReplayed = true
  const second = await tryUpstream(deps, passage, { call, route: newer })
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
  options: { readonly call: Call; readonly route: ResolvedRoute },
): Promise<TryEnd> {
  const { request, response, dialect } = passage
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
      attempt.limit(limits.idleMs, INCOMPLETE)
      const judged = await judgeRefusal(answer, {
        ...{ rule, credential: route.credential, bytesMax: limits.refusalBytesMax },
      })
      if (judged.isDead) {
        attempt.abort('the token is dead')
        const refusal = { status: answer.status, reason: judged.reason }
        return { kind: 'rejected', route, refusal }
      }
      answer = judged.answer
    }
    if (options.call.translateAnswer !== null) {
      attempt.limit(limits.idleMs, INCOMPLETE)
      answer = await options.call.translateAnswer(answer)
    }
    return await relay(answer, response, { attempt, dialect, limits })
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
  return {
    ...upstreamTarget(match, route, { operation, isStream }),
    method: request.method,
    headers,
  }
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
  const late = `The provider's API did not begin to answer within ${limitMs / 1_000} s. Try again, or allow more with "openshell inference update --timeout"`
  attempt.limit(limitMs, late)
  if (body === null) {
    return deps.upstream({ origin, path, method, headers, body, contentLength: null, signal })
  }
  const { contentLength } = body
  let isAnswered = false
  const sent = deps.upstream({
    ...{ origin, path, method, headers, contentLength, signal },
    body: body.open({
      waiting: () => isAnswered || attempt.unlimit(),
      sending: () => isAnswered || attempt.limit(limitMs, late),
      failed: (error: unknown) => attempt.abort(error),
    }),
  })
  if (contentLength !== null) return sent
  return sent.then(answer => {
    isAnswered = true
    return answer
  })
}

function unsupported(route: ResolvedRoute, protocol: Protocol): RouterError {
  const served = route.operations.map(operation => operation.protocol).join(', ') || 'nothing'
  return new RouterError(
    'protocol_unsupported',
    `Model "${route.modelId}" of provider "${route.providerName}" does not serve ${protocol}. It serves ${served}. Have the agent use one of these, or set a route to another provider`,
  )
}

function demandPlain(request: AgentRequest): void {
  const encoding = headerValue(request.headers, 'content-encoding')
  if (encoding !== '' && encoding.toLowerCase() !== 'identity') {
    throw new RouterError('bad_request', 'The request body is compressed. Send it as plain JSON')
  }
}

function editRules(request: AgentRequest, route: ResolvedRoute, operation: Operation): EditRules {
  return {
    model: operation.model,
    modelId: route.modelId,
    version: operation.version === null ? null : bodyVersion(request, operation.version),
    needsStream: operation.streamPath !== '',
    removed: operation.removeMembers,
  }
}

function bodyVersion(request: AgentRequest, rule: VersionRule): string {
  const asked = headerValue(request.headers, 'anthropic-version')
  return asked === '' ? rule.fallback : (rule.byHeader.get(asked) ?? asked)
}

function ownError(deps: ForwardDeps, thrown: unknown): RouterError {
  if (thrown instanceof RouterError) return thrown
  deps.log.error('request.failed', { error: thrown })
  return new RouterError('internal', 'The router failed on this request. See its log')
}
