import type { Protocol, RouteShape } from '../core/route.ts'
import type { Secret } from '../core/secret.ts'
import { scrub } from '../oauth/scrub.ts'
import type { Clock } from '../system/clock.ts'
import type { Fetch, FetchRequest } from '../system/fetch.ts'
import { questionsOf, requestOf, sentSecrets } from './probe-question.ts'
import { readRefusal, type VendorRefusal } from './probe-refusal.ts'
import type { ProbeRule } from './provider-type.ts'

/** What a probe's answer may have; a list of models is some hundred kilobytes at most. */
const BODY_BYTES_MAX = 1_048_576

/** Statuses that may mean no more than that this API does not take this form of the question. */
const OTHER_FORM_STATUSES: readonly number[] = [400, 404, 405, 422]

/** What one step of an examination found. Holds no secret. */
export interface Finding {
  readonly outcome: 'ok' | 'warning' | 'failed' | 'skipped'
  /** One sentence. */
  readonly message: string
  /** What a person can do; '' when there is nothing to do. */
  readonly advice: string
  /** Stable code; '' when all is well. */
  readonly code: string
}

interface ProbeDeps {
  readonly fetch: Fetch
  readonly clock: Clock
}

/** A route to ask, and what to ask it with. */
export interface ProbeTarget {
  readonly shape: RouteShape
  /** Whether the route's model is one that a person chose; without one only lists can be asked. */
  readonly hasModel: boolean
  readonly credential: Secret
  /** Whatever else must never be repeated, should the vendor echo it. */
  readonly secrets: readonly Secret[]
  readonly rules: readonly ProbeRule[]
}

/**
 * Asks the API the cheapest question that proves something: that the vendor answers to nobody
 * without a credential, and that is about the model if one is chosen. Never throws for what the
 * network or the vendor does.
 */
export async function probeRoute(
  deps: ProbeDeps,
  target: ProbeTarget,
  signal: AbortSignal,
): Promise<Finding> {
  const { shape, credential, hasModel } = target
  let listed: Finding | null = null
  const refusals: Refusal[] = []
  for (const question of questionsOf(shape, { hasModel })) {
    const proven = requestOf(question, shape, { credential, nowMs: deps.clock.nowMs(), signal })
    const place = `${proven.method} ${proven.url}`
    const answer = await ask(deps, proven)
    const finding = judge(target, place, answer)
    if (finding.outcome === 'failed') {
      if (!mayAskOtherwise(answer)) return finding
      refusals.push({ protocol: question.operation.protocol, finding })
    } else if (question.members !== null) {
      return finding
    } else {
      const stranger = requestOf(question, shape, { credential: null, nowMs: 0, signal })
      listed = isGranted(await ask(deps, stranger)) ? unproven(place) : finding
      if (listed === finding && (!hasModel || names(answer, shape.modelId))) return finding
    }
  }
  return (hasModel ? telling(refusals) : null) ?? listed ?? nothingToAsk(hasModel)
}

interface Refusal {
  readonly protocol: Protocol
  readonly finding: Finding
}

/** Of several refusals: the first protocol about a model is the likeliest, its last form the fittest. */
function telling(refusals: readonly Refusal[]): Finding | null {
  const first = refusals.find(one => one.protocol !== 'model_discovery') ?? refusals[0]
  return refusals.findLast(one => one.protocol === first?.protocol)?.finding ?? null
}

type ProbeAnswer =
  | { readonly kind: 'answer'; readonly status: number; readonly text: string }
  | { readonly kind: 'none'; readonly reason: string }

async function ask(deps: ProbeDeps, request: FetchRequest): Promise<ProbeAnswer> {
  try {
    const response = await deps.fetch(request)
    const chunks: Uint8Array[] = []
    let bytes = 0
    for await (const chunk of response.body) {
      bytes += chunk.byteLength
      if (bytes > BODY_BYTES_MAX) break
      chunks.push(chunk)
    }
    return { kind: 'answer', status: response.status, text: Buffer.concat(chunks).toString() }
  } catch (error) {
    if (!(error instanceof Error)) throw error
    if (request.signal.aborted) return { kind: 'none', reason: 'no complete answer in time' }
    return { kind: 'none', reason: 'code' in error ? String(error.code) : error.name }
  }
}

/** Whether the API may only have disliked the form of the question. */
function mayAskOtherwise(answer: ProbeAnswer): boolean {
  return answer.kind === 'answer' && OTHER_FORM_STATUSES.includes(answer.status)
}

function isGranted(answer: ProbeAnswer): boolean {
  return answer.kind === 'answer' && answer.status >= 200 && answer.status < 300
}

/** Whether a list has the model; deployments of one often stand in no list. */
function names(answer: ProbeAnswer, modelId: string): boolean {
  return answer.kind === 'answer' && answer.text.includes(JSON.stringify(modelId))
}

function judge(target: ProbeTarget, place: string, answer: ProbeAnswer): Finding {
  if (answer.kind === 'none') {
    return {
      outcome: 'failed',
      code: 'api_unreachable',
      message: `${place} gave no answer: ${answer.reason}`,
      advice: 'Check the address and the way from the gateway to it, then run this again',
    }
  }
  const { status, text } = answer
  const refusal = readRefusal(text)
  if (status >= 200 && status < 300 && refusal !== null) {
    return { outcome: 'ok', code: '', message: `${place} answered ${status}`, advice: '' }
  }
  const rule = target.rules.find(
    one =>
      (one.status === 0 || one.status === status) &&
      (one.pattern === null || one.pattern.test(text)),
  )
  const { code, advice } = rule ?? meaningOf(status)
  const said = scrub(wordsOf(refusal), [
    ...sentSecrets(target.shape, target.credential),
    ...target.secrets,
  ])
  return { outcome: 'failed', code, message: `${place} answered ${status} ${said}`.trim(), advice }
}

function wordsOf(refusal: VendorRefusal | null): string {
  if (refusal === null) return 'with something that is no JSON'
  return [refusal.code, refusal.message].filter(text => text !== '').join(': ')
}

/** What a status means, whoever the vendor is. */
function meaningOf(status: number): { readonly code: string; readonly advice: string } {
  switch (status) {
    case 400:
    case 405:
    case 422:
      return {
        code: 'api_bad_request',
        advice: 'The API does not take the question: check the model and the base URL',
      }
    case 401:
      return {
        code: 'api_unauthenticated',
        advice: 'The API does not take this credential: check that it was made for this address',
      }
    case 403:
      return {
        code: 'api_forbidden',
        advice: 'The credential is known but may not do this: give its owner the role for it',
      }
    case 404:
      return {
        code: 'api_not_found',
        advice:
          'Check the model and the base URL; a model may need to be enabled or deployed first',
      }
    case 429:
      return {
        code: 'api_throttled',
        advice: 'The credential is good, but its quota is spent: wait, or ask for more',
      }
    default:
      return status >= 500 || status === 408
        ? { code: 'api_trouble', advice: 'The vendor has trouble: run this again later' }
        : {
            code: 'api_unexpected',
            advice: 'Check the base URL, and that no proxy or portal answers in the vendor’s place',
          }
  }
}

/** Some vendors show their list of models to everybody; then it says nothing about a credential. */
function unproven(place: string): Finding {
  return {
    outcome: 'warning',
    code: 'api_public',
    message: `${place} answers without a credential, too, which proves nothing`,
    advice: 'Name a model with --model to have it asked',
  }
}

function nothingToAsk(hasModel: boolean): Finding {
  return hasModel
    ? {
        outcome: 'skipped',
        code: '',
        message: 'Only a router can put a question to this API',
        advice: '',
      }
    : {
        outcome: 'skipped',
        code: 'no_model',
        message: 'No inference route uses this provider, so there is no model to ask',
        advice: "Name one with --model, or set a route with 'openshell inference set'",
      }
}
