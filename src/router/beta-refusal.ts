import type { ResolvedRoute } from '../core/route.ts'
import type { Log } from '../system/log.ts'
import { type Betas, betaHeaders, bodyFor, refusedIn, withoutBetas } from './betas.ts'
import type { UpstreamResponse } from './exchange.ts'
import type { Limits } from './limits.ts'
import { judgeRefusal } from './refusal.ts'
import type { RefusedBetas } from './refused-betas.ts'
import type { RequestBody } from './request-body.ts'

/** The status by which vendors refuse a beta. */
const REFUSAL_STATUS = 400

/** What of a call its betas change. */
interface BetaCall {
  readonly headers: readonly string[]
  readonly body: RequestBody | null
  /** Null where no refusal of them is looked for. */
  readonly betas: Betas | null
}

/** Whether an answer may refuse betas that were sent. */
export function mayRefuseBetas(answer: UpstreamResponse, { betas }: BetaCall): boolean {
  return answer.status === REFUSAL_STATUS && betas !== null && betas.sent.length > 0
}

/**
 * Reads whether an answer refuses betas that were sent, and remembers those. `again` is the call
 * without them: null when there are none, or when the body was not kept. `answer` is the same answer,
 * still whole.
 */
export async function judgeBetas<C extends BetaCall>(
  deps: {
    readonly refusedBetas: RefusedBetas
    readonly limits: Limits
    readonly log: Log
  },
  answer: UpstreamResponse,
  { call, route }: { readonly call: C; readonly route: ResolvedRoute },
): Promise<{ readonly again: C | null; readonly answer: UpstreamResponse }> {
  const { betas, body } = call
  if (betas === null || body === null) return { again: null, answer }
  const { isDead: isRefusal, ...judged } = await judgeRefusal(answer, {
    rule: { status: REFUSAL_STATUS, when: betas.rule.refusals, unless: [] },
    ...{ credential: route.credential, bytesMax: deps.limits.refusalBytesMax },
  })
  if (!isRefusal) return { again: null, answer: judged.answer }
  const refused = refusedIn(judged.text, betas)
  deps.refusedBetas.add(betas.place, refused)
  deps.log.warn('beta.refused', { provider: route.providerName, betas: refused.join(',') })
  const rest = withoutBetas(betas, refused)
  const without = bodyFor(rest, body, deps.limits)
  if (without === null) return { again: null, answer: judged.answer }
  // What is refused now is not looked at again, so that a request is repeated once.
  const again = { ...call, headers: betaHeaders(call.headers, rest), body: without, betas: null }
  return { again, answer: judged.answer }
}
