import type { Answer, Call } from './call.ts'
import { jsonAnswer } from './call.ts'
import { hasContentType, leakIn } from './strict.ts'

/** A refusal of one of Google's token endpoints (RFC 6749 §5.2). */
export interface Refusal {
  readonly status: number
  readonly error: string
  readonly description: string
}

/** What a grant takes besides `grant_type`. */
export interface GrantFields {
  readonly required: readonly string[]
  readonly optional: readonly string[]
}

/** A well-formed form, by name. */
export type Form = ReadonlyMap<string, string>

/**
 * Reads the form that a call brings, as strictly as can be: no query, no unknown, repeated, empty or
 * missing parameter, no credential where none belongs.
 */
export function readForm(
  call: Call,
  grants: ReadonlyMap<string, GrantFields>,
  credentialHeaders: readonly string[],
): Form | Refusal {
  if (call.method !== 'POST') return invalidRequest('Method must be POST', 405)
  if (call.query !== '') return invalidRequest('The token endpoint takes no query')
  const leak = leakIn(call.headers, credentialHeaders)
  if (leak !== null) return invalidRequest(leak)
  if (!hasContentType(call, 'application/x-www-form-urlencoded'))
    return invalidRequest('Content-Type must be application/x-www-form-urlencoded')
  const text = Buffer.from(call.body).toString('latin1')
  if (!/^(?:[\w*.\-+=&~!'()]|%[0-9A-Fa-f]{2})*$/.test(text))
    return invalidRequest('The body is not form-encoded')
  const form = new URLSearchParams(text)
  const grantType = form.get('grant_type') ?? ''
  const grant = grants.get(grantType)
  const [first] = grants.values()
  const { required, optional } = grant ?? first ?? { required: [], optional: [] }
  const names = ['grant_type', ...required]
  const unknown = [...form.keys()].find(name => ![...names, ...optional].includes(name))
  if (unknown !== undefined) return invalidRequest(`Unknown parameter: ${unknown}`)
  for (const name of [...names, ...optional]) {
    const values = form.getAll(name)
    if (values.length > 1) return invalidRequest(`Duplicate parameter: ${name}`)
    const isMissing = values.length === 0 && names.includes(name)
    if (isMissing || values[0] === '') return invalidRequest(`Missing required parameter: ${name}`)
  }
  if (grant !== undefined) return new Map(form)
  const description = `Invalid grant_type: ${grantType}`
  return { status: 400, error: 'unsupported_grant_type', description }
}

/** A 400 that says what is wrong with the request. */
export function invalidRequest(description: string, status = 400): Refusal {
  return { status, error: 'invalid_request', description }
}

/** A 400 that says what is wrong with the credential. */
export function invalidGrant(description: string): Refusal {
  return { status: 400, error: 'invalid_grant', description }
}

/** The refusal as an answer. */
export function refuse({ status, error, description }: Refusal): Answer {
  return jsonAnswer(status, { error, error_description: description })
}

/** The refusal that a fault asks for by its status. */
export function refuseStatus(status: number, description: string): Answer {
  const error =
    status === 429 ? 'rate_limit_exceeded' : status >= 500 ? 'internal_failure' : 'invalid_request'
  return refuse({ status, error, description })
}
