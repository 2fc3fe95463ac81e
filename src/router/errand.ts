import type { Operation, Protocol, ResolvedRoute, Translation, VersionRule } from '../core/route.ts'
import { type Betas, betaHeaders, betaRules, betasFor, deepBody, needsWhole } from './betas.ts'
import type { EditRules } from './body-edit.ts'
import { RouterError } from './errors.ts'
import {
  type AgentRequest,
  type AgentResponse,
  type FlowingResponse,
  WholeBody,
} from './exchange.ts'
import { type FreshnessDeps, freshRoute, isReady } from './freshness.ts'
import { type Match, matchRequest } from './match.ts'
import { isModelList, modelAnswer } from './model-list.ts'
import { refuseForeignPage } from './origin.ts'
import type { RefusedBetas } from './refused-betas.ts'
import { answerWhole, type RelayEnd } from './relay.ts'
import { editWhole, type RequestBody, readBody } from './request-body.ts'
import { headerValue } from './rewrite.ts'
import { planOf } from './route-plan.ts'
import { agentsRoute, servingRoute } from './serving-route.ts'
import { ANSWER_TRANSLATORS } from './translate/translators.ts'
import {
  readTranslatedBody,
  type TranslatedBody,
  translatedHeaders,
  withoutAccept,
} from './translated-body.ts'

/** What preparing a request needs. */
interface ErrandDeps extends FreshnessDeps {
  readonly refusedBetas: RefusedBetas
}

/** One request and what is learnt about it on its way. */
export interface Passage {
  readonly request: AgentRequest
  readonly response: AgentResponse | FlowingResponse
  protocol: Protocol | null
  providerName: string
  isReplayed: boolean
}

/** What stays the same over the tries at the upstream. */
export interface Call {
  readonly match: Match
  readonly operation: Operation
  readonly body: RequestBody | null
  /** The agent's, with what a translated answer asks for. */
  readonly headers: readonly string[]
  /** Null where the answer passes as it is. */
  readonly translateAnswer: TranslatedBody['translateAnswer']
  /** Null where no refusal of them is looked for. */
  readonly betas: Betas | null
}

/** A call and the route that it is to go to first. */
export interface Errand {
  readonly kind: 'errand'
  readonly call: Call
  readonly route: ResolvedRoute
}

/**
 * Most requests are there to their end and their token is fresh: nothing is waited for but the
 * upstream. A promise for each step that might have had to wait would cost as much as all the rest.
 */
type NowOrLater<T> = T | Promise<T>

/**
 * Finds the route and reads the body as far as needed, or answers with the model list.
 *
 * @throws RouterError now or later, for all that is wrong with a request, and where no route serves it.
 */
export function prepare(deps: ErrandDeps, passage: Passage): NowOrLater<Errand | RelayEnd> {
  const { request } = passage
  refuseForeignPage(request)
  const match = matchRequest(request)
  passage.protocol = match.protocol
  const route = agentsRoute(deps.table.current())
  if (route !== null) return prepareFor(deps, passage, { match, route })
  return servingRoute(deps, request.signal).then(awaited =>
    prepareFor(deps, passage, { match, route: awaited }),
  )
}

function prepareFor(
  deps: ErrandDeps,
  passage: Passage,
  { match, route }: { readonly match: Match; readonly route: ResolvedRoute },
): NowOrLater<Errand | RelayEnd> {
  passage.providerName = route.providerName
  const operation = route.operations.find(one => one.protocol === match.protocol)
  if (operation === undefined) {
    if (!isModelList(match)) throw unsupported(route, match.protocol)
    return answerWhole(modelAnswer(route, match), passage.response, { isHead: false })
  }
  const read = (fresh: ResolvedRoute): NowOrLater<Errand> => {
    const call = readCall(deps, passage, { match, operation, route: fresh })
    if (!(call instanceof Promise)) return { kind: 'errand', call, route: fresh }
    return call.then(late => ({ kind: 'errand', call: late, route: fresh }))
  }
  // Looked at before the body too, so that an agent does not send a body in vain.
  if (isReady(deps, route)) return read(route)
  return freshRoute(deps, route, passage.request.signal).then(read)
}

/** Reads the body as far as needed, edited or translated. */
function readCall(
  { limits, refusedBetas }: ErrandDeps,
  { request }: Passage,
  options: {
    readonly match: Match
    readonly operation: Operation
    readonly route: ResolvedRoute
  },
): NowOrLater<Call> {
  const { match, operation, route } = options
  const { translation } = operation
  const { headers } = request
  if (match.protocol === 'model_discovery') {
    return { match, operation, headers, body: null, translateAnswer: null, betas: null }
  }
  demandPlain(request)
  const translateAnswer = ANSWER_TRANSLATORS.get(translation?.name ?? '') ?? null
  if (translation !== null && translateAnswer === null) {
    return readTranslatedCall(request, { match, operation, route, translation, limits })
  }
  const betas = betasFor(headers, { route, operation, refused: refusedBetas })
  const rules = betaRules(rulesOf(request, route, operation), betas)
  const contentLength = contentLengthOf(request)
  const isWhole =
    route.auth.kind === 'sigv4' ||
    needsWhole(betas) ||
    (operation.defaultMembers.length > 0 &&
      contentLength !== null &&
      contentLength <= limits.replayBytesMax)
  const reading = { rules, limits, isWhole, contentLength }
  const own = betaHeaders(headers, betas)
  const callWith = (body: RequestBody): Call => ({
    match,
    operation,
    betas,
    translateAnswer,
    body: deepBody(body, { cut: betas?.cut ?? [], fill: operation.defaultMembers }),
    headers: translateAnswer === null ? own : withoutAccept(own),
  })
  const source = request.body
  if (source instanceof WholeBody) return callWith(editWhole(source, reading))
  return readBody(source, reading).then(callWith)
}

async function readTranslatedCall(
  { headers, body: source }: AgentRequest,
  options: {
    readonly match: Match
    readonly operation: Operation
    readonly route: ResolvedRoute
    readonly translation: Translation
    readonly limits: ErrandDeps['limits']
  },
): Promise<Call> {
  const { match, operation } = options
  const translated = await readTranslatedBody(source, options)
  const call = { match, operation, betas: null, ...translated }
  if (translated.translateAnswer === null) return { ...call, headers }
  const { isStream } = translated.body
  return { ...call, headers: translatedHeaders(headers, { isStream }) }
}

function unsupported(route: ResolvedRoute, protocol: Protocol): RouterError {
  const served = route.operations.map(operation => operation.protocol).join(', ') || 'nothing'
  return new RouterError(
    'protocol_unsupported',
    `Model "${route.modelId}" of provider "${route.providerName}" does not serve ${protocol}. It serves ${served}. Have the agent use one of these, or set a route to another provider`,
  )
}

/** The body's length as the agent says it; the listener holds the body to it. */
function contentLengthOf({ headers }: AgentRequest): number | null {
  const text = headerValue(headers, 'content-length')
  return /^\d{1,15}$/.test(text) ? Number(text) : null
}

function demandPlain(request: AgentRequest): void {
  const encoding = headerValue(request.headers, 'content-encoding')
  if (encoding !== '' && encoding.toLowerCase() !== 'identity') {
    throw new RouterError('bad_request', 'The request body is compressed. Send it as plain JSON')
  }
}

function rulesOf(request: AgentRequest, route: ResolvedRoute, operation: Operation): EditRules {
  const { rules } = planOf(route, operation)
  if (operation.version === null) return rules
  const version = bodyVersion(request, operation.version)
  return version === rules.version ? rules : { ...rules, version }
}

function bodyVersion(request: AgentRequest, rule: VersionRule): string {
  const asked = headerValue(request.headers, 'anthropic-version')
  return asked === '' ? rule.fallback : (rule.byHeader.get(asked) ?? asked)
}
