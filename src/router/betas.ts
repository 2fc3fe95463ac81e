import type { BetaRule, Operation, ResolvedRoute } from '../core/route.ts'
import type { EditRules } from './body-edit.ts'
import type { Limits } from './limits.ts'
import { editMembers, type MemberEdits } from './member-edit.ts'
import type { RefusedBetas } from './refused-betas.ts'
import { editWhole, type RequestBody, wholeBody } from './request-body.ts'

const HEADER = 'anthropic-beta'
/** The list that takes the header's place in the body. */
const MEMBER = 'anthropic_beta'
/** Far more than any agent names; what is beyond does not pass. */
const VALUES_MAX = 64

/** What becomes of one request's betas, and of the body with them. */
export interface Betas {
  readonly rule: BetaRule
  /** Where the memory of refusals keeps them. */
  readonly place: string
  /** The values that go to the upstream, in the agent's order. */
  readonly sent: readonly string[]
  /** Members of the body whose betas do not go: at its top, and deeper in it. */
  readonly removed: readonly string[]
  readonly cut: readonly string[]
  /** The member that carries the values, as JSON; '' when the header does, or there is none. */
  readonly added: string
}

/** The betas of a request: those that the upstream takes, less those that it refused lately. */
export function betasFor(
  headers: readonly string[],
  options: {
    readonly route: ResolvedRoute
    readonly operation: Operation
    readonly refused: RefusedBetas
  },
): Betas | null {
  const { route, operation, refused } = options
  const { betas: rule } = route
  if (rule === null || !operation.hasBetas) return null
  const place = [route.providerId, route.baseUrl, route.modelId, operation.protocol].join(' ')
  const asked = valuesIn(headers)
  const sent = asked.filter(value => rule.allow.includes(value) && !refused.has(place, value))
  return decided({ rule, place }, { asked, sent })
}

/** The same request, whose betas were refused, without these. */
export function withoutBetas(betas: Betas, values: readonly string[]): Betas {
  const sent = betas.sent.filter(value => !values.includes(value))
  return decided(betas, { asked: betas.sent, sent })
}

/** The agent's headers with the values that are sent instead of its own. */
export function betaHeaders(
  headers: readonly string[],
  betas: Pick<Betas, 'rule' | 'sent'> | null,
): readonly string[] {
  if (betas === null) return headers
  const { rule, sent } = betas
  const others: string[] = []
  for (let at = 0; at + 1 < headers.length; at += 2) {
    const name = headers[at] ?? ''
    if (name.toLowerCase() !== HEADER) others.push(name, headers[at + 1] ?? '')
  }
  if (rule.carrier === 'body' || sent.length === 0) return others
  return [...others, HEADER, sent.join(',')]
}

/** The rules of a body's edit, with what the betas change of it. */
export function betaRules(rules: EditRules, betas: Betas | null): EditRules {
  if (betas === null) return rules
  return { ...rules, removed: [...rules.removed, ...betas.removed], added: betas.added }
}

/** Whether a body has to be read to its end. */
export function needsWhole(betas: Betas | null): boolean {
  return betas !== null && betas.cut.length > 0
}

/** A body with its deeper members edited; one that is not there whole stays as it is. */
export function deepBody(body: RequestBody, edits: MemberEdits): RequestBody {
  if (edits.cut.length === 0 && edits.fill.length === 0) return body
  const { isStream, isKept, whole } = body
  if (whole === null) return body
  return wholeBody(editMembers(Buffer.concat(whole.pieces), edits), { isStream, isKept })
}

/** A body that was edited for other betas, edited for these; null when it was not kept. */
export function bodyFor(betas: Betas, body: RequestBody, limits: Limits): RequestBody | null {
  const { isKept, whole } = body
  if (!isKept || whole === null) return null
  const rules: EditRules = {
    ...{ model: 'keep', modelId: '', version: null, needsStream: false },
    ...{ removed: betas.removed, added: betas.added },
  }
  const edited = editWhole(whole, { rules, limits })
  return deepBody({ ...edited, isStream: body.isStream }, { cut: betas.cut, fill: [] })
}

/** Which of the values a refusal means: those that it names, else all. */
export function refusedIn(text: string, { sent }: Pick<Betas, 'sent'>): readonly string[] {
  const named = sent.filter(value => text.includes(value))
  return named.length === 0 ? sent : named
}

function decided(
  { rule, place }: Pick<Betas, 'rule' | 'place'>,
  { asked, sent }: Readonly<Record<'asked' | 'sent', readonly string[]>>,
): Betas {
  const locked = rule.members.filter(({ betas }) => !sent.some(value => beginsIn(value, betas)))
  const paths = locked.map(({ path }) => path)
  const isDeep = (path: string): boolean => /[.[]/.test(path)
  const isBody = rule.carrier === 'body'
  return {
    ...{ rule, place, sent },
    removed: [...paths.filter(path => !isDeep(path)), ...(isBody ? [MEMBER] : [])],
    // Looked for only where the agent had reason to send it, because it takes reading the whole body.
    cut: locked
      .filter(({ path, betas }) => isDeep(path) && asked.some(value => beginsIn(value, betas)))
      .map(({ path }) => path),
    added: isBody && sent.length > 0 ? `${JSON.stringify(MEMBER)}:${JSON.stringify(sent)}` : '',
  }
}

function beginsIn(value: string, beginnings: readonly string[]): boolean {
  return beginnings.some(beginning => value.startsWith(beginning))
}

function valuesIn(headers: readonly string[]): readonly string[] {
  const values = new Set<string>()
  for (let at = 0; at + 1 < headers.length; at += 2) {
    if ((headers[at] ?? '').toLowerCase() !== HEADER) continue
    for (const value of (headers[at + 1] ?? '').split(',')) values.add(value.trim())
  }
  values.delete('')
  return [...values].slice(0, VALUES_MAX)
}
