import type { Operation, ResolvedRoute } from '../core/route.ts'
import type { EditRules } from './body-edit.ts'

/** Agent headers that pass on every route. */
const GENERAL_HEADERS = ['content-type', 'accept', 'accept-encoding', 'user-agent']

/** Never pass to an upstream, whatever a route allows. */
const STRIPPED: ReadonlySet<string> = new Set([
  'authorization',
  'x-api-key',
  'api-key',
  'x-goog-api-key',
  'cookie',
  'host',
  'content-length',
  'expect',
])

/** Between two neighbours only (RFC 9110 §7.6.1); the transports make their own. */
export const HOP_BY_HOP: ReadonlySet<string> = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'proxy-authenticate',
  'proxy-authentication-info',
  'proxy-authorization',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
])

/** Where one operation's requests go, but for what the agent's query adds. */
interface PlannedTarget {
  readonly path: string
  /** The template's own part of the query. */
  readonly query: string
}

/** What a route and an operation say about every request, the same each time. */
export interface RoutePlan {
  /** Scheme, host and port. */
  readonly origin: string
  readonly plain: PlannedTarget
  /** For a request whose answer streams. */
  readonly stream: PlannedTarget
  /** The agent's headers that may pass, in lower case. */
  readonly passing: ReadonlySet<string>
  /** The route's own headers for requests that do not have them. */
  readonly defaults: readonly (readonly [string, string])[]
  /** What becomes of a body whose sender names no version. */
  readonly rules: EditRules
}

/** Remembered, because a route serves many requests and nothing of it ever changes. */
const plans = new WeakMap<ResolvedRoute, Map<Operation, RoutePlan>>()

/** The plan of a route for one of its operations. */
export function planOf(route: ResolvedRoute, operation: Operation): RoutePlan {
  const known = plans.get(route)
  const plan = known?.get(operation)
  if (plan !== undefined) return plan
  const made = makePlan(route, operation)
  if (known === undefined) plans.set(route, new Map([[operation, made]]))
  else known.set(operation, made)
  return made
}

function makePlan(route: ResolvedRoute, operation: Operation): RoutePlan {
  const base = new URL(operation.baseUrl || route.baseUrl)
  const prefix = base.pathname.replace(/\/+$/, '')
  const targetOf = (template: string): PlannedTarget => {
    const [path = '', query = ''] = template
      .replaceAll('{model}', encodeURIComponent(route.modelId))
      .split('?', 2)
    return { path: `${prefix}${path}`, query }
  }
  const plain = targetOf(operation.path)
  const defaults = [...route.defaultHeaders].filter(([name]) => !isReplaced(name, route, operation))
  const betas = operation.hasBetas && route.betas?.carrier === 'header' ? ['anthropic-beta'] : []
  const allowed = [...GENERAL_HEADERS, ...route.allowHeaders, ...betas]
  const passing = allowed.filter(name => !isStripped(name) && !isReplaced(name, route, operation))
  return {
    ...{ origin: base.origin, plain, defaults, passing: new Set(passing) },
    stream: operation.streamPath === '' ? plain : targetOf(operation.streamPath),
    rules: {
      model: operation.model,
      modelId: route.modelId,
      version: operation.version?.fallback ?? null,
      needsStream: operation.streamPath !== '',
      removed: operation.removeMembers,
      added: '',
    },
  }
}

function isStripped(name: string): boolean {
  return (
    STRIPPED.has(name) ||
    HOP_BY_HOP.has(name) ||
    name.startsWith('proxy-') ||
    // An agent's own signature, with its date, its session token and its hash of the body.
    name.startsWith('x-amz-')
  )
}

/** Whether what the header says is said by the router instead: as the credential, or in the body. */
function isReplaced(name: string, route: ResolvedRoute, operation: Operation): boolean {
  const isCredential = route.auth.kind === 'header' && name === route.auth.header
  return isCredential || (name === 'anthropic-version' && operation.version !== null)
}
